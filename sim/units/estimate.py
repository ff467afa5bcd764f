"""Parts of a unit into cells of a synthesis target, with the figures of `designs.cells`."""

from collections import Counter
from collections.abc import Iterable

from designs.cells import Cells, load_cells
from sim.units.base import Logic
from sim.units.parts import MULTIPLIERS, REGISTERS, Part

__all__ = ["FPGA", "cells_of_parts", "dsp48", "dsps_of_parts", "fpga_logic"]

FPGA = "xcup"
"""Cells of which FPGA logic is made; ALMs of Intel's devices are derived from the same figures."""

_DSP_LONG, _DSP_SHORT, _DSP_CASCADE = 27, 18, 17


def cells_of_parts(parts: Iterable[Part], cells: Cells, resource: str) -> float:
    """What parts take of a resource.

    Parameters
    ----------
    parts : iterable of Part
    cells : Cells
        Figures of the target.
    resource : str
        ``lut``, ``ff``, ``carry4`` or ``um2``.

    Raises
    ------
    InputError
        A kind of part was not measured on that target.
    """
    return sum(part.count * _one(part, cells, resource) for part in parts)


def _one(part: Part, cells: Cells, resource: str) -> float:
    if resource == "ff":
        return float(part.bits) if part.kind in REGISTERS and part.kind != "delay-line" else 0.0
    if part.kind == "delay-line" and resource == "lut":
        return cells.figure(part.kind, resource).of(
            part.bits // part.length
        )  # a shift register of 16 is one look-up table
    if part.kind in MULTIPLIERS and resource != "um2" and dsp48(*part.operands) == 1:
        return 0.0
    return cells.figure(part.kind, resource).of(part.bits)


def dsp48(first: int, second: int) -> int:
    """DSP48E2 blocks of one signed multiplier.

    A block multiplies 27 x 18 bits. The product of a longer operand is summed over a cascade that
    shifts by 17 (AMD UG579, "Wide multipliers"): every further block takes 17 bits more.

    Examples
    --------
    >>> dsp48(8, 8), dsp48(31, 9), dsp48(57, 9)
    (1, 2, 3)
    """
    long, short = max(first, second), min(first, second)
    over_long = max(0, -(-(long - _DSP_LONG) // _DSP_CASCADE))
    over_short = max(0, -(-(short - _DSP_SHORT) // _DSP_CASCADE))
    return (1 + over_long) * (1 + over_short)


def dsps_of_parts(parts: Iterable[Part]) -> int:
    """DSP48E2 blocks of parts."""
    return sum(p.count * dsp48(*p.operands) for p in parts if p.kind in MULTIPLIERS)


def fpga_logic(parts: Iterable[Part]) -> Logic:
    """Look-up tables, flip-flops and multipliers of parts."""
    parts = list(parts)
    lines = [part for part in parts if part.kind == "delay-line"]
    products: Counter[tuple[int, int]] = Counter()
    for part in parts:
        if part.kind in MULTIPLIERS:
            products[part.operands] += part.count
    cells = load_cells(FPGA)
    return Logic(
        multipliers=tuple((*widths, count) for widths, count in products.items()),
        lut=round(cells_of_parts((p for p in parts if p.kind != "delay-line"), cells, "lut")),
        ff=round(cells_of_parts(parts, cells, "ff")),
        delay_bits=sum(part.all_bits for part in lines),
        delay_words=sum(part.count * (part.bits // part.length) for part in lines),
    )

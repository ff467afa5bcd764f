"""What a MATMUL asks of a unit: its operands checked, the steps it reads, its name as a tile."""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.units import UnitSpec
from designs.units.base import CODE_TYPES, CODE_WIDTHS, SPECIAL_VALUES
from mapping.code_books import LARGEST_SPECIAL, decode_special
from mapping.instruction import Instruction

__all__ = [
    "activation_format",
    "activation_index",
    "activation_steps",
    "check_multiplication",
    "code_type",
    "largest_code",
    "special_values",
    "tile_name",
]


def activation_format(i: Instruction) -> str:
    """Activations a MATMUL multiplies: ``int8`` or ``fp16``."""
    return "fp16" if i.half else "int8"


def check_multiplication(unit: UnitSpec, i: Instruction) -> None:
    """Raise when a unit cannot carry out a MATMUL.

    Raises
    ------
    InputError
        The message names the operand; its place is left to the caller.
    """
    if i.weight_bits not in unit.weight_bits:
        raise InputError("", "weight_bits", i.weight_bits, f"one of {list(unit.weight_bits)}")
    _check_codes(unit, i)
    if activation_format(i) not in unit.activation_formats:
        allowed = " or ".join(str(int(name == "fp16")) for name in unit.activation_formats)
        raise InputError("", "half", i.half, f"{allowed} with unit {unit.kind!r}")
    for name in ("n_tiles", "m_tiles", "k_steps", "group_steps", "planes"):
        if not getattr(i, name):
            raise InputError("", name, "a count of 0", "at least 1")
    if i.planes > 1 and "bipolar" not in unit.weight_types:
        raise InputError("", "planes", i.planes, f"1 with unit {unit.kind!r}")
    if i.k_steps % i.group_steps:
        raise InputError("", "group_steps", i.group_steps, f"a divisor of k_steps = {i.k_steps}")
    if i.k_steps // i.group_steps % i.planes:
        raise InputError("", "planes", i.planes, f"a divisor of {i.k_steps // i.group_steps}")
    least, grain = unit.least_steps(i.weight_bits), unit.step_grain(i.weight_bits)
    if i.group_steps < least or i.group_steps % grain:
        allowed = f"at least {least} with codes of {i.weight_bits} bits"
        allowed += ", and even" * (grain > 1)
        raise InputError("", "group_steps", i.group_steps, allowed)


def _check_codes(unit: UnitSpec, i: Instruction) -> None:
    """Raise when a unit does not know the meaning of the codes."""
    name = code_type(i)
    if name not in unit.weight_types:
        known = " or ".join(str(CODE_TYPES.index(known)) for known in unit.weight_types)
        allowed = f"{known}: unit {unit.kind!r} has no {name} codes"
        raise InputError("", "code_type", i.code_type, allowed)
    widths = CODE_WIDTHS.get(name)
    if widths and i.weight_bits not in widths:
        known = f"{widths[0]} to {widths[-1]}" if len(widths) > 1 else str(widths[0])
        allowed = f"another with codes of {i.weight_bits} bits: {name} ones have {known}"
        raise InputError("", "code_type", i.code_type, allowed)
    if i.special and not (i.scaled and name in ("float", "flint")):
        raise InputError("", "special", 1, "0 without group scales and floating codes")


def code_type(i: Instruction) -> str:
    """What the codes of a MATMUL are: one of `designs.units.base.CODE_TYPES`."""
    return CODE_TYPES[i.code_type]


def special_values(i: Instruction) -> NDArray[np.int8]:
    """The special values of a MATMUL in halves, int8 (4,)."""
    registers = (getattr(i, f"special_{index}") for index in range(SPECIAL_VALUES))
    return np.array([decode_special(code) for code in registers], np.int8)


def largest_code(i: Instruction) -> int:
    """Largest magnitude a weight of a MATMUL can have."""
    name = code_type(i)
    if name == "bipolar":
        return (1 << i.weight_bits) - 1
    return LARGEST_SPECIAL if name in ("float", "flint") else 1 << (i.weight_bits - 1)


def activation_steps(i: Instruction) -> int:
    """Steps of activations a pass reads, each once or ``planes`` times."""
    return i.k_steps // i.planes


def activation_index(i: Instruction) -> NDArray[np.int64]:
    """Step of activations behind the first one, for each step of a pass, int64 (k_steps,)."""
    steps = np.arange(activation_steps(i)).reshape(-1, 1, i.group_steps)
    return np.repeat(steps, i.planes, axis=1).reshape(-1)


def tile_name(unit: UnitSpec, i: Instruction) -> str:
    """One pass of a MATMUL in the form of LUT Tensor Core's tile instruction.

    ``lmma.{M}{N}{K}.{A_dtype}{W_dtype}{Accum_dtype}{O_dtype}`` (arXiv 2408.06003, section 3.3),
    with separators, e.g. ``lmma.m2n64k512.int8.int2.acc40.int64``.
    """
    names = {"twos_complement": "int", "float": "fp"}
    codes = f"{names.get(code_type(i), code_type(i))}{i.weight_bits}{'sv' * i.special}"
    shape = f"m{unit.lanes_m}n{unit.lanes_n}k{activation_steps(i) * unit.lanes_k}"
    accumulator = f"acc{unit.accumulator_bits}"
    output = f"int{8 * unit.result_bytes}" if i.emit else accumulator
    planes = f"x{i.planes}" if i.planes > 1 else ""
    return f"lmma.{shape}.{activation_format(i)}.{codes}{planes}.{accumulator}.{output}"

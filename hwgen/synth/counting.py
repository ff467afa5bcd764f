"""From Yosys's cell statistics to resources: every cell type is counted or refused."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hwgen.memory.ram import RAM_MODULE
from hwgen.synth.liberty import Library
from hwgen.synth.process import SynthesisError
from hwgen.synth.records import Memory

__all__ = ["cells_of", "count_fpga", "count_gates", "count_library", "memories_of"]

_SCOPE = "$scopeinfo"
"""Names of flattened modules, kept by Yosys as cells without hardware."""

_XCUP_LUTS = {"INV": 1} | {f"LUT{size}": size for size in range(1, 7)}

_XCUP_MEMORY = {
    **dict.fromkeys(("SRL16E", "SRLC32E", "SRLC16E"), 1),
    **dict.fromkeys(("RAM32X1S", "RAM64X1S"), 1),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), 2),
    **dict.fromkeys(("RAM128X1D", "RAM256X1S", "RAM32M", "RAM64M"), 4),
    **dict.fromkeys(("RAM256X1D", "RAM512X1S", "RAM32M16", "RAM64M8"), 8),
}
"""Look-up tables of a primitive (AMD UG574, distributed RAM configurations)."""

_XCUP: Mapping[str, Mapping[str, float]] = {
    "ff": {"FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1, "LDCE": 1, "LDPE": 1},
    "dsp": {"DSP48E2": 1},
    "bram": {"RAMB36E2": 1, "RAMB18E2": 0.5},
    "uram": {"URAM288": 1, "URAM288_BASE": 1},
    "carry": {"CARRY4": 1, "CARRY8": 2},
    "wide_mux": {"MUXF7": 1, "MUXF8": 1, "MUXF9": 1},
}

_ECP5_LUTS = {"LUT4": 4}

_ECP5_MEMORY = {"TRELLIS_DPR16X4": 6, "CCU2C": 2}
"""LUT4 of a 16 x 4 RAM (three slices of two, Lattice FPGA-DS-02012, number of slices required to
implement distributed RAM) and of a carry cell, whose two sums are the slice's look-up tables."""

_ECP5: Mapping[str, Mapping[str, float]] = {
    "ff": {"TRELLIS_FF": 1},
    "dsp": {"MULT18X18D": 1},
    "bram": {"DP16KD": 1, "PDPW16KD": 1},
    "carry": {"CCU2C": 1},
    "wide_mux": {"PFUMX": 1, "L6MUX21": 1},
}

_GATES = ("NAND", "NOR", "NOT", "AOI3", "OAI3", "AOI4", "OAI4", "NMUX", "MUX", "XOR", "XNOR")
_FLIP_FLOP = "$_DFF_P_"


def cells_of(statistics: str) -> dict[str, int]:
    """Cell types of the whole design, modules counted as often as they are used.

    Raises
    ------
    SynthesisError
        The text is not what ``stat -json`` writes.
    """
    found = _statistics(statistics)
    modules = {name.removeprefix("\\") for name in found["modules"]}
    cells = found["design"]["num_cells_by_type"]
    return {
        name: int(n) for name, n in sorted(cells.items()) if name != _SCOPE and name not in modules
    }


def _statistics(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        found["design"]["num_cells_by_type"], found["modules"]
    except (ValueError, KeyError, TypeError):
        raise SynthesisError("the statistics of Yosys cannot be read") from None
    return found


def count_fpga(target: str, cells: Mapping[str, int]) -> dict[str, Any]:
    """Fields of the record of an FPGA target.

    Raises
    ------
    SynthesisError
        There is a cell type that is not in the tables above.
    """
    xcup = target == "xcup"
    luts, memory = (_XCUP_LUTS, _XCUP_MEMORY) if xcup else (_ECP5_LUTS, _ECP5_MEMORY)
    kinds: Mapping[str, Mapping[str, float]] = _XCUP if xcup else _ECP5
    known = {*luts, *memory, *(name for kind in kinds.values() for name in kind)}
    _refuse(target, set(cells) - known - {"VCC", "GND"})
    by_size: Counter[int] = Counter()
    for name, size in luts.items():
        by_size[size] += cells.get(name, 0)
    in_memory = sum(each * cells.get(name, 0) for name, each in memory.items())
    counts: dict[str, Any] = {
        kind: sum(each * cells.get(name, 0) for name, each in table.items())
        for kind, table in kinds.items()
    }
    return {
        **counts,
        "bram": float(counts["bram"]),
        "lut": by_size.total() + in_memory,
        "lut_by_size": {size: n for size, n in sorted(by_size.items()) if n},
        "lut_memory": in_memory,
    }


def count_gates(statistics: str, cells: Mapping[str, int]) -> dict[str, Any]:
    """Fields of the record of the generic target.

    Raises
    ------
    SynthesisError
        There is a cell without a transistor count.
    """
    known = {f"$_{gate}_" for gate in _GATES} | {_FLIP_FLOP, RAM_MODULE}
    _refuse("generic", set(cells) - known)
    # Yosys puts a "+" behind the number when there are black boxes.
    transistors = str(_statistics(statistics)["design"].get("estimated_num_transistors", 0))
    return {"ff": cells.get(_FLIP_FLOP, 0), "transistors": int(transistors.rstrip("+"))}


def count_library(statistics: str, cells: Mapping[str, int], library: Library) -> dict[str, Any]:
    """Fields of the record of a Liberty target.

    Raises
    ------
    SynthesisError
        There is a cell that the library does not have.
    """
    _refuse(library.name, set(cells) - set(library.areas) - {RAM_MODULE})
    found = _statistics(statistics)["design"]
    area = float(found.get("area", 0.0))
    sequential = float(found.get("sequential_area", 0.0))
    own = sum(n * library.areas.get(name, 0.0) for name, n in cells.items())
    if abs(own - area) > 1e-6 * max(own, area):
        raise SynthesisError(f"Yosys counts {area:g} um2, the cells of the library {own:g}")
    ff = sum(n for name, n in cells.items() if name in library.flip_flops)
    return {"library": library.name, "area_um2": area, "sequential_um2": sequential, "ff": ff}


def _refuse(target: str, unknown: set[str]) -> None:
    if unknown:
        names = ", ".join(sorted(unknown))
        raise SynthesisError(f"cells that cannot be counted for {target}: {names}")


_CELL = re.compile(r"^\s*cell (\S+) ")
_PARAMETER = re.compile(r"^\s*parameter (?:signed )?\\(WIDTH|DEPTH|SIZE) (\S+)$")


def memories_of(dump: str) -> tuple[tuple[Memory, ...], tuple[Memory, ...]]:
    """RAM instances, and other memories, of a flattened design as Yosys ``dump`` writes it.

    Raises
    ------
    SynthesisError
        A memory has no size.
    """
    found: dict[bool, Counter[tuple[int, int]]] = {True: Counter(), False: Counter()}
    kind = ""
    size: dict[str, int] = {}
    for line in [*dump.splitlines(), "cell end "]:
        if match := _CELL.match(line):
            if kind:
                _add(found, kind, size)
            kind, size = match[1], {}
        elif match := _PARAMETER.match(line):
            size[match[1]] = _number(match[2])
    return tuple(  # type: ignore[return-value]
        tuple(Memory(width, depth, n) for (width, depth), n in sorted(found[ram].items()))
        for ram in (True, False)
    )


def _add(found: dict[bool, Counter[tuple[int, int]]], kind: str, size: dict[str, int]) -> None:
    depth = size.get("DEPTH", size.get("SIZE", 0))
    if not depth or not size.get("WIDTH"):
        raise SynthesisError(f"a memory {kind} without a size")
    found[kind == f"\\{RAM_MODULE}"][size["WIDTH"], depth] += 1


def _number(text: str) -> int:
    """A constant of RTLIL: decimal, or ``32'`` and bits."""
    return int(text.split("'")[1], 2) if "'" in text else int(text)

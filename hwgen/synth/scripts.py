"""The Yosys scripts of every target; their text is part of the key of the cache."""

from collections.abc import Sequence

from hwgen.memory.ram import RAM_MODULE

__all__ = [
    "ABC_SCRIPT",
    "DESIGN_FILE",
    "LIBRARY_FILE",
    "MEMORY_FILE",
    "STATISTICS_FILE",
    "TARGETS",
    "synthesis_script",
]

TARGETS = ("xcup", "ecp5", "generic", "liberty")
"""AMD UltraScale+; Lattice ECP5; simple gates; the cells of a Liberty file."""

DESIGN_FILE, LIBRARY_FILE = "design.v", "cells.lib"
MEMORY_FILE, STATISTICS_FILE = "memories.il", "statistics.json"

ABC_SCRIPT = "+strash;dc2;&get,-n;&dch,-f;&nf;&put"
"""How ABC maps to gates: Yosys 0.70's own script for libraries without three of its commands.

``&fraig`` and ``scorr`` look for equal nodes by SAT and stall on sums of eight and more products;
``dretime`` moves registers that ABC is not shown. Areas differ by less than 2 % from the whole
script (measured, docs/synthesis.md). There is no clock target: the smallest cells are taken.
"""

_GATES = "cmos"
"""NAND, NOR, AOI, OAI, MUX, XOR: what ``stat -tech cmos`` has transistor counts for."""

_FPGAS = {
    # Pads and clock buffers belong to the board, not to the design.
    "xcup": "synth_xilinx -family xcup -top {top} {flatten} -noiopad -noclkbuf",
    "ecp5": "synth_ecp5 -top {top} {noflatten} -noiopad",
}


def synthesis_script(target: str, top: str, *, flatten: bool, dont_use: Sequence[str] = ()) -> str:
    """Commands that read `DESIGN_FILE` and write `STATISTICS_FILE` and `MEMORY_FILE`.

    Parameters
    ----------
    target : str
        One of `TARGETS`.
    top : str
        Top module.
    flatten : bool
        Optimise across modules; otherwise every module is mapped once, by itself.
    dont_use : sequence of str
        Liberty cells, or patterns of their names, that may not be used.
    """
    names = {
        "top": top,
        "flatten": "-flatten" if flatten else "",
        "noflatten": "" if flatten else "-noflatten",
    }
    if target in _FPGAS:
        mapping, statistics = [_FPGAS[target].format(**names)], ""
    else:
        mapping = [
            "synth -top {top} {flatten} -noabc".format(**names),
            "delete t:$scopeinfo",
            *(_gates() if target == "generic" else _cells(dont_use)),
            "opt_clean",
        ]
        statistics = "-tech cmos" if target == "generic" else f"-liberty {LIBRARY_FILE}"
    lines = [
        f"read_verilog {DESIGN_FILE}",
        *([] if target in _FPGAS else [f"blackbox {RAM_MODULE}"]),
        f"hierarchy -check -top {top}",
        *_list_memories(),
        *mapping,
        f"tee -q -o {STATISTICS_FILE} stat {statistics} -top {top} -json",
    ]
    return "".join(f"{' '.join(line.split())}\n" for line in lines)


def _list_memories() -> list[str]:
    """Check the flattened design, write its RAM instances and memories, and go on as before."""
    return [
        "design -save read",
        "proc",
        "flatten",
        "check -assert",  # a wire without a driver would be optimised away with all behind it
        "memory_collect",
        "opt_clean",
        f"tee -q -o {MEMORY_FILE} dump t:{RAM_MODULE} t:$mem_v2",
        "design -load read",
    ]


def _gates() -> list[str]:
    # Enables and resets become gates in front of plain flip-flops, which have a transistor count;
    # nothing may optimise afterwards, or it would find the enables again.
    return ["dfflegalize -cell $_DFF_P_ 01", f"abc -g {_GATES} -script {ABC_SCRIPT}"]


def _cells(dont_use: Sequence[str]) -> list[str]:
    skip = " ".join(f"-dont_use {pattern}" for pattern in dont_use)
    return [
        f"dfflibmap {skip} -liberty {LIBRARY_FILE}",
        "opt_clean",
        f"abc {skip} -liberty {LIBRARY_FILE} -script {ABC_SCRIPT}",
    ]

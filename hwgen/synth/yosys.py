"""Synthesis of a Verilog text, cached by the content of everything that goes into it."""

import fnmatch
import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from designs.cache import cache_directory, cache_failures, intact, keep_newest, locked, publish
from designs.errors import InputError
from hwgen.synth import counting, scripts
from hwgen.synth.liberty import Library, read_liberty
from hwgen.synth.process import run_yosys, tool_version
from hwgen.synth.records import SynthesisReport
from hwgen.verilog import component_verilog

__all__ = ["synthesise", "synthesise_component"]

_KEPT_RECORDS = 4096
_RECORD_VERSION = "1"
"""Changes when the same netlist is counted differently."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_CELL_PATTERN = re.compile(r"[A-Za-z0-9_*?]+")


def synthesise(
    verilog: str,
    top: str,
    target: str,
    liberty: Path | str | None = None,
    *,
    flatten: bool = True,
    dont_use: Sequence[str] = (),
) -> SynthesisReport:
    """Synthesise a Verilog text and count what comes out.

    Parameters
    ----------
    verilog : str
        The text, with every module below ``top``.
    top : str
        Top module.
    target : str
        ``xcup`` (AMD UltraScale+), ``ecp5`` (Lattice ECP5), ``generic`` (CMOS gates), or
        ``liberty``; with a Liberty file ``generic`` means ``liberty`` too.
    liberty : Path or str, optional
        Liberty file, plain or .gz.
    flatten : bool
        Optimise across modules. Without it each module is mapped once by itself, which is quicker
        for a module that is used many times.
    dont_use : sequence of str
        Cells of the library that may not be used; ``*`` and ``?`` as in file names.

    Returns
    -------
    SynthesisReport
        An equal run is taken from the cache.

    Raises
    ------
    InputError
        Unknown target, a target that does not go with ``liberty``, a wrong Liberty file, or a
        cache folder that cannot be used.
    SynthesisError
        The tool is missing or failed; the message ends with its last error.
    """
    if liberty is not None and target == "generic":
        target = "liberty"
    _check(target, top, liberty, dont_use)
    library = None if liberty is None else read_liberty(liberty)
    if library is not None:
        _check_left(library, dont_use)
    script = scripts.synthesis_script(target, top, flatten=flatten, dont_use=dont_use)
    tool = tool_version()
    parts = (_RECORD_VERSION, tool, script, verilog, library.digest if library else "")
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    directory = cache_directory("synthesis")
    path = directory / f"{target}-{key}.json"
    with cache_failures():
        found = _cached(path)
        if found is None:
            with locked(path):
                found = _cached(path)  # another process may have made it meanwhile
                if found is None:
                    found = _run(verilog, script, target, top, library)
                    found = replace(found, tool=tool, flatten=flatten)
                    _publish(path, found)
            keep_newest(directory, ".json", _KEPT_RECORDS)
    return found


def synthesise_component(
    component: Any,
    name: str,
    target: str,
    liberty: Path | str | None = None,
    *,
    flatten: bool = True,
    dont_use: Sequence[str] = (),
) -> SynthesisReport:
    """Synthesise the Verilog of one Amaranth component; see `synthesise`.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
    name : str
        Module name of its top.
    target, liberty, flatten, dont_use
        As `synthesise`.
    """
    text = component_verilog(component, name)
    return synthesise(text, name, target, liberty, flatten=flatten, dont_use=dont_use)


def _check(target: str, top: str, liberty: Path | str | None, dont_use: Sequence[str]) -> None:
    if target not in scripts.TARGETS:
        raise InputError("--target", "", target, ", ".join(scripts.TARGETS))
    if (liberty is not None) != (target == "liberty"):
        found = "none" if liberty is None else str(liberty)
        allowed = "a Liberty file with target liberty, and none with the others"
        raise InputError("--liberty", "", found, allowed)
    if dont_use and target != "liberty":
        raise InputError("--dont-use", "", list(dont_use), "with a Liberty file only")
    for pattern in dont_use:
        if not _CELL_PATTERN.fullmatch(pattern):
            raise InputError("--dont-use", "", pattern, "letters, digits, _, * and ?")
    if not _IDENTIFIER.fullmatch(top):
        raise InputError("top", "", top, "a plain Verilog identifier")


def _check_left(library: Library, dont_use: Sequence[str]) -> None:
    """Every pattern means a cell, and what is left can build something."""
    left = set(library.areas)
    for pattern in dont_use:
        matched = fnmatch.filter(library.areas, pattern)
        if not matched:
            allowed = f"a pattern that matches a cell of {library.name}"
            raise InputError("--dont-use", "", pattern, allowed)
        left -= set(matched)
    if not left & library.flip_flops or not left - library.flip_flops:
        allowed = "patterns that leave a flip-flop and gates"
        raise InputError("--dont-use", "", " ".join(dont_use), allowed)


def _cached(path: Path) -> SynthesisReport | None:
    if not intact(path):
        return None
    return SynthesisReport.from_dict(json.loads(path.read_text(encoding="utf-8")))


def _publish(path: Path, report: SynthesisReport) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        temporary.write_text(json.dumps(report.to_dict()), encoding="utf-8")
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _run(
    verilog: str, script: str, target: str, top: str, library: Library | None
) -> SynthesisReport:
    inputs = {scripts.DESIGN_FILE: verilog}
    if library is not None:
        inputs[scripts.LIBRARY_FILE] = library.text
    begin = time.perf_counter()
    files = (scripts.STATISTICS_FILE, scripts.MEMORY_FILE)
    run = run_yosys(script, inputs, files, f"{target} synthesis of {top}")
    seconds = time.perf_counter() - begin
    statistics = run.files[scripts.STATISTICS_FILE]
    cells = counting.cells_of(statistics)
    macros, flop_memories = counting.memories_of(run.files[scripts.MEMORY_FILE])
    if target == "generic":
        counts = counting.count_gates(statistics, cells)
    elif library is not None:
        counts = counting.count_library(statistics, cells, library)
    else:
        counts = counting.count_fpga(target, cells)
        macros = flop_memories = ()  # they are in the counted blocks
    cells.pop(counting.RAM_MODULE, None)
    return SynthesisReport(
        target=target,
        top=top,
        tool="",
        flatten=True,
        cells=cells,
        macros=macros,
        flop_memories=flop_memories,
        seconds=round(seconds, 2),
        **counts,
    )

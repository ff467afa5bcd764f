"""Builds tops once, whatever the number of tests, and runs cocotb benches on them."""

import contextlib
import hashlib
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cocotb
import pytest
from cocotb_tools.runner import Runner, get_runner

from designs.cache import cache_directory, locked
from hwgen.verilated.build import verilator_environment, verilator_version
from rtl_tests.support.designs import test_design
from rtl_tests.support.tops import top_verilog

__all__ = ["SEED", "Result", "both_simulators", "simulate"]

SEED = int(os.environ.get("SILICAST_SEED", "1"))
"""Seed of all random stimulus; set SILICAST_SEED to repeat a run or to try another."""

_TIMESCALE = ("1ns", "1ps")
_ARGUMENTS = {
    "verilator": [
        "--assert",
        "--x-assign",
        "unique",
        "--x-initial",
        "unique",
        "-Wno-fatal",
        "-Wno-lint",
        "-Wno-style",
    ],
    # cocotb asks for -g2012, under which Icarus never starts `always @*` at time 0.
    "icarus": ["-g2005"],
}
_BIG = {"accelerator"}  # worth the compiler's time; the rest builds faster than it would gain
# The wheel's makefile leaves the precompiled-header flags empty.
_MAKE_FLAGS = "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG="

both_simulators = pytest.mark.parametrize(
    "simulator",
    [
        pytest.param("verilator", marks=pytest.mark.rtl),
        pytest.param("icarus", marks=pytest.mark.icarus),
    ],
)


class Result:
    """Names of the cocotb tests that ran; every one passed."""

    def __init__(self, passed: list[str]) -> None:
        self.passed = passed


def simulate(
    folder: Path, bench: str, top: str, design: str = "tiny", simulator: str = "verilator"
) -> Result:
    """Build a top when no equal build is in the cache, and run a bench on it.

    Parameters
    ----------
    folder : Path
        Working directory of the run: logs and results.
    bench : str
        Module of cocotb tests in ``rtl_tests``.
    top : str
        Key of ``TOPS``.
    design : str
        Key of ``DESIGNS``.
    simulator : str
        ``verilator`` or ``icarus``.

    Raises
    ------
    AssertionError
        A cocotb test failed, or none ran.
    """
    if simulator == "icarus":
        _require_icarus()
    _find_verilator()
    runner, module = _built(top, design, simulator)
    results = folder / "results.xml"
    log = folder / "simulation.log"
    print(f"{bench} on {top} of {design} under {simulator}, SILICAST_SEED={SEED}")
    with contextlib.suppress(SystemExit):  # the results tell which test failed, the log why
        runner.test(
            test_module=f"rtl_tests.{bench}",
            hdl_toplevel=module,
            hdl_toplevel_lang="verilog",
            seed=SEED,
            test_dir=folder,
            results_xml=str(results),
            log_file=log,
            timescale=_TIMESCALE if simulator == "icarus" else None,
            extra_env={"SILICAST_TEST_DESIGN": design, "SILICAST_TEST_TOP": top},
        )
    return _passed(results, log)


@cache
def _find_verilator() -> None:
    os.environ.update(verilator_environment())


def _require_icarus() -> None:
    if shutil.which("iverilog"):
        return
    reason = "Icarus Verilog is not installed (Debian package iverilog)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _built(top: str, design: str, simulator: str) -> tuple[Runner, str]:
    """A runner with a finished build, and the top's module name."""
    verilog, module = top_verilog(top, test_design(design))
    arguments = _ARGUMENTS[simulator]
    # Code that runs once, registering signals, is long and takes minutes to optimise.
    make_flags = f"{_MAKE_FLAGS} OPT_FAST={'-O1' if top in _BIG else '-O0'} OPT_SLOW=-O0"
    build = cache_directory("cocotb") / (
        f"{top}-{design}-{simulator}-{_key(verilog, module, *arguments, make_flags)}"
    )
    runner = get_runner(simulator)
    with locked(build):
        if not (build / "finished").exists():
            build.mkdir(exist_ok=True)
            source = build / f"{module}.v"
            source.write_text(verilog, encoding="utf-8")
            with _make_environment(make_flags):
                _build(runner, source, build, arguments)
            (build / "finished").touch()
    runner.build_dir = build
    return runner, module


def _key(*parts: str) -> str:
    """Short hash of what goes into a build, tools included."""
    parts += (cocotb.__version__, verilator_version())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _build(runner: Runner, source: Path, build: Path, arguments: list[str]) -> None:
    log = build / "build.log"
    try:
        runner.build(
            sources=[source],
            hdl_toplevel=source.stem,
            build_dir=build,
            build_args=arguments,
            timescale=_TIMESCALE,
            always=True,
            log_file=log,
        )
    except RuntimeError as error:
        raise AssertionError(f"{error}\n{_tail(log)}") from None


@contextlib.contextmanager
def _make_environment(flags: str) -> Iterator[None]:
    """What make needs to know; with ccache, Verilator's own sources are compiled once for all."""
    ours = {"MAKEFLAGS": flags}
    if shutil.which("ccache"):
        ours["OBJCACHE"] = "ccache"
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _passed(results: Path, log: Path) -> Result:
    """Names of the tests in a results file; fails unless all passed."""
    assert results.exists(), f"the simulator wrote no results\n{_tail(log)}"
    cases = list(ElementTree.parse(results).iter("testcase"))
    failed = [
        case.get("name", "?")
        for case in cases
        if any(case.find(kind) is not None for kind in ("failure", "error"))
    ]
    assert not failed, f"failed: {', '.join(failed)} (SILICAST_SEED={SEED})\n{_tail(log, 60)}"
    passed = [case.get("name", "?") for case in cases if case.find("skipped") is None]
    assert passed, f"no cocotb test ran\n{_tail(log)}"
    return Result(passed)


def _tail(log: Path, lines: int = 30) -> str:
    if not log.exists():
        return f"{log.name} is missing"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

"""Formal proofs on synthesised netlists: SAT over all inputs, with Yosys's own solver."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from designs.errors import InputError
from hwgen.memory.ram import RAM_MODULE
from hwgen.synth.process import Run, SynthesisError, run_yosys, tool_version
from hwgen.synth.scripts import DESIGN_FILE
from hwgen.verilog import component_verilog
from templates import template_path

__all__ = ["Proof", "prove_components_equal", "prove_equal", "prove_zero"]

_STATISTICS = "statistics.json"
_MITER, _TRIGGER = "silicast_miter", "trigger"
_MAPPED = "synth -top {top} -flatten\ndelete t:$scopeinfo\n"
"""Yosys's own flow to simple gates, ABC included: what is proven is what synthesis leaves."""

_PROVEN = ("SAT proof finished - no model found: SUCCESS!", "Induction step proven: SUCCESS!")
_REFUTED = (
    "SAT proof finished - model found: FAIL!",
    "SAT temporal induction proof finished - model found for base case: FAIL!",
)
_REGISTERS = "Assertion failed: selection is not empty"
_PROBLEM = re.compile(r"Solving problem with (\d+) variables and (\d+) clauses")
_TABLE_ROW = re.compile(
    r"^\s*(?:(?P<step>\d+|init)\s+)?\\(?P<name>\S+)(?:\s+\[\d+(?::\d+)?\])?"
    r"\s+(?P<decimal>-?\d+|--)\s+\S+\s+(?P<bits>[01x]+)\s*$"
)


@dataclass(frozen=True)
class Proof:
    """The outcome of a proof.

    Attributes
    ----------
    proven : bool
        The property holds for all inputs; for ``steps``, in all cycles after power-on.
    claim : str
        What was to be proven.
    counterexample : mapping of str to int
        Value of every port for which it does not hold; empty when proven. With ``steps`` the ports
        of cycle t are ``name@t``.
    steps : int or None
        Longest induction; None for combinational logic.
    variables, clauses : int
        Size of the largest SAT problem that was solved.
    seconds : float
        Time of synthesis and proof.
    tool : str
        Name and version of the tool.
    """

    proven: bool
    claim: str
    counterexample: Mapping[str, int] = field(default_factory=dict)
    steps: int | None = None
    variables: int = 0
    clauses: int = 0
    seconds: float = 0.0
    tool: str = ""


def prove_equal(
    verilog: str, first: str, second: str, *, steps: int | None = None, timeout: int = 600
) -> Proof:
    """Prove that two modules with equal ports have equal outputs for all inputs.

    Both are synthesised to gates, each by itself; a miter compares their outputs.

    Parameters
    ----------
    verilog : str
        Text with both modules and all below them.
    first, second : str
        Module names.
    steps : int, optional
        None: combinational logic, registers are refused. Else temporal induction over at most so
        many cycles, from the registers' power-on values; both get the same inputs in every cycle.
    timeout : int
        Seconds a SAT problem may take.

    Returns
    -------
    Proof
        With a counterexample when the modules differ.

    Raises
    ------
    SynthesisError
        The tool is missing or failed, the ports differ, the logic has registers that the proof
        does not follow, or neither a proof nor a counterexample was found.
    """
    lines = [f"read_verilog {DESIGN_FILE}", "design -save read"]
    for top, name in ((first, "first"), (second, "second")):
        lines += [
            "design -load read",
            *_MAPPED.format(top=top).splitlines(),
            f"rename {top} silicast_{name}",
            f"design -stash {name}",
        ]
    lines += [
        "design -reset",
        "design -copy-from first -as silicast_first silicast_first",
        "design -copy-from second -as silicast_second silicast_second",
        f"miter -equiv -flatten -make_outputs silicast_first silicast_second {_MITER}",
        f"hierarchy -check -top {_MITER}",
    ]
    return _prove(verilog, lines, _TRIGGER, f"{first} equals {second}", steps, timeout)


def prove_zero(
    verilog: str, top: str, output: str, *, steps: int | None = None, timeout: int = 600
) -> Proof:
    """Prove that an output of a module is 0 for all inputs, e.g. the mismatch of a hand-made miter.

    Parameters
    ----------
    verilog : str
        Text with the module and all below it.
    top, output : str
        Module and output.
    steps, timeout
        As `prove_equal`.

    Raises
    ------
    SynthesisError
        As `prove_equal`.
    """
    lines = [f"read_verilog {DESIGN_FILE}", *_MAPPED.format(top=top).splitlines()]
    return _prove(verilog, lines, output, f"{top}.{output} is 0", steps, timeout)


def prove_components_equal(
    first: Any, second: Any, *, steps: int | None = None, timeout: int = 600
) -> Proof:
    """Prove that two Amaranth components are equal; see `prove_equal`.

    Parameters
    ----------
    first, second : amaranth.lib.wiring.Component
        With equal ports. Their modules are called ``first`` and ``second``.
    """
    ram = template_path("verilog/silicast_ram.v").read_text(encoding="utf-8")
    texts = [
        component_verilog(component, name).removesuffix(ram)
        for component, name in ((first, "first"), (second, "second"))
    ]
    return prove_equal("\n".join(texts), "first", "second", steps=steps, timeout=timeout)


def _prove(
    verilog: str, lines: list[str], output: str, claim: str, steps: int | None, timeout: int
) -> Proof:
    if steps is not None and steps < 1:
        raise InputError("prove", "steps", steps, "an integer >= 1, or None")
    if steps is None:
        # A flip-flop would be a free input of the problem, and a memory an unknown cell.
        lines = [*lines, f"select -assert-none t:*DFF* t:*LATCH* t:$mem* t:{RAM_MODULE}"]
        how = ""
    else:
        how = f"-tempinduct -set-init-def -maxsteps {steps}"
    lines = [
        *lines,
        f"tee -q -o {_STATISTICS} stat -json",
        f"sat {how} -prove {output} 0 -set-def-inputs -show-ports -timeout {timeout}",
    ]
    begin = time.perf_counter()
    what = f"proof that {claim}"
    script = "".join(f"{line}\n" for line in lines)
    try:
        run = run_yosys(script, {DESIGN_FILE: verilog}, (_STATISTICS,), what)
    except SynthesisError as error:
        if steps is None and _REGISTERS in str(error):
            raise SynthesisError(f"{what}: the logic has registers; give `steps`") from None
        raise
    seconds = round(time.perf_counter() - begin, 2)
    sizes = [(int(a), int(b)) for a, b in _PROBLEM.findall(run.log)]
    variables, clauses = max(sizes, default=(0, 0))
    proven = _verdict(run, what)
    counterexample = {} if proven else _model(run.log)
    return Proof(proven, claim, counterexample, steps, variables, clauses, seconds, tool_version())


def _verdict(run: Run, what: str) -> bool:
    """Whether the solver proved or refuted; it must say exactly one of both."""
    proven = any(text in run.log for text in _PROVEN)
    refuted = any(text in run.log for text in _REFUTED)
    if proven == refuted:
        said = [line for line in run.log.splitlines() if "SAT" in line or "TIMEOUT" in line.upper()]
        last = said[-1].strip() if said else "nothing"
        raise SynthesisError(f"{what}: neither proven nor refuted; the solver said: {last}")
    return proven


def _model(log: str) -> dict[str, int]:
    """Ports of the last table of signals in the log."""
    found: dict[str, int] = {}
    for line in log[log.rindex("Signal Name") :].splitlines():
        if (match := _TABLE_ROW.match(line)) and "x" not in match["bits"]:
            step = match["step"]
            name = match["name"] if step is None else f"{match['name']}@{step}"
            found[name] = int(match["bits"], 2)
    return found

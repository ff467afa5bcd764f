"""Synthesis of a design, of a part of it, or of a matrix unit by itself; estimates beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from designs.cells import load_cells
from designs.errors import InputError
from designs.files import library_names, load_design, named_after_file
from designs.fpga import load_device
from designs.parts import Silicon
from designs.spec import Design
from designs.tables import parse_toml, structure
from designs.units import UNIT_SPECS, UnitSpec
from hwgen.synth import SynthesisError, SynthesisReport, read_liberty
from hwgen.synth import synthesise as synthesise_text
from silicast.errors import FailedCheck
from silicast.progress import Progress
from silicast.simulation import as_rtl_design
from sim.resources import dsp_blocks, fits
from sim.units import UNIT_COSTS, Logic
from sim.units.estimate import cells_of_parts

__all__ = ["SynthResult", "synthesise"]

_DEVICE = "u280"
"""UltraScale+ device of the estimates, for a design that names none of that family."""

_PARTS = ("accelerator", "unit")
_CELLS, _CELL_LIBRARY = "sky130hd", "sky130_fd_sc_hd"
"""Measured parts of a standard cell library, and how the names of its corners begin."""


@dataclass(frozen=True)
class SynthResult:
    """A synthesis run with what it was of.

    Attributes
    ----------
    name : str
        Design, or unit with its changed parameters.
    unit : str
        Kind of the matrix unit.
    part : str
        ``accelerator``, ``unit``, or the module of the accelerator.
    report : SynthesisReport
        What came out.
    estimate : mapping of str to float
        What the resource model says of the same thing: ``lut``, ``ff``, ``dsp``, ``bram``,
        ``uram``; empty where it says nothing.
    no_estimate : str
        Why it says nothing; empty with an estimate.
    """

    name: str
    unit: str
    part: str
    report: SynthesisReport
    estimate: Mapping[str, float] = field(default_factory=dict)
    no_estimate: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "unit": self.unit,
            "part": self.part,
            "report": self.report.to_dict(),
            "estimate": dict(self.estimate),
            "no_estimate": self.no_estimate or None,
        }


def synthesise(
    what: Design | str | Path,
    target: str | None = None,
    liberty: str | Path | None = None,
    part: str | None = None,
    *,
    flatten: bool = True,
    dont_use: Sequence[str] = (),
    progress: Progress | None = None,
) -> SynthResult:
    """Synthesise the generated Verilog of a design or of a matrix unit.

    Parameters
    ----------
    what : Design, str or Path
        A design, its library name or its TOML file; or the kind of a unit, e.g. ``dense``, which
        stands for the unit of that kind's ``-tiny`` design, with parameters that differ behind a
        colon: ``dense:lanes_m=1,weight_bits=[8]``.
    target : str, optional
        ``xcup`` (the default without ``liberty``), ``ecp5`` or ``generic``.
    liberty : str or Path, optional
        Liberty file, instead of a target.
    part : str, optional
        ``accelerator``, the default for a design: its name means the whole of it in every other
        function too; ``unit``, the default and only part of a unit; or a module of the
        accelerator, e.g. ``load`` or ``unit_row_0``.
    flatten, dont_use
        As `hwgen.synth.synthesise`.
    progress : Progress, optional
        Is told the stage.

    Raises
    ------
    InputError
        An argument is wrong, or the design has no RTL.
    FailedCheck
        The tool is missing or failed.
    """
    if liberty is not None and target is not None:
        found = f"--target {target} and --liberty {liberty}"
        raise InputError("--target", "", found, "one of both: the library is the target")
    if liberty is not None:
        read_liberty(liberty)  # wrong before anything slow is done
    chosen = "liberty" if liberty is not None else target or "xcup"
    unit = None if isinstance(what, Design) else _unit(str(what))
    if unit is not None:
        if part not in (None, "unit"):
            raise InputError("--part", "", part, f"unit, with the unit {what}")
        name, design, part = str(what), None, "unit"
    else:
        with named_after_file(what):
            design = as_rtl_design(what)
        name, unit, part = design.name, design.unit, part or "accelerator"
    if progress is not None:
        progress.stage(f"synthesising {name} ({part}) for {chosen}")
    try:
        text, top = _verilog(design, unit, part)
        report = synthesise_text(
            text, top, chosen, liberty, flatten=flatten, dont_use=tuple(dont_use)
        )
    except SynthesisError as error:
        raise FailedCheck(str(error)) from error
    estimate, reason = _estimate(design, unit, part, report)
    return SynthResult(name, unit.kind, part, report, estimate, reason)


# What is synthesised -------------------------------------------------------------------------


def _unit(what: str) -> UnitSpec | None:
    """The unit that ``KIND`` or ``KIND:field=value,...`` means; None when it is a design."""
    kind, _, changes = what.partition(":")
    kinds = [kind for kind, spec in UNIT_SPECS.items() if not spec.simulated_only]
    if kind not in kinds:
        path = Path(what)
        if what in library_names() or (what and "\0" not in what and path.suffix == ".toml"):
            return None
        names = f"{', '.join(library_names())}; a TOML file; or a unit: {', '.join(kinds)}"
        raise InputError("DESIGN|UNIT", "", what, f"a design: {names}")
    base = _tiny(kind).unit
    try:
        table = parse_toml(f"unit = {{{changes}}}", what)["unit"]
    except InputError:
        allowed = f"{kind}:field=value,... with fields of its [unit] table"
        raise InputError("DESIGN|UNIT", "", what, allowed) from None
    known = {one.name: getattr(base, one.name) for one in fields(base)}
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in known.items()}
    return structure(plain | table, type(base), what)


def _tiny(kind: str) -> Design:
    """The smallest library design with a unit of this kind; it is called ``-tiny``."""
    for name in library_names():
        if name.endswith("-tiny") and (design := load_design(name)).unit.kind == kind:
            return design
    raise InputError("DESIGN|UNIT", "", kind, "a unit with a -tiny design in the library")


def _verilog(design: Design | None, unit: UnitSpec, part: str) -> tuple[str, str]:
    """Verilog text and top module."""
    from hwgen.units import UNITS
    from hwgen.verilog import component_verilog, design_verilog, top_name

    if part == "unit":
        top = f"silicast_unit_{unit.kind}"
        return component_verilog(UNITS[unit.kind](unit), top), top
    assert design is not None
    text, top = design_verilog(design), top_name(design)
    if part == "accelerator":
        return text, top
    modules = [
        line.removeprefix(f"module {top}_").split("(")[0]
        for line in text.splitlines()
        if line.startswith(f"module {top}_")
    ]
    if part not in modules:
        raise InputError("--part", "", part, ", ".join((*_PARTS, *modules)))
    return text, f"{top}_{part}"


# What the resource model says of it ----------------------------------------------------------


def _estimate(
    design: Design | None, unit: UnitSpec, part: str, report: SynthesisReport
) -> tuple[dict[str, float], str]:
    """Estimate by resource, or the reason why there is none."""
    cells = (report.library or "").startswith(_CELL_LIBRARY)
    if report.target != "xcup" and not cells:
        return {}, f"there is no resource model for {report.library or report.target}"
    if part not in _PARTS:
        return {}, "the resource model knows the accelerator and its unit, not other parts"
    if cells:
        if part == "accelerator":
            return {}, "areas of cells are modelled for units, not for a whole accelerator"
        figures = load_cells(_CELLS)
        area = cells_of_parts(UNIT_COSTS[unit.kind].parts(unit), figures, "um2")
        return {"area_um2": area}, ""
    device = _DEVICE
    if design is not None and design.silicon.device is not None:
        named = load_device(design.silicon.device)
        device = named.name if named.vendor == "amd" else _DEVICE
    if part == "accelerator":
        assert design is not None
        used = dict(fits(replace(design, silicon=Silicon(device=device))).used)
        return {"bram" if name == "bram36" else name: n for name, n in used.items()}, ""
    try:
        around = _tiny(unit.kind) if design is None else design
        logic = UNIT_COSTS[unit.kind].logic(replace(around, unit=unit))
    except InputError as error:  # the tiny design's buffers do not hold a tile of this unit
        return {}, f"the unit does not fit into its tiny design: {error}"
    if not isinstance(logic, Logic):
        return {}, logic.reason
    dsp = dsp_blocks(load_device(device), logic.multipliers)
    return {"lut": logic.lut + logic.delay_words, "ff": logic.ff, "dsp": dsp}, ""

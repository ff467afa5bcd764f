"""Area of a design in its process, and how it fits FPGAs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.text import Text

from designs.fpga import device_names, load_device
from designs.parts import Silicon
from designs.spec import Design
from silicast.figures import significant
from silicast.html_sections import part_name
from silicast.simulation import as_design
from silicast.tables import make_table, part, show, standard_output
from sim.area import NOT_MODELLED, area
from sim.resources import fits
from sim.units import NotModelled

__all__ = ["print_resources", "resources"]


def resources(design: Design | str | Path, device: str | None = None) -> dict[str, Any]:
    """Area in the design's process, and resources on FPGAs.

    Parameters
    ----------
    design : Design, str or Path
        The accelerator, its library name or its TOML file.
    device : str, optional
        One device; by default the design's own, or all that are known.

    Returns
    -------
    dict
        ``design``; ``area_mm2`` by part, or None with ``area_reason``; ``area_not_modelled``;
        ``devices``: a list of ``device``, ``fits``, ``used``, ``available``, ``shell``, ``free``,
        ``estimated`` (uses), ``recalled`` (counts not yet compared with a data sheet),
        ``problems``, ``not_modelled``.

    Raises
    ------
    InputError
        There is no such design or device.
    """
    accelerator = as_design(design)
    silicon = area(accelerator)
    known = [accelerator.silicon.device] if accelerator.silicon.device else device_names()
    found = []
    for name in [device] if device else known:
        fit = fits(replace(accelerator, silicon=Silicon(device=name)))
        found.append(
            {
                "device": fit.device,
                "fits": not fit.problems,
                "used": dict(fit.used),
                "available": dict(fit.available),
                "shell": dict(fit.shell),
                "free": dict(fit.free),
                "estimated": list(fit.estimated),
                "recalled": list(load_device(name).recalled),
                "problems": list(fit.problems),
                "not_modelled": dict(fit.not_modelled),
            }
        )
    missing = isinstance(silicon, NotModelled)
    return {
        "design": accelerator.name,
        "area_mm2": None if missing else dict(silicon),  # type: ignore[arg-type]
        "area_reason": silicon.reason if isinstance(silicon, NotModelled) else None,
        "area_not_modelled": dict(NOT_MODELLED),
        "devices": found,
    }


def print_resources(found: dict[str, Any]) -> None:
    """Area by part, then used and free resources of each device, and what is not counted."""
    out = standard_output()
    if found["area_mm2"] is None:
        out.print(Text(f"area of {found['design']}: not modelled ({found['area_reason']})"))
    else:
        parts = make_table(f"area of {found['design']}", ("part", "mm2", "share"))
        total = sum(found["area_mm2"].values())
        for name, value in found["area_mm2"].items():
            if value:
                parts.add_row(part_name(name), significant(value, 3), part(value / total))
        parts.add_row("sum", significant(total, 3), "")
        show(out, parts)
        left = "; ".join(f"{what} ({why})" for what, why in found["area_not_modelled"].items())
        out.print(Text(f"not in the area: {left}", style="dim"))
    missing: dict[str, str] = {}
    for one in found["devices"]:
        out.print()
        whole = all(name in one["used"] for name in one["free"])
        verdict = "fits" if whole else "fits, as far as it is modelled"
        verdict = verdict if one["fits"] else "DOES NOT FIT"
        parts = make_table(f"{one['device']}: {verdict}", ("resource", "used", "free", "share", ""))
        for name, free in one["free"].items():
            used = one["used"].get(name)
            if used is None:
                parts.add_row(name.upper(), "-", f"{free:,.0f}", "-", "not modelled")
                continue
            how = "estimated" if name in one["estimated"] else ""
            how = f"{used - free:,.0f} too many" if used > free else how
            share = part(used / free) if free else "-"
            parts.add_row(name.upper(), f"{used:,.0f}", f"{free:,.0f}", share, how)
        parts.columns[-1].justify = "left"
        show(out, parts)
        for problem in one["problems"]:
            if problem.split(":")[0] in one["used"]:
                continue  # stands in the table
            out.print(Text(problem, style="red"))
        if one["recalled"]:
            names = ", ".join(name.upper() for name in one["recalled"])
            text = f"counts not yet compared with the data sheet: {names}"
            out.print(Text(text, style="dim"))
        missing |= one["not_modelled"]
    if missing:
        out.print()
        left = "; ".join(f"{what} ({why})" for what, why in missing.items())
        out.print(Text(f"not in the resources: {left}", style="dim"))

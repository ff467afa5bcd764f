"""A simulation as one HTML page that needs nothing else: no network, no library, no second file."""

import os
import platform
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from designs.errors import InputError
from silicast import figures
from silicast.charts import REASON_COLOURS
from silicast.html_headline import phase_cards
from silicast.html_sections import (
    area_section,
    energy_section,
    memory_section,
    operator_rows,
    resource_section,
    time_section,
    traffic_section,
)
from silicast.left_out import left_out
from silicast.roofline import points, roofline
from sim.attribution import REASONS
from sim.results import ModelResult
from templates import template_path

__all__ = ["html_report", "repeat_command", "write_html"]


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_path("report")),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def repeat_command(result: ModelResult) -> str:
    """The command line that gives the result again, with names as the result has them."""
    arguments = ["silicast", "simulate", result.model, result.design]
    arguments += ["--prefill", str(result.prefill), "--decode", str(result.decode)]
    if result.context is not None:
        arguments += ["--context", str(result.context)]
    arguments += ["--batch", str(result.batch), "--weights", result.weights]
    arguments += ["--activations", result.activations]
    arguments += [
        "--kv-cache",
        "fp16" if result.kv_cache_bits == 16 else f"int{result.kv_cache_bits}",
    ]
    if result.conventions is not None:
        arguments += ["--conventions", result.conventions]
    return shlex.join([*arguments, "--html", "report.html"])


def _facts(result: ModelResult) -> list[tuple[str, str]]:
    """What was simulated, as names and values."""
    workload = []
    if result.prefill:
        workload.append(f"prompt of {result.prefill:,} tokens")
    if result.decode:
        before = result.prefill if result.context is None else result.context
        passes = "pass" if result.decode == 1 else "passes"
        workload.append(f"{result.decode:,} decode {passes} after {before:,} tokens")
    phase = next(p for p in result.phases.values() if p.cycles)
    stored = result.weight_bytes + result.kv_cache_bytes
    capacity = figures.quantity(result.memory_bytes, "B")
    area = []
    if result.area_mm2 is not None:
        size = sum(part for part in result.area_mm2.values() if part is not None)
        area.append(("area modelled", figures.plain(size, "mm²")))
    return [
        ("workload", ", ".join(workload)),
        ("batch", f"{result.batch:,} sequence" + ("s" if result.batch != 1 else "")),
        ("weights", result.weights),
        ("activations", result.activations),
        ("KV cache", f"{result.kv_cache_bits} bit a value"),
        ("clock", figures.quantity(round(phase.cycles / phase.seconds), "Hz")),
        ("memory", f"{figures.quantity(stored, 'B')} of {capacity} DRAM"),
        *area,
        ("conventions", result.conventions or "silicast's physical defaults"),
    ]


def _provenance(result: ModelResult) -> list[dict[str, Any]]:
    rows = []
    for constant in result.provenance:
        at = [
            f"{constant[key]:g} {unit}"
            for key, unit in (("nanometres", "nm"), ("volts", "V"))
            if constant.get(key) is not None
        ]
        rows.append(
            {
                "name": constant["name"],
                "value": figures.exact(constant["value"]),
                "unit": constant["unit"] or "1",
                "at": ", ".join(at),
                "source": constant["source"],
                "scaled": constant["scaled"],
            }
        )
    return rows


def html_report(
    result: ModelResult, command: str | None = None, versions: Mapping[str, str] | None = None
) -> str:
    """The page as text; equal results give equal pages.

    Parameters
    ----------
    result : ModelResult
        What was simulated; at least one phase has cycles.
    command : str, optional
        What repeats it; `repeat_command` by default.
    versions : mapping of str to str, optional
        What made it; by default silicast and Python.
    """
    if versions is None:
        versions = {"silicast": version("silicast"), "Python": platform.python_version()}
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            result=result,
            facts=_facts(result),
            cards=phase_cards(result),
            reasons=[
                (reason, figures.words(reason), text, REASON_COLOURS[reason])
                for reason, text in REASONS.items()
            ],
            time=time_section(result),
            roofline=roofline(result) if points(result) else None,
            rows=operator_rows(result),
            traffic=traffic_section(result),
            memory=memory_section(result),
            energy=energy_section(result),
            area=area_section(result),
            resources=resource_section(result),
            left_out=left_out(result),
            provenance=_provenance(result),
            command=command or repeat_command(result),
            versions=versions,
            figures=figures,
        )
    )


def write_html(
    result: ModelResult, path: str | os.PathLike[str], command: str | None = None
) -> None:
    """Write the page, under a temporary name that is renamed when it is whole.

    Parameters
    ----------
    result : ModelResult
        What was simulated.
    path : path
        The file.
    command : str, optional
        What repeats it; `repeat_command` by default.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    text = html_report(result, command)
    target = Path(path).resolve()
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        allowed = f"a file that can be written ({error.strerror or error})"
        raise InputError("--html", "", str(path), allowed) from None

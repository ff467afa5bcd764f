"""The tables of docs/energy-area.md: ``python -m designs.process_document`` writes them.

The text around them is written by hand; a table stands between two comments that name it.
"""

import re
from pathlib import Path

from designs.fpga import RESOURCES, device_names, load_device
from designs.process import load_process, process_names

__all__ = ["DOCUMENT", "render"]

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "energy-area.md"
"""Where the document lies in the repository."""

_NODE = "28nm"
_PORTS = (64, 128, 256, 512, 1024, 2048, 4096)
_CAPACITIES = (1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 22)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _processes() -> str:
    rows = []
    for name in process_names():
        process = load_process(name)
        leakage = "none" if process.leakage is None else "logic and SRAM"
        node = f"{process.nanometres:g} nm, {process.volts:g} V"
        rows.append([f"`{name}`", node, process.description, leakage])
    return _table(["process", "logic at", "what it is", "leakage"], rows)


def _elements() -> str:
    process = load_process(_NODE)
    rows = []
    for published in process.elements:
        here = process.element(published.name)
        rows.append(
            [
                f"`{published.name}`",
                published.description,
                f"{published.nanometres:g} nm",
                f"{published.picojoules:.4g}",
                f"{published.square_micrometres:.5g}",
                f"{here.picojoules:.4g}" + (" *" if here.scaled_from else ""),
                f"{here.square_micrometres:.5g}" + (" *" if here.scaled_from else ""),
                published.source,
            ]
        )
    head = ["element", "in a cycle", "published at", "pJ", "um2", "pJ at 28 nm", "um2 at 28 nm"]
    return _table([*head, "source"], rows)


def _sram() -> str:
    rows = []
    for name in ("28nm", "28nm-low-leakage", "45nm"):
        sram = load_process(name).sram
        for port in _PORTS:
            figure = sram.figure(1 << 19, port)
            cells = (figure.read_picojoules, figure.write_picojoules)
            rows.append(
                [f"`{name}`", str(port)]
                + [f"{value:.1f}" for value in cells]
                + [f"{figure.square_millimetres:.2f}", f"{figure.leakage_milliwatts:.1f}"]
            )
    head = ["process", "port, bits", "read, pJ", "write, pJ", "area, mm2", "leakage, mW"]
    return _table(head, rows)


def _capacities() -> str:
    sram = load_process(_NODE).sram
    rows = []
    for capacity in _CAPACITIES:
        figure = sram.figure(capacity, 512)
        rows.append(
            [
                f"{capacity >> 10} KB",
                f"{figure.read_picojoules:.1f}",
                f"{figure.write_picojoules:.1f}",
                f"{figure.square_millimetres:.3f}",
                f"{figure.leakage_milliwatts:.1f}",
            ]
        )
    return _table(["capacity", "read, pJ", "write, pJ", "area, mm2", "leakage, mW"], rows)


def _devices() -> str:
    rows = []
    for name in device_names():
        device = load_device(name)
        for resource in RESOURCES[device.vendor]:
            item = device.resources[resource]
            shell = f"{item.shell:g}" if item.shell else ""
            rows.append(
                [f"`{name}`", resource, str(item.count), shell, item.confidence, item.source]
            )
    return _table(["device", "resource", "count", "shell", "confidence", "source"], rows)


_TABLES = {
    "processes": _processes,
    "elements": _elements,
    "sram": _sram,
    "capacities": _capacities,
    "devices": _devices,
}


def render() -> str:
    """The document as it stands, with its tables made anew."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, table in _TABLES.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        parts = re.split(pattern, text, flags=re.S)
        if len(parts) != 4:
            raise ValueError(f"{DOCUMENT.name} must have one place for the table {name}")
        before, begin, end, after = parts
        text = f"{before}{begin}{table()}\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")

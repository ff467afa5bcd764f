"""Whole accelerators: the resource model against synthesis for AMD UltraScale+.

``python -m benchmarks.accelerator_area`` synthesises and writes the results; the page is written
by ``python -m benchmarks.unit_area --page``.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.markdown import markdown_table
from designs.files import load_design
from designs.parts import Formats, Silicon
from designs.spec import Buffers, Design
from designs.units import BitSerialSpec, DenseSpec, LutSpec
from silicast.synthesis import synthesise
from sim.resources import fits

__all__ = [
    "AFTERWARDS",
    "BOUNDS",
    "FIGURES_FROM",
    "RESOURCES",
    "RESULTS",
    "Row",
    "designs",
    "main",
    "section",
]

RESULTS = Path(__file__).parent / "results" / "accelerator_area.json"
BOUNDS = {"lut": 0.10, "ff": 0.12, "dsp": 0.0, "bram": 0.0}
"""Largest error of each resource."""

FIGURES_FROM = ("dense-int8-tiny", "narrow", "lut-tiny", "striped")
"""Designs whose modules gave figures of `sim.surroundings`: most of them the first two, the compute
engine with planes the third, the memory of several channels the last. That of words of two bits is
`bitmod-tiny`'s, which is not compared."""

AFTERWARDS = ("lut_narrow", "lut_half", "four_bits", "bit_serial_narrow", "bit_serial_half")
"""Designs first synthesised when the model was finished, and not changed since."""

RESOURCES = ("lut", "ff", "dsp", "bram")


@dataclass(frozen=True)
class Row:
    """One accelerator.

    Attributes
    ----------
    design : str
    estimate, synthesis : mapping of str to float
        By resource of `RESOURCES`.
    """

    design: str
    estimate: Mapping[str, float]
    synthesis: Mapping[str, float]

    def error(self, resource: str) -> float:
        """Estimate over synthesis, less 1."""
        return self.estimate[resource] / self.synthesis[resource] - 1


def designs() -> dict[str, Design]:
    """Accelerators compared, by name: two of the library, and others that differ in geometry."""
    tiny, lut = load_design("dense-int8-tiny"), load_design("lut-tiny")
    serial = load_design("bitmod-tiny")
    small = replace(tiny.control, queue_depth=2, fetch_blocks=2, loads_in_flight=2)
    slow = replace(tiny.dram, data_bytes=8, bandwidth_bytes_per_second=800_000_000)
    return {
        tiny.name: tiny,
        "narrow": replace(
            tiny,
            name="narrow",
            unit=DenseSpec(1, 4, 4, (8,), 256),
            dram=replace(slow, max_burst_beats=32),
            control=small,
        ),
        lut.name: lut,
        "striped": replace(
            tiny,
            name="striped",
            unit=DenseSpec(4, 4, 16, (4, 8), 512),
            buffers=Buffers(2048, 512, 128, 512, 1024),
            dram=replace(slow, channels=2, max_burst_beats=16, max_outstanding_reads=4),
            control=small,
        ),
        "wide_line": replace(
            tiny,
            name="wide_line",
            unit=DenseSpec(2, 8, 8, (4, 8), 256),
            dram=replace(tiny.dram, data_bytes=64, bandwidth_bytes_per_second=6_400_000_000),
        ),
        "four_bits": replace(
            tiny,
            name="four_bits",
            unit=DenseSpec(1, 16, 4, (4,), 2048),
            dram=replace(slow, channels=4, max_burst_beats=32, max_outstanding_reads=16),
            control=replace(small, queue_depth=4),
        ),
        "lut_narrow": replace(lut, name="lut_narrow", unit=LutSpec(1, 8, 4, (1, 2), 256)),
        "lut_half": replace(
            lut,
            name="lut_half",
            unit=LutSpec(2, 4, 16, (2, 4), 1024, ("fp16",)),
            formats=Formats(activation_bits=16),
        ),
        "bit_serial_narrow": replace(
            serial, name="bit_serial_narrow", unit=BitSerialSpec(2, 4, 4, (4, 8), 1024)
        ),
        "bit_serial_half": replace(
            serial,
            name="bit_serial_half",
            unit=BitSerialSpec(
                2, 4, 4, (3, 4, 5, 6, 8), 1024, ("int8", "fp16"), tile_m=1, tile_n=2
            ),
        ),
    }


def estimate(design: Design) -> dict[str, float]:
    """What the resource model says."""
    used = fits(replace(design, silicon=Silicon(device="u280"))).used
    return {name: used["bram36" if name == "bram" else name] for name in RESOURCES}


def main() -> None:
    """Synthesise every design and write the results."""
    rows = []
    for name, design in designs().items():
        print(name, file=sys.stderr)
        report = synthesise(design, "xcup").report
        found = {resource: float(getattr(report, resource)) for resource in RESOURCES}
        rows.append(asdict(Row(name, estimate(design), found)))
        print(rows[-1], file=sys.stderr)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


_SECTION = """
## Whole accelerators

Written by `python -m benchmarks.accelerator_area`, target `xcup`. `sim/surroundings.py` lists what
is around a unit: memories and queues by width and depth, without the bits of instructions and
addresses that nothing reads; selectors of buffers; one look-up table a bit of the sums; and the
engines, with figures measured by synthesising modules of the designs marked with a star. No figure
comes from a whole accelerator.

{table}
Worst error of look-up tables: {worst}; of designs that gave no figure: {others}.

- A unit takes less inside an accelerator than alone: its `running-total` one look-up table a bit in
  place of two. The circuit measured above has one a bit as soon as a module is put around it: Yosys
  then gives the carry cell the other operand. The sums around the unit, seen in the netlist, behave
  likewise. What else a unit saves in place is not modelled and has not been traced: about 345
  look-up tables in `dense-int8-tiny`, most of its error.
- The selector of the half of a weight word that a step takes is counted in the unit's unpacking:
  five inputs a bit, one look-up table.
- Engines differ by their addresses and constants: the control port of four designs takes 499 to
  576, the model has the 521 of `dense-int8-tiny` for all. A selector of 16 words takes 5.9 look-up
  tables a bit; the model's tree of 4:1 selectors has 5.
- Flip-flops are register bits of the RTL, also those that nothing reads.
"""


def section() -> str:
    """The section of docs/unit-area.md, from the committed results."""
    rows = [Row(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))]
    head = ["accelerator"]
    for resource in RESOURCES:
        head += [f"{resource}, estimated", "synthesised", "error"]
    table = []
    for row in rows:
        cells = [f"`{row.design}`" + (" *" if row.design in FIGURES_FROM else "")]
        for resource in RESOURCES:
            found = row.synthesis[resource]
            cells += [f"{row.estimate[resource]:,.10g}", f"{found:,.10g}"]
            cells += [f"{100 * row.error(resource):+.1f} %" if found else ""]
        table.append(cells)

    def worst(chosen: list[Row]) -> str:
        error, name = max((abs(row.error("lut")), row.design) for row in chosen)
        return f"{100 * error:.1f} % (`{name}`)"

    others = [row for row in rows if row.design not in FIGURES_FROM]
    note = (
        "\\* gave figures of modules.\n"
        + ", ".join(f"`{name}`" for name in AFTERWARDS)
        + " were\nfirst synthesised when the model was finished. "
        "Geometries: `benchmarks/accelerator_area.py`.\n"
    )
    return _SECTION.format(
        table=markdown_table(head, table) + "\n" + note,
        worst=worst(rows),
        others=worst(others),
    )


if __name__ == "__main__":
    main()

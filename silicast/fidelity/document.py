"""docs/fidelity.md: published figures beside silicast's, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from silicast.fidelity.bitmod_speed import Speedup
from silicast.fidelity.fpga import Absent
from silicast.fidelity.gates import METHODS, GatedRow
from silicast.fidelity.lut import LutComparison
from silicast.fidelity.lut_inputs import Listed
from silicast.fidelity.rows import GRADES, Row
from silicast.fidelity.waterfall import Waterfall

__all__ = ["SECTIONS", "render"]

SECTIONS = {
    "bitmod-simulator": (
        "BitMoD: its simulator",
        "Output of the public simulator at commit e445a5f, a prompt of 256 tokens and a decode "
        "step at context 256, batch 1. `--conventions bitmod-hpca25` counts as it does; "
        "`tests/test_bitmod_rows.py` holds other models, contexts and batches against its "
        "equations, written again.",
    ),
    "bitmod-notebook": (
        "BitMoD: the figures of the paper",
        "The numbers behind Figures 7 and 8 come from an earlier version of that simulator "
        "(58d7bdb), whose attention has other shapes. silicast has no switches for those: the "
        "errors are the difference of the two versions. Linear layers are counted alike.",
    ),
    "bitmod-claims": (
        "BitMoD: claimed averages",
        "Each figure is a ratio of two means over six models (OPT-1.3B, Phi-2, Yi-6B, Llama-2-7B "
        "and 13B, Llama-3-8B), each accelerator relative to FP16. Lossless is INT6; lossy is FP4 "
        "for the prompt and FP3 for decode. The generative task is the prompt of 256 tokens and "
        "20 decode steps.",
    ),
    "bitmod-speed": (
        "BitMoD: speed on three models",
        "BitMoD over FP16, ANT and OliVe: cycles of one accelerator by cycles of the other, out of "
        "the rows above. Each is gated at 5 % of what is published, counted the publication's way. "
        "The physical column sets the programs of `bitmod-28nm` on its hardware, whose buffer of "
        "activations has 2 MiB, beside the closed forms of the other arrays with 512 KiB: those "
        "are not equal machines.",
    ),
    "fpga": (
        "Accelerators on FPGAs",
        "Simulated-only designs of the library, built from published parameters; what is assumed "
        "is marked in the design files and below. There are no conventions to follow for a board, "
        "so `roofline` stands beside the physical defaults: every product takes the longer of its "
        "compute and its traffic at peak bandwidth, and nothing else costs. Energy of an FPGA's "
        "fabric is not modelled.",
    ),
    "lut-gpu": (
        "Look-up arrays in an A100",
        "Times of LUT Tensor Core's Tables 1 and 4 (rows L15 and L16). `lut-a100-like` is its "
        "4X; the other designs are that file with other arrays: twice as many (8X), or A100's own "
        "tensor cores. `roofline` takes the longer of compute and peak traffic for every product "
        "and nothing else; a prompt computes the logits of its last position only.",
    ),
}
"""Title and introduction of each part."""

_HEAD = """# Fidelity

Published figures beside silicast's. This page is generated: `silicast fidelity -o docs/fidelity.md`
writes it, `silicast fidelity --json -` prints the same as data. What was published lies in
`silicast/fidelity/published/`, with its sources; the rest is computed when the page is made.

- **published**: the figure, or its range, as its source gives it.
- **as counted**: silicast counting the publication's way, by the named conventions
  (`silicast conventions` lists them).
- **physical**: silicast's defaults, as `silicast simulate` counts without `--conventions`.
- **error**: percent between silicast's figure and the nearest end of the published range. A
  positive error is a larger figure, whether that is better or worse.
- **class**: {grades}

Nothing here is tuned. No parameter of a design or a model is chosen for its effect on an error; an
error of 50 % stands as it is, with its reason; so does a gate that is not met. Agreement under a
publication's conventions shows that its rules are understood, not that they are right; the physical
column is silicast's own answer.
"""


def _quantity(value: float, unit: str) -> str:
    if unit == "cycles":
        return f"{value / 1e6:.3f} M"
    if unit == "J":
        return f"{value * 1e3:.1f} mJ"
    return f"{value:.2f}" if value < 100 else f"{value:.1f}"


def _percent(value: float) -> str:
    # A difference below a ten-thousandth of a percent is rounding of the published figure.
    return "0" if abs(value) < 1e-4 else f"{value:+.1f} %"


def _published(row: Row) -> str:
    if row.low == row.high:
        return _quantity(row.low, row.unit)
    return f"{_quantity(row.low, row.unit)} to {_quantity(row.high, row.unit)}"


def _table(columns: str, align: str, lines: Sequence[str]) -> str:
    """Columns separated by bars; ``align`` has l or r for each."""
    rule = "|".join("---" if side == "l" else "---:" for side in align)
    return "\n".join([f"| {columns} |", f"|{rule}|", *(f"| {line} |" for line in lines)])


def _worst(values: Sequence[float]) -> str:
    least, most = min(values), max(values)
    if _percent(least) == _percent(most):
        return _percent(least)
    return f"{_percent(least)} to {_percent(most)}"


def _summary(rows: Sequence[Row]) -> str:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.section, row.publication, row.quantity), []).append(row)
    lines = []
    for (section, publication, quantity), members in groups.items():
        grades = ", ".join(sorted({row.grade for row in members}))
        names = ", ".join(sorted({row.conventions for row in members}))
        lines.append(
            f"{publication} | {SECTIONS[section][0]} | {quantity} | {len(members)} | {grades} | "
            f"{names} | {_worst([row.counted_error for row in members])} | "
            f"{_worst([row.physical_error for row in members])}"
        )
    columns = "publication | part | quantity | figures | class | conventions | error | physical"
    return _table(columns, "lllrllrr", lines)


def _ours(row: Row, *between: str) -> str:
    """Cells of what silicast finds: counted the publication's way, further cells, physically."""
    counted, physical = (
        f"{_quantity(value, row.unit)} | {_percent(off)}"
        for value, off in ((row.counted, row.counted_error), (row.physical, row.physical_error))
    )
    return " | ".join((counted, *between, physical))


def _compared(rows: Sequence[Row]) -> str:
    lines = [
        f"{row.workload} | `{row.design}` | {row.weights} | {_published(row)} | {_ours(row)}"
        for row in rows
    ]
    columns = "workload | design | weights | published | as counted | error | physical | error"
    return _table(columns, "lllrrrrr", lines)


def _bitmod(rows: Sequence[Row]) -> str:
    """Time and energy, with the reasons that rows share said once."""
    parts = [f"Class {rows[0].grade}; {rows[0].place}."]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        task = row.workload.split(", ")[1]
        tasks = reasons.setdefault(row.reason, [])
        if task not in tasks:
            tasks.append(task)
    parts += [f"- *{', '.join(tasks)}*: {reason}" for reason, tasks in reasons.items()]
    text = parts[0] + "\n\n" + "\n".join(parts[1:])
    for quantity, title in (("time", "Cycles"), ("energy", "Energy")):
        chosen = [row for row in rows if row.quantity == quantity]
        text += f"\n\n### {title}\n\n{_compared(chosen)}"
    return text


def _claims(rows: Sequence[Row]) -> str:
    lines = [
        f"{row.workload} | {row.place} | {_published(row)} | {_ours(row)} | {row.reason}"
        for row in rows
    ]
    columns = "claim; task | where | published | as counted | error | physical | error | reason"
    return _table(columns, "llrrrrrl", lines)


def _speeds(speeds: Sequence[Speedup]) -> str:
    """Ratios with their gates, by publication; the reason that its rows share said once."""
    parts = []
    for place in dict.fromkeys(speed.row.place for speed in speeds):
        members = [speed for speed in speeds if speed.row.place == place]
        lines = [
            f"{speed.row.weights} | {speed.row.workload} | {_published(speed.row)} | "
            f"{_ours(speed.row, 'yes' if speed.met else '**no**')}"
            for speed in members
        ]
        columns = (
            "speed of | workload | published | as counted | error | within 5 % | physical | error"
        )
        met = sum(speed.met for speed in members)
        first = members[0].row
        text = f"Class {first.grade}; {place}: {met} of {len(members)} gates are met. "
        parts += [text + first.reason, _table(columns, "llrrrlrr", lines)]
    return "\n\n".join(parts)


def _fpga(rows: Sequence[Row]) -> str:
    lines = [
        f"{row.publication} | {row.workload} | `{row.design}` | {row.grade} | "
        f"{_published(row)} {row.unit} | {_ours(row)}"
        for row in rows
    ]
    columns = (
        "publication | workload | design | class | published | roofline | error | physical | error"
    )
    notes = []
    for row in rows:
        assumed = f" Assumed: {row.assumption}." if row.assumption else ""
        notes.append(f"- *{row.workload}* ({row.place}).{assumed} {row.reason}")
    return _table(columns, "llllrrrrr", lines) + "\n\n" + "\n".join(notes)


def _gpu(rows: Sequence[Row]) -> str:
    """Times, with the reasons that rows share said once."""
    lines = [
        f"{row.place} | {row.workload} | `{row.design}` | {row.weights} | {_published(row)} | "
        f"{_ours(row)}"
        for row in rows
    ]
    columns = (
        "row | workload | design | weights | published, ms | roofline | error | physical | error"
    )
    reasons = dict.fromkeys(row.reason for row in rows)
    assumed = "; ".join(dict.fromkeys(row.assumption for row in rows))
    grades = ", ".join(sorted({row.grade for row in rows}))
    notes = [f"Class {grades}. Assumed: {assumed}.", *reasons]
    return "\n\n".join((_table(columns, "llllrrrrr", lines), *notes))


def _value(value: float, unit: str) -> str:
    if value == int(value) and abs(value) < 1e9:
        text = f"{int(value):,}"
    else:
        text = f"{value:.3f}" if value < 10 else f"{value:.2f}"
    return f"{text} {unit}" if unit else text


def _range(row: GatedRow) -> str:
    if row.low == row.high:
        return _value(row.low, row.unit)
    if row.high == float("inf"):
        return f"above {_value(row.low, row.unit)}"
    return f"{_value(row.low, '')} to {_value(row.high, row.unit)}"


def _gated(row: GatedRow) -> str:
    ours = "not measured" if row.ours is None else _value(row.ours, row.unit)
    error = "" if row.error is None else _percent(row.error)
    met = {True: "yes", False: "**no**", None: "-"}[row.met]
    return (
        f"{row.row} | {row.publication} | {row.quantity} | {_range(row)} | {ours} | {error} | "
        f"{row.gate.text or '-'} | {met} | {row.grade} | {row.method}"
    )


def _listed(items: Sequence[Listed]) -> str:
    lines = [f"{i.row} | {i.publication} | {i.what} | {i.grade} | {i.why}" for i in items]
    return _table("row | publication | published | class | why there is no figure", "lllll", lines)


def _lut(lut: LutComparison) -> str:
    """Rows with gates, their notes, and those without a figure."""
    columns = "row | publication | what | published | ours | error | gate | met | class | from"
    asked = [row for row in lut.gated if row.gate]
    met, missed = (sum(row.met is value for row in asked) for value in (True, False))
    count = f"{met} of {len(asked)} gates are met, {missed} are not"
    open_gates = len(asked) - met - missed
    if open_gates:
        count += f"; {open_gates} need areas that have not been measured"
    methods = "; ".join(f"*{name}*: {what}" for name, what in METHODS.items())
    study = f" Areas: {lut.study}." if lut.study else ""
    notes = [f"- *{row.row}, {row.quantity}*: {row.note}" for row in lut.gated if row.note]
    return "\n\n".join(
        (
            "## Look-up hardware",
            "LUT Tensor Core (Mo et al., ISCA'25), FIGLUT (HPCA'25), UNPU (JSSC'19), T-MAC "
            "(EuroSys'25), bipolar-INT (ASP-DAC'25), AxCore (MICRO'25), BitNet.cpp. The widths of "
            "gates on what is synthesised or simulated were set before it was; those of arithmetic "
            "allow for printed digits and clock rates. Where a publication leaves a choice open, "
            f"the note of a row says which one is gated. {count}. Where ours is from: {methods}."
            f"{study}",
            _table(columns, "lllrrrllll", [_gated(row) for row in lut.gated]),
            "\n".join(notes),
            "### Without a figure of ours",
            _listed(lut.listed),
        )
    )


def _absent(items: Sequence[Absent]) -> str:
    lines = [f"{item.rows} | {item.why}" for item in items]
    return _table("published | why it is not here", "ll", lines)


def _waterfall(item: Waterfall) -> str:
    task = "prompt of 256 tokens" if item.phase == "prefill" else "decode step at 256"
    lines = [
        f"*{item.conventions}* | | {item.start_cycles:,} | {item.start_joules * 1e3:,.3f} |",
        *(
            f"`{step.switch}` | {step.old} to {step.new} | {step.cycles:+,} | "
            f"{step.joules * 1e3:+,.3f} | {step.why}"
            for step in item.steps
        ),
        f"*physical* | | {item.end_cycles:,} | {item.end_joules * 1e3:,.3f} |",
    ]
    columns = "switch | from, to | cycles | mJ | why"
    title = f"### `{item.design}`, {item.weights}, {task}"
    return f"{title}\n\n" + _table(columns, "llrrl", lines)


def render(
    rows: Sequence[Row],
    waterfalls: Sequence[Waterfall],
    absent: Sequence[Absent],
    lut: LutComparison,
    speeds: Sequence[Speedup],
) -> str:
    """The page.

    Parameters
    ----------
    rows : sequence of Row
        Every comparison; those of a section stay together.
    waterfalls : sequence of Waterfall
        From conventions to physical defaults.
    absent : sequence of Absent
        What is not compared of accelerators on FPGAs.
    lut : LutComparison
        Papers on look-up hardware.
    speeds : sequence of Speedup
        One accelerator's speed over another's, with gates.
    """
    grades = "; ".join(f"{name}: {meaning}" for name, meaning in GRADES.items()) + "."
    parts = [
        _HEAD.format(grades=grades),
        "## Summary",
        _summary([*rows, *(speed.row for speed in speeds)]),
    ]
    bodies = {"bitmod-claims": _claims, "fpga": _fpga, "lut-gpu": _gpu}
    for section, (title, introduction) in SECTIONS.items():
        if section == "lut-gpu":
            parts.append(_lut(lut))
        if section == "bitmod-speed":
            parts += [f"## {title}", introduction, _speeds(speeds)]
            continue
        chosen = [row for row in rows if row.section == section]
        body = bodies.get(section, _bitmod)
        parts += [f"## {title}", introduction, body(chosen)]
        if section == "fpga":
            parts += ["### Not compared", _absent(absent)]
    parts += [
        "## From conventions to physical defaults",
        "Llama-2-7B. The switches of `--conventions bitmod-hpca25` are set to their physical "
        "values one after the other, in the order in which `sim/conventions/switches.py` defines "
        "them; each line is the change against the line above. What a switch costs depends on "
        "those before it; the lines add up to the whole difference. The last one, `products`, "
        "leaves the publication's array for programs on the generated hardware. Of those before "
        "it the largest in prompts is `buffer_share`: the arrays have no buffer for partial sums, "
        "so tiles need the whole of K at once, and operands that do not fit are read again for "
        "every bufferful of the other.",
        *(_waterfall(item) for item in waterfalls),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"

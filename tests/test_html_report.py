"""The HTML page: whole, self-contained, every figure the result's, nothing absent shown as 0."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from math import log10
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from made_result import made_result

from designs.errors import InputError
from designs.files import load_design
from mapping.formats import parse_format
from silicast import figures
from silicast.charts import REASON_COLOURS, Part, bar, reason_bar
from silicast.html_headline import phase_cards, roofline_seconds
from silicast.html_report import html_report, repeat_command, write_html
from silicast.html_sections import operator_rows, resource_section
from silicast.roofline import points, roofline
from sim.attribution import REASONS
from sim.results import ModelResult

DESIGN = load_design("dense-int8-tiny")
FORMAT = parse_format("int4_g128")
_VOID = {"meta", "input", "br", "link", "img", "hr"}


class _Page(HTMLParser):
    """Checks nesting; collects identifiers, links, text and the cells of each table row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.rows: list[dict[str, list[str]]] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        self.loaded += [given[name] for name in ("src", "srcset", "data") if name in given]
        if tag == "link":
            self.loaded.append(given.get("href", ""))
        if tag == "tr":
            self.rows.append({"values": [], "name": [given.get("data-name", "")]})
        if tag == "td" and "data-v" in given:
            self.rows[-1]["values"].append(given["data-v"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u202f", " ").split())


@pytest.fixture(scope="module")
def result() -> ModelResult:
    return made_result(DESIGN, FORMAT)


@pytest.fixture(scope="module")
def page(result: ModelResult) -> str:
    return html_report(result)


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    parsed = _Page(page)
    assert max(Counter(parsed.ids).values()) == 1
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)
    assert not parsed.loaded
    assert "://" not in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert not re.search(r"\b(None|nan|inf|Undefined)\b", parsed.text)


def test_every_drawing_is_well_formed(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) > 40
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_headline_figures_are_the_results(result: ModelResult, page: str) -> None:
    text = _Page(page).text
    prefill, decode = result.phases["prefill"], result.phases["decode"]
    assert decode.tokens_per_second is not None
    assert decode.energy_joules is not None
    assert f"{figures.seconds(prefill.seconds)} to the first token".replace("\u202f", " ") in text
    rate = figures.plain(decode.tokens_per_second, "tokens/s").replace("\u202f", " ")
    assert f"{rate} generated" in text
    energy = figures.quantity(decode.energy_joules / decode.tokens, "J").replace("\u202f", " ")
    assert f"energy a token {energy}" in text
    for phase in result.phases.values():
        assert f"{phase.cycles:,} in" in text
        assert f"({phase.simulated_only_cycles:,} cycles): no RTL runs them yet" in text


def test_every_headline_figure_has_a_unit(result: ModelResult) -> None:
    for card in phase_cards(result):
        for name, value, _ in card["figures"]:
            assert re.fullmatch(r"[<>]?[\d.,]+\u202f(\S+|.\u202fcycles)", value), (name, value)


def test_the_distance_to_the_roofline_is_a_lower_bound(result: ModelResult) -> None:
    for name, phase in result.phases.items():
        best = roofline_seconds(result, name)
        assert 0 < best <= phase.seconds
    halved = replace(
        result,
        roof=replace(
            result.roof,
            macs_per_second=result.roof.macs_per_second / 2,
            sustained_bytes_per_second=result.roof.sustained_bytes_per_second / 2,
        ),
    )
    assert roofline_seconds(halved, "decode") == pytest.approx(
        2 * roofline_seconds(result, "decode")
    )
    compulsory = sum(o.compulsory_bytes for o in result.operators if o.phase == "decode")
    endless = replace(result, roof=replace(result.roof, macs_per_second=1e30))
    assert roofline_seconds(endless, "decode") == pytest.approx(
        compulsory / result.roof.sustained_bytes_per_second
    )


def test_the_verdict_follows_the_figures(result: ModelResult) -> None:
    phase = result.phases["decode"]
    used = phase.dram_bytes / phase.seconds

    def verdict(changed: ModelResult) -> str:
        return phase_cards(changed)[1]["verdict"]

    slow = replace(result, roof=replace(result.roof, sustained_bytes_per_second=used / 0.9))
    assert "Limited by DRAM bandwidth: 90.0" in verdict(slow)
    busy = replace(phase, utilization=0.95)
    roof = replace(result.roof, sustained_bytes_per_second=2 * used)
    fast = replace(result, roof=roof, phases={**result.phases, "decode": busy})
    assert "Limited by compute: 95.0" in verdict(fast)
    waits = dict.fromkeys(REASONS, 0) | {"compute": 1, "store": phase.cycles - 1}
    idle = replace(phase, utilization=0.1, reasons=waits)
    stalled = replace(fast, phases={**result.phases, "decode": idle})
    assert "No single limit" in verdict(stalled)
    assert "(store)" in verdict(stalled)
    weights = dict.fromkeys(REASONS, 0) | {"compute": 1, "weight_load": phase.cycles - 1}
    traffic = {**phase.traffic, "flash_read": 3_000_000 * phase.passes}
    starved = replace(idle, reasons=weights, traffic=traffic)
    said = verdict(replace(fast, phases={**result.phases, "decode": starved}))
    assert "Limited by flash: 3.00\u202fMB" in said
    assert verdict(
        replace(fast, phases={**result.phases, "decode": replace(idle, reasons=weights)})
    )
    # a publication that counts without refresh exceeds what is sustained, but not the peak
    roof = replace(result.roof, sustained_bytes_per_second=used / 2, dram_bytes_per_second=used)
    counted = replace(result, roof=roof, conventions="bitmod-hpca25")
    assert "100.0\u202f% of the peak bandwidth" in verdict(counted)
    sustained = replace(roof, sustained_bytes_per_second=used)
    assert roofline_seconds(counted, "decode") == pytest.approx(
        roofline_seconds(replace(result, roof=sustained), "decode")
    )


def test_the_table_has_every_operator_and_sorts_by_numbers(result: ModelResult, page: str) -> None:
    rows = [row for row in _Page(page).rows if row["name"] != [""]]
    assert [row["name"][0] for row in rows] == [o.name.lower() for o in result.operators]
    for row, operator in zip(rows, result.operators, strict=True):
        values = row["values"]
        assert str(operator.total_cycles) in values
        assert str(operator.total_dram_bytes) in values
        assert str(operator.m * operator.n * operator.k) in values
        for value in values:
            assert value == "" or float(value) >= 0
    widths = {len(row["values"]) for row in rows}
    assert len(widths) == 1


def test_what_is_simulated_only_is_marked(result: ModelResult, page: str) -> None:
    table = page[page.index('id="operators"') : page.index('id="bytes"')]
    for row in re.findall(r"<tr data-phase.*?</tr>", table, re.DOTALL):
        assert ('data-only="1"' in row) == ("simulated only</span>" in row)
    only = sum(o.simulated_only for o in result.operators)
    assert table.count("simulated only</span>") == only
    time = page[page.index('id="time"') : page.index('id="roofline"')]
    shown = [
        o
        for o in result.operators
        if o.total_cycles >= 0.002 * result.phases[o.phase].cycles and o.simulated_only
    ]
    assert time.count("simulated only</span>") == len(shown) == time.count("url(#hatch)")


def test_bars_are_as_long_as_their_figures() -> None:
    reasons = {reason: 10 * (index + 1) for index, reason in enumerate(REASONS)}
    drawn = ElementTree.fromstring(reason_bar(reasons, sum(reasons.values()), "a bar"))
    parts = [e for e in drawn.iter("rect") if e.get("fill")]
    widths = [float(e.get("width", "0%").rstrip("%")) for e in parts]
    assert sum(widths) == pytest.approx(100, abs=0.01)
    assert len(widths) == len(REASONS) == 7
    assert widths[-1] == pytest.approx(100 * 70 / 280, abs=0.001)
    lefts = [float(e.get("x", "0%").rstrip("%")) for e in parts]
    assert lefts[1:] == pytest.approx([sum(widths[: k + 1]) for k in range(6)], abs=0.002)
    assert [e.get("fill") for e in parts] == [REASON_COLOURS[reason] for reason in REASONS]
    assert len(set(REASON_COLOURS.values())) == len(REASONS)
    assert all(e.find("title") is not None for e in parts)
    marked = ElementTree.fromstring(bar([Part("a", 1, "#000", "1 B")], 4, "t", mark=(3, "m")))
    line = marked.find("line")
    assert line is not None
    assert line.get("x1") == "75.000%"


def test_the_roofline_puts_points_where_they_belong(result: ModelResult) -> None:
    found = points(result)
    with_macs = [o for o in result.operators if o.macs and o.total_dram_bytes]
    assert sum(len(point.names) for point in found) == len(with_macs)
    clock = DESIGN.clock.frequency_hz
    by_name = {(name, p.phase): p for p in found for name in p.names}
    for o in with_macs:
        point = by_name[o.name.removeprefix("layers.*."), o.phase]
        assert point.rate == pytest.approx(o.macs * clock / o.total_cycles, rel=0.01)
        assert point.intensity == pytest.approx(o.macs / o.total_dram_bytes, rel=0.01)
        assert point.simulated_only == o.simulated_only
        if not o.simulated_only:  # the timeline's: none is above a roof
            limit = min(
                result.roof.macs_per_second, point.intensity * result.roof.dram_bytes_per_second
            )
            assert point.rate <= limit * 1.001
    # the drawing: logarithms on both axes, so equal ratios are equal distances
    drawn = ElementTree.fromstring(roofline(result))
    circles = [e for e in drawn.iter("circle") if "prefill" in (e.get("class") or "")]
    marks = [e for e in drawn.iter("path") if "decode" in (e.get("class") or "")]
    assert len(circles) + len(marks) == len(found)
    hollow = [e for e in (*circles, *marks) if "only" in (e.get("class") or "")]
    assert len(hollow) == sum(point.simulated_only for point in found)
    shown = [p for p in sorted(found, key=lambda p: -p.share) if p.phase == "prefill"]
    assert len(shown) == len(circles) > 3
    for value, place in (("intensity", "cx"), ("rate", "cy")):
        logs = [log10(getattr(point, value)) for point in shown]
        at = [float(circle.get(place, 0)) for circle in circles]
        slope, start = np.polyfit(logs, at, 1)
        assert (slope > 0) == (place == "cx")
        assert at == pytest.approx([start + slope * x for x in logs], abs=0.2)


def test_labels_of_the_roofline_do_not_cover_each_other(result: ModelResult) -> None:
    drawn = ElementTree.fromstring(roofline(result))
    boxes = []
    for e in drawn.iter("text"):
        if e.get("class") == "name":
            x, y, width = float(e.get("x", 0)), float(e.get("y", 0)), 5.5 * len(e.text or "")
            left = x - {"end": width, "middle": width / 2}.get(e.get("text-anchor", ""), 0)
            boxes.append((left, y - 9, left + width, y))
    assert len(boxes) > 3
    text = " ".join(e.text or "" for e in drawn.iter("text"))
    assert "peak of all lanes" in text
    assert "DRAM peak" in text
    for index, a in enumerate(boxes):
        for b in boxes[:index]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_what_is_not_modelled_is_not_zero(result: ModelResult) -> None:
    bare = made_result(
        DESIGN,
        FORMAT,
        with_energy=False,
        not_modelled={"energy": "the design names no silicon.process"},
        provenance=(),
    )
    text = _Page(html_report(bare)).text
    assert "Not modelled: the design names no silicon.process" in text
    assert "energy a token \u2013 not modelled: the design names no silicon.process" in text
    assert "Silicon area is not modelled" in text
    assert not re.search(r"\b0 J\b", text)
    # one part without a figure beside others that have one
    full = _Page(html_report(result)).text
    assert "leakage not modelled" in full
    assert "vector engine not modelled" in full


def test_warnings_and_memory_that_does_not_fit_come_first(result: ModelResult) -> None:
    changed = replace(result, warnings=("too many positions",), fits_memory=False)
    page = html_report(changed)
    first = page[: page.index("<nav")]
    assert "too many positions" in first
    assert "do not fit the DRAM" in first


def test_resources_are_held_against_what_the_shell_leaves(result: ModelResult) -> None:
    resources = {
        "used": {"lut": 700.0, "dsp": 90.0},
        "available": {"lut": 1000.0, "dsp": 100.0, "uram": 10.0},
        "shell": {"lut": 400.0, "dsp": 0.0, "uram": 0.0},
    }
    changed = replace(result, resources=resources)
    rows = {row["name"]: row for row in resource_section(changed) or []}
    assert not rows["LUT"]["fits"]
    assert rows["DSP"]["fits"]
    assert "#D55E00" in rows["LUT"]["bar"]
    assert "#D55E00" not in rows["DSP"]["bar"]
    assert rows["DSP"]["share"] == "90.0\u202f%"
    assert rows["URAM"]["used"] == "not modelled"
    _Page(html_report(changed))
    assert resource_section(result) is None


def test_text_from_outside_is_escaped(result: ModelResult) -> None:
    changed = replace(result, model="<script>alert(1)</script>", warnings=("a < b & c",))
    page = html_report(changed)
    assert "<script>alert" not in page
    assert "a &lt; b &amp; c" in page
    assert "a source &lt;of this test&gt;" in page
    _Page(page)


def test_every_constant_has_its_source(result: ModelResult, page: str) -> None:
    text = _Page(page).text
    for constant in result.provenance:
        assert str(constant["name"]) in text
        assert str(constant["source"]) in text
    assert "from 45 nm by table 3" in text
    assert "18.75 pJ/bit" in text
    for what, why in result.not_modelled.items():
        assert what in text
        assert why in text


def test_the_page_says_how_to_repeat_it(result: ModelResult, page: str) -> None:
    command = repeat_command(result)
    assert command == (
        "silicast simulate made-model dense-int8-tiny --prefill 8 --decode 5 --batch 1 "
        "--weights int4_g128 --activations int8 --kv-cache int8 --html report.html"
    )
    assert command in page
    with_rules = replace(result, conventions="bitmod-hpca25", prefill=0, context=256)
    assert "--context 256" in repeat_command(with_rules)
    assert "--conventions bitmod-hpca25" in repeat_command(with_rules)
    assert "silicast verify" in html_report(result, command="silicast verify")


def test_equal_results_give_equal_pages(result: ModelResult, page: str) -> None:
    assert html_report(result) == page


def test_one_phase_alone_and_a_page_of_many_operators() -> None:
    alone = made_result(DESIGN, FORMAT, prefill=0, decode=2)
    page = html_report(alone)
    _Page(page)
    assert len(phase_cards(alone)) == 1
    assert "to the first token" not in page
    many = replace(alone, operators=alone.operators * 6)
    assert len(operator_rows(many)) == 6 * len(alone.operators)
    assert len(html_report(many).encode()) < 600_000


def test_the_file_is_whole_or_not_there(result: ModelResult, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_html(result, path)
    assert path.read_text(encoding="utf-8") == html_report(result)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(InputError, match="--html: found"):
        write_html(result, tmp_path / "missing" / "report.html")

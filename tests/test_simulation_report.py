"""Tables of a simulation: what is printed first, what is left out, and how figures are rounded."""

import re
from dataclasses import replace

import pytest

import silicast
from designs.files import load_design
from silicast.charts import PALETTE, colours
from silicast.figures import words
from silicast.left_out import LAST_OF_CYCLES, left_out
from silicast.report import print_simulation
from silicast.tables import part, scaled
from sim.conventions import PHYSICAL, list_conventions, load_conventions
from sim.energy import PARTS
from sim.model import not_modelled


@pytest.fixture(scope="module")
def result():
    return silicast.simulate("gemma3-270m", "dense-int8", 16, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999_900_000, "1.00 GB"),
        (12_955_000_000, "13.0 GB"),
        (136.4e6, "136 MB"),
        (0.0191, "19.1 mB"),
        (999.96, "1.00 kB"),
    ],
)
def test_three_digits_and_a_prefix(value, text):
    assert scaled(value, "B") == text


def test_a_part_never_looks_like_none_or_all():
    assert [part(x) for x in (None, 0, 1e-9, 0.5, 0.99999, 1)] == [
        "-",
        "0.0%",
        "<0.1%",
        "50.0%",
        ">99.9%",
        "100.0%",
    ]


def test_the_last_thing_that_cycles_leave_out_is_known():
    rules = [PHYSICAL, *map(load_conventions, list_conventions())]
    for design in map(load_design, ("dense-int8", "bitmod-28nm", "mmfree-kv260")):
        for one in (design, replace(design, vector=None)):
            for rule in rules:
                names = list(not_modelled(one, rule))
                assert names[-1] == LAST_OF_CYCLES
                groups = left_out(silicast.simulate("gpt2", one, 4, 1, conventions=rule))
                assert list(groups["cycles and traffic"]) == names


@pytest.mark.parametrize("design", ["dense-int8", "dense-int8-tiny", "mmfree-kv260"])
def test_everything_left_out_is_told_once(design):
    found = silicast.simulate("gemma3-270m", design, 8, 1)
    groups = left_out(found)
    told = [what for group in groups.values() for what in group if what != "all of it"]
    assert len(told) == len(set(told))
    names = {what.removeprefix("area: ") for what in found.not_modelled} - {"energy", "area"}
    assert set(told) == names
    assert ("FPGA resources" in groups) == (found.resources is not None)
    if found.resources is not None:
        assert "FPGA" in groups["area"]["all of it"]


def test_what_energy_and_area_both_leave_out_stands_apart(result):
    groups = left_out(result)
    assert "control" in groups["energy and area"]
    assert not set(groups["energy and area"]) & (set(groups["energy"]) | set(groups["area"]))


def test_the_first_lines_say_what_limits_a_phase(result, capsys):
    print_simulation(result)
    lines = capsys.readouterr().out.splitlines()
    decode = result.phases["decode"]
    assert f"{decode.cycles:,}" in "".join(lines[:4])
    assert any(line.startswith("decode: Limited by") for line in lines[:7])
    text = "\n".join(lines)
    assert words("fill_drain") in text
    small = [o for o in result.operators if o.phase == "decode" and o.engine != "matrix"]
    shown = next(line for line in lines[::-1] if "vector operators*" in line)
    table = text.split("decode operators")[1]
    listed = {o.name for o in small if f"{o.name}*" in table}
    rest = [o for o in small if o.name not in listed]
    assert f"{sum(o.total_cycles for o in rest):,}" in shown


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_narrow_terminal_does_without_columns_and_says_so(result, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_simulation(result)
    out = re.sub("\x1b[^m]*m", "", capsys.readouterr().out)
    assert "left out at this width" in out.replace("\n", " ")
    assert max(map(len, out.splitlines())) <= max(width, 90)
    for operator in result.operators:
        if operator.engine == "matrix":
            assert f"{operator.total_cycles:,}" in out


def test_parts_of_energy_have_colours_of_their_own():
    assert len(set(PALETTE)) == len(PALETTE)
    assert len(set(colours(PARTS).values())) == len(PARTS)

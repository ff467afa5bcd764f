"""The synth command: results, parts of a design, and wrong input in one line."""

import json
from pathlib import Path

import pytest

pytest.importorskip("pyosys", reason="the extra synth is not installed")

_SMALL = "dense:lanes_m=1,lanes_n=1,lanes_k=2,weight_bits=[8],max_k=64"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))


def test_command_on_a_unit(call) -> None:
    status, out, _ = call("synth", _SMALL, "--json", "-")
    found = json.loads(out)
    assert status == 0
    assert (found["unit"], found["part"]) == ("dense", "unit")
    report = found["report"]
    assert report["dsp"] == 3  # two products, and the scale's
    assert report["lut"] == sum(report["lut_by_size"].values()) + report["lut_memory"]
    status, out, err = call("synth", _SMALL)
    assert (status, err) == (0, "")
    assert "from the cache" in out
    assert "not counted: placement and routing" in out


def test_command_on_a_part_of_a_design(call, liberty: Path) -> None:
    arguments = ("synth", "dense-int8-tiny", "--part", "scale_buffer", "--liberty", liberty)
    status, out, _ = call(*arguments, "--json", "result.json")
    assert (status, out.splitlines()[0].startswith("dense-int8-tiny, scale_buffer")) == (0, True)
    assert "memory macro: 2 x RAM of 128 words of 64 bits: not counted" in out
    report = json.loads(Path("result.json").read_text())["report"]
    assert report["macros"] == [{"width": 64, "depth": 128, "count": 2}]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nonsense",), "DESIGN|UNIT"),
        (("array",), "DESIGN|UNIT"),
        (("dense:lanes_m=3",), "unit.lanes_m"),
        (("dense:lanes_m",), "DESIGN|UNIT"),
        (("dense:colour=3",), "colour"),
        (("olive-28nm",), "unit.kind"),
        (("dense", "--target", "asic"), "--target"),
        (("dense", "--part", "load"), "--part"),
        (("dense-int8-tiny", "--part", "nonsense"), "--part"),
        (("dense", "--liberty", "absent.lib"), "--liberty"),
        (("dense", "--liberty", "/dev/null"), "--liberty"),
        (("dense", "--liberty", "a.lib", "--target", "xcup"), "--target"),
        (("dense", "--dont-use", "X"), "--dont-use"),
        (("dense", "--json", "absent/x.json"), "--json"),
    ],
)
def test_wrong_input_is_one_line(call, arguments: tuple[str, ...], named: str) -> None:
    status, out, err = call("synth", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert named in err
    assert not list(Path().iterdir()) or [p.name for p in Path().iterdir()] == ["cache"]

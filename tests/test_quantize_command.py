"""The command ``silicast quantize``: table, JSON, plot, and exit status 2 for wrong input."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from tiny_gguf import write_tiny

from benchmarks import perplexity
from benchmarks.perplexity_document import render
from silicast.quantization import DEFAULT_FORMATS, DEFAULT_TOKENS
from silicast.quantize_commands import quantize
from silicast.quantize_plot import plot_svg
from silicast.quantize_results import FormatResult, QuantizeResult

FORMATS = "int8_g32,int4_g32,bitmod_fp4_g32"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))
    return write_tiny(tmp_path / "tiny.gguf")


def test_table_json_and_plot(call, tiny, tmp_path) -> None:
    files = ["--json", "result.json", "--plot", "plot.svg"]
    status, out, _ = call("quantize", tiny, "--formats", FORMATS, "--tokens", "40", *files)
    assert status == 0
    for text in ("public domain", "40 tokens", "loss increase", *FORMATS.split(",")):
        assert text in out
    plain = json.loads((tmp_path / "result.json").read_text())
    assert [item["format"] for item in plain["formats"]] == FORMATS.split(",")
    assert f"{plain['formats'][1]['perplexity']:.3f}" in out
    drawn = (tmp_path / "plot.svg").read_text()
    ElementTree.fromstring(drawn)
    assert all(f">{name}</text>" in drawn for name in FORMATS.split(","))


def test_json_alone_on_standard_output_and_a_page(call, tiny, tmp_path) -> None:
    arguments = ("--no-perplexity", "--activations", "int8", "--json", "-", "--plot", "p.html")
    status, out, _ = call("quantize", tiny, "--formats", "int4", "--tokens", "9", *arguments)
    assert status == 0
    plain = json.loads(out)
    assert plain["activations"] == "int8"
    assert plain["formats"][0]["perplexity"] is None
    assert plain["formats"][0]["weight_nmse"] > 0
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")


def test_the_users_own_text(call, tiny, tmp_path) -> None:
    (tmp_path / "own.txt").write_text("Rivers carry sand to the sea.")
    arguments = ("--text", "own.txt", "--formats", "int8", "--json", "-")
    status, out, _ = call("quantize", tiny, *arguments)
    assert status == 0
    assert json.loads(out)["text"]["title"] == "own.txt"
    assert json.loads(out)["tokens"] == 24 + 5 * 3  # a byte each; a space is three


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--formats", "int9"), ("--formats", "int9", "int8 ... int1")),
        (("--formats", "int4,,int8"), ("--formats", "int8 ... int1")),
        (("--formats", "fp16"), ("--formats", "fp16", "formats with codes")),
        (("--formats", "int4_g128"), ("--formats", "K = 32", "groups that divide K")),
        (("--activations", "fp8"), ("--activations", "fp8", "fp16, int8")),
        (("--tokens", "1"), ("--tokens", "1", ">= 2")),
        (("--tokens", "many"), ("--tokens", "many", ">= 2")),
        (("--text", "missing.txt"), ("--text", "missing.txt", "UTF-8")),
        (("--plot", "plot.png"), ("--plot", "plot.png", ".svg or .html")),
        (("--plot", "nowhere/plot.svg"), ("--plot", "nowhere/plot.svg", "written")),
        (("--json", "nowhere/x.json"), ("--json", "nowhere/x.json", "written")),
        (("--json", "a.svg", "--plot", "a.svg"), ("--plot", "another file")),
    ],
)
def test_wrong_input_is_one_line(call, tiny, tmp_path, arguments, parts) -> None:
    before = sorted(tmp_path.iterdir())
    status, out, err = call("quantize", tiny, *arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert [p for p in sorted(tmp_path.iterdir()) if p.name != "cache"] == before


@pytest.mark.parametrize("model", ["llama2-7b", "nothing.gguf", "unknown"])
def test_a_model_without_weights_is_one_line(call, model) -> None:
    status, _, err = call("quantize", model)
    assert status == 2
    assert err.count("\n") == 1


def test_defaults_are_those_of_the_function() -> None:
    defaults = quantize.__defaults__
    assert defaults is not None
    assert defaults[0].split(",") == list(DEFAULT_FORMATS)
    assert str(DEFAULT_TOKENS) in defaults


def _made_result(values: list[tuple[str, float, float, float]]) -> QuantizeResult:
    formats = [
        FormatResult(name, bits, nmse, "lm_head", 0.1, "lm_head", {}, loss, 0.1, 0.01, [])
        for name, bits, nmse, loss in values
    ]
    return QuantizeResult("m", {"F32": 1.0}, 1, "fp16", 4, {}, 9, 1, 512, 9, 20.0, formats)


def test_labels_of_crowded_points_stay_apart() -> None:
    """Thirteen formats nearly coincide; one at the right edge has its label to the left."""
    values = [
        (name, 4.1 + 0.01 * index + (index == 13) * 4, 1e-2 * (1 + index / 100), 30 + index / 10)
        for index, name in enumerate(DEFAULT_FORMATS)
    ]
    drawn = str(plot_svg(_made_result(values)))
    for panel in drawn.split("<g transform")[1:]:
        place = r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="start" fill="#[0-9A-F]{6}">'
        pattern = place + "([a-z0-9_]+)</text>"
        boxes = [(float(x), float(y), len(name)) for x, y, name in re.findall(pattern, panel)]
        assert len(boxes) == len(DEFAULT_FORMATS) - 1
        assert f'text-anchor="end" fill="#000000">{DEFAULT_FORMATS[13]}<' in panel
        for index, (x, y, length) in enumerate(boxes):
            for left, top, letters in boxes[:index]:
                apart = x + 6 * length <= left or left + 6 * letters <= x
                assert apart or abs(y - top) >= 11


def test_one_format_makes_a_plot() -> None:
    ElementTree.fromstring(str(plot_svg(_made_result([("int4", 4.0, 1e-2, 20.0)]))))


def test_the_page_is_that_of_the_stored_figures() -> None:
    stored = json.loads(perplexity.RESULTS.read_text(encoding="utf-8"))
    assert perplexity.DOCUMENT.read_text(encoding="utf-8") == render(stored)
    for name in ("fp16", "int8"):
        plot = Path(perplexity.DOCUMENT).parent / f"quantisation-{name}.svg"
        assert plot.read_text() == str(plot_svg(perplexity.as_result(stored[name])))

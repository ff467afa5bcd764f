"""Quantising a model: errors, losses, the text, the cache, and what is refused."""

import json
from itertools import pairwise

import numpy as np
import pytest
from tiny_gguf import tiny_tensors, write_tiny

import silicast
from designs.errors import InputError
from mapping.formats import parse_format, storage_bits
from mapping.models import open_checkpoint, resolve_model
from mapping.quantise import quantise
from mapping.tokenizer import Tokenizer
from silicast import quantization
from silicast.quantization import DEFAULT_FORMATS
from silicast.quantize_perplexity import FloatLayers, token_losses
from silicast.quantize_results import QuantizeResult
from silicast.quantize_text import Window, cut_windows, load_text
from sim.host.decoder import Gemma3Decoder, float_linear

FORMATS = ["int8_g32", "int4_g32", "int3_g32", "bitmod_fp4_g32", "ant4_g32", "int4_asym_g32"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of two layers, and a cache of its own."""
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SILICAST_CACHE", str(folder / "cache"))
        yield write_tiny(folder / "tiny.gguf")


@pytest.fixture(scope="module")
def results(tiny):
    """Both kinds of activations."""
    return {
        kind: silicast.quantize(tiny, FORMATS, activations=kind, tokens=150)
        for kind in ("fp16", "int8")
    }


@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_fewer_bits_cost_more(results, kind) -> None:
    found = {item.format: item for item in results[kind].formats}
    order = [found[name] for name in ("int8_g32", "int4_g32", "int3_g32")]
    for better, worse in pairwise(order):
        assert better.bits_per_weight > worse.bits_per_weight
        assert better.weight_nmse < worse.weight_nmse
        assert better.output_error < worse.output_error
    assert found["bitmod_fp4_g32"].weight_nmse < found["int4_g32"].weight_nmse
    # eight bits are nearly the float weights, three are not; losses are of random weights
    assert abs(order[0].loss_increase) < abs(order[2].loss_increase)


def test_int8_activations_add_to_the_error(results) -> None:
    """Of eight-bit weights, whose own error is small; weights are the same ones."""
    half, codes = (results[kind].formats[0] for kind in ("fp16", "int8"))
    assert codes.output_error > 1.1 * half.output_error
    assert codes.weight_nmse == half.weight_nmse
    assert results["fp16"].float_perplexity == results["int8"].float_perplexity


def test_weight_error_and_bits_are_those_of_the_weights(tiny, results) -> None:
    checkpoint = open_checkpoint(resolve_model(tiny))
    for item in results["fp16"].formats:
        fmt = parse_format(item.format)
        bits = size = missed = whole = 0.0
        for layer, shape in zip(item.layers, checkpoint.spec.linear_layers(), strict=True):
            weights = checkpoint.weight(shape.name).astype(float)
            off = quantise(weights, fmt).dequantise().astype(float) - weights
            assert layer.name == shape.name
            assert layer.weight_nmse == pytest.approx((off**2).sum() / (weights**2).sum())
            missed += (off**2).sum()
            whole += (weights**2).sum()
            bits += storage_bits(fmt, shape.n, shape.k)
            size += weights.size
        assert item.weight_nmse == pytest.approx(missed / whole)
        assert item.bits_per_weight == pytest.approx(bits / size)
        worst = max(item.layers, key=lambda layer: layer.weight_nmse)
        assert item.worst_weight_layer == worst.name


def test_special_values_and_types_are_counted(tiny, results) -> None:
    checkpoint = open_checkpoint(resolve_model(tiny))
    fmt = parse_format("bitmod_fp4_g32")
    special = np.concatenate(
        [
            quantise(checkpoint.weight(shape.name), fmt).special.ravel()
            for shape in checkpoint.spec.linear_layers()
        ]
    )
    found = {item.format: item.special_values for item in results["fp16"].formats}
    shares = [float((special == number).mean()) for number in range(4)]
    expected = dict(zip(("+5", "-5", "+8", "-8"), shares, strict=True))
    assert found["bitmod_fp4_g32"] == pytest.approx(expected)
    assert set(found["ant4_g32"]) == {"int4", "flint4"}
    assert sum(found["ant4_g32"].values()) == pytest.approx(1)
    assert found["int4_g32"] == {}


def test_losses_are_those_of_the_decoder(tiny) -> None:
    """Token by token with the decoder's own logits, in float64."""
    checkpoint = open_checkpoint(resolve_model(tiny))
    ids = [2, *np.random.default_rng(0).integers(4, 272, 20).tolist()]
    windows = [Window(tuple(ids[:12]), tuple(ids[1:13])), Window((2, 7), (7, 9))]
    found = token_losses(checkpoint, FloatLayers(checkpoint), windows)
    decoder = Gemma3Decoder(checkpoint, float_linear(checkpoint))
    expected = []
    for window in windows:
        for length, target in enumerate(window.targets, 1):
            logits = decoder.prefill(window.inputs[:length]).astype(float)
            shifted = logits - logits.max()
            expected.append(np.log(np.exp(shifted).sum()) - shifted[target])
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_logits_may_come_in_any_blocks(tiny) -> None:
    """The sum over the vocabulary is carried from block to block, whichever logit is largest."""
    checkpoint = open_checkpoint(resolve_model(tiny))
    whole = FloatLayers(checkpoint)

    class InBlocks:
        def blocks(self, name, values):
            for part, outputs in whole.blocks(name, values):
                for first in range(part.start, part.stop, 25):
                    cut = slice(first, min(first + 25, part.stop))
                    yield cut, outputs[:, cut.start - part.start : cut.stop - part.start]

    ids = np.random.default_rng(2).integers(4, 272, 41).tolist()
    windows = [Window(tuple(ids[:-1]), tuple(ids[1:]))]
    expected = token_losses(checkpoint, whole, windows)
    np.testing.assert_allclose(token_losses(checkpoint, InBlocks(), windows), expected, rtol=1e-6)


def test_perplexity_is_the_exponential_of_the_mean_loss(results) -> None:
    result = results["fp16"]
    reference = result.float_token_losses
    assert len(reference) == result.tokens == 150
    assert result.float_perplexity == pytest.approx(np.exp(reference.mean()))
    for item in result.formats:
        above = item.token_losses - reference
        assert item.perplexity == pytest.approx(np.exp(item.token_losses.mean()))
        assert item.loss_increase == pytest.approx(above.mean())
        assert item.loss_increase_error == pytest.approx(np.std(above, ddof=1) / 150**0.5)


def test_the_result_survives_json(results) -> None:
    result = results["int8"]
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert QuantizeResult.from_dict(plain).to_dict() == plain
    assert set(plain) == {
        *("model", "storage", "weights", "activations", "block", "text", "tokens", "windows"),
        *("window", "error_tokens", "float_perplexity", "formats"),
    }
    assert set(plain["text"]) == {"title", "source", "licence", "size_bytes", "sha256"}
    for item in plain["formats"]:
        assert set(item) == {
            *("format", "bits_per_weight", "weight_nmse", "worst_weight_layer", "output_error"),
            *("worst_output_layer", "special_values", "perplexity", "loss_increase"),
            *("loss_increase_error", "layers"),
        }
        assert len(item["layers"]) == 15
        for layer in item["layers"]:
            assert set(layer) == {"name", "n", "k", "weight_nmse", "output_error"}
    assert sum(plain["storage"].values()) == pytest.approx(1)
    assert set(plain["storage"]) == {"F32", "F16", "Q8_0"}


def test_finished_formats_are_not_measured_again(tiny, monkeypatch) -> None:
    first = silicast.quantize(tiny, ["int6_g32"], tokens=60)
    quick = silicast.quantize(tiny, ["int5_g32"], tokens=60, perplexity=False)
    assert quick.formats[0].perplexity is None
    assert quick.float_perplexity is None
    assert quick.formats[0].output_error > first.formats[0].output_error
    names = []

    def count(weights, fmt):
        names.append(fmt.name)
        return quantise(weights, fmt)

    monkeypatch.setattr(quantization, "quantise", count)
    again = silicast.quantize(tiny, ["int6_g32", "int5_g32"], tokens=60)
    assert set(names) == {"int5_g32"}  # its losses were not there yet
    assert again.formats[0] == first.formats[0]
    np.testing.assert_array_equal(again.formats[0].token_losses, first.formats[0].token_losses)
    names.clear()
    silicast.quantize(tiny, ["int6_g32"], tokens=60, perplexity=False)
    assert not names
    silicast.quantize(tiny, ["int6_g32"], tokens=61, perplexity=False)
    silicast.quantize(tiny, ["int6_g32"], tokens=60, perplexity=False, cached=False)
    assert len(names) == 2 * 15


def test_a_layer_without_outputs_has_no_output_error(tmp_path, monkeypatch) -> None:
    """All-zero weights: exact in any format, and no output to be relative to."""
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))
    tensors = tiny_tensors()
    tensors["blk.0.attn_v.weight"][:] = 0
    path = write_tiny(tmp_path / "zero.gguf", tensors=tensors)
    (item,) = silicast.quantize(path, ["int4_g32"], tokens=20, perplexity=False).formats
    layers = {layer.name: layer for layer in item.layers}
    assert layers["layers.0.v"].output_error is None
    assert layers["layers.0.v"].weight_nmse == 0
    assert layers["layers.1.v"].output_error > 0
    assert item.output_error > 0


def test_windows_predict_every_token_once(tiny) -> None:
    tokenizer = Tokenizer(open_checkpoint(resolve_model(tiny)).tokenizer_fields)
    text = load_text()
    ids = tokenizer.encode(text.content, add_bos=False)
    windows = cut_windows(text, tokenizer, 25, 11)
    assert [len(w.targets) for w in windows] == [10, 10, 5]
    assert [t for w in windows for t in w.targets] == ids[:25]
    for window in windows:
        assert window.inputs[0] == tokenizer.fields.bos
        assert window.inputs[1:] == window.targets[:-1]


def test_the_text_is_the_one_the_page_states() -> None:
    text = load_text()
    assert text.size_bytes == 52018
    assert text.licence == "public domain"
    assert text.content.startswith("CHAPTER XIII\n\nTOM'S mind was made up now.")
    assert text.content.isascii()


def _refused(tiny, **changes) -> str:
    arguments = {"model": tiny, "formats": ["int4_g32"], "tokens": 20} | changes
    with pytest.raises(InputError) as error:
        silicast.quantize(**arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"formats": []}, ("formats", "a list")),
        ({"formats": "int4"}, ("formats", "a list")),
        ({"formats": ["int9"]}, ("int9", "int8 ... int1")),
        ({"formats": ["fp16"]}, ("fp16", "formats with codes", "int4_g128")),
        ({"formats": ["olive4"]}, ("olive4", "formats with codes")),
        ({"formats": ["int4", "int4"]}, ("int4,int4", "once")),
        ({"formats": ["int4_g128"]}, ("int4_g128 for layers.0.q, K = 32", "divide")),
        ({"formats": ["int4_g2"]}, ("int4_g2", "multiple of 4")),
        ({"activations": "fp8"}, ("activations", "fp8", "fp16, int8")),
        ({"tokens": 1}, ("tokens", "1", ">= 2")),
        ({"tokens": True}, ("tokens", "True", ">= 2")),
        ({"tokens": 2.5}, ("tokens", "2.5", ">= 2")),
        ({"text": "nowhere.txt"}, ("text", "nowhere.txt", "UTF-8 text file")),
        ({"model": "nothing"}, ("model", "nothing", "gemma3-270m")),
        ({"model": "llama2-7b"}, ("llama2-7b", "weights", "a model with weights")),
    ],
)
def test_wrong_arguments_are_refused(tiny, changes, parts) -> None:
    message = _refused(tiny, **changes)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"\x89PNG\r\n\x1a\n", "byte 0x89 at 0"),
        (b"a\0b", "a zero byte at 1"),
        (b" \n", "no text"),
        (b"", "no text"),
    ],
)
def test_files_that_are_no_text_are_refused(tiny, tmp_path, data, part) -> None:
    path = tmp_path / "text"
    path.write_bytes(data)
    assert part in _refused(tiny, text=path)


def test_one_token_is_too_short(tiny, tmp_path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a")
    assert "1 tokens" in _refused(tiny, text=path)
    assert "at least two tokens" in _refused(tiny, text=path)


def test_groups_of_two_go_with_int8_activations(tiny) -> None:
    result = silicast.quantize(tiny, ["int4_g2"], activations="int8", tokens=20)
    assert result.formats[0].perplexity > 1


def test_default_formats_are_known() -> None:
    assert all(parse_format(name).quantisable for name in DEFAULT_FORMATS)

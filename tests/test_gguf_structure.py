"""Structure of GGUF files of every architecture, against the same model as a config.json."""

import dataclasses
import math
import struct

import gguf
import numpy
import pytest
from tiny_configs import read

from designs.errors import InputError
from mapping.frontends.gguf_file import EXECUTABLE, read_gguf, read_gguf_structure
from mapping.frontends.gguf_structure import ARCHITECTURES
from mapping.models import open_checkpoint, resolve_model

H, FFN, VOCAB, LAYERS = 32, 48, 80, 4  # sizes of tests/tiny_configs.py
KEYS = {
    "block_count": LAYERS,
    "embedding_length": H,
    "feed_forward_length": FFN,
    "context_length": 128,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "vocab_size": VOCAB,
}
GATED = {**KEYS, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 5e5}
WIDE = {"attention.key_length": 16, "attention.value_length": 16}
GEMMA = {**KEYS, **WIDE, "attention.layer_norm_rms_epsilon": 1e-6, "attention.sliding_window": 24}
EXPERTS = {"expert_count": 6, "expert_used_count": 2, "expert_feed_forward_length": 20}


def attention(head=8, kv=2, bias=()):
    sizes = {"q": (4 * head, H), "k": (kv * head, H), "v": (kv * head, H), "output": (H, 4 * head)}
    biases = {f"attn_{kind}.bias": sizes[kind][:1] for kind in bias}
    return {"attn_norm": (H,), **{f"attn_{kind}": s for kind, s in sizes.items()}, **biases}


NORM = {"ffn_norm": (H,)}
MLP = {**NORM, "ffn_gate": (FFN, H), "ffn_up": (FFN, H), "ffn_down": (H, FFN)}
HEAD_NORMS = {"attn_q_norm": (16,), "attn_k_norm": (16,)}
POST_NORMS = {"post_attention_norm": (H,), "post_ffw_norm": (H,)}
SUB_NORMS = {"attn_sub_norm": (H,), "ffn_sub_norm": (FFN,)}


def experts(width):
    return {
        **NORM,
        "ffn_gate_inp": (6, H),
        "ffn_gate_exps": (6, width, H),
        "ffn_up_exps": (6, width, H),
        "ffn_down_exps": (6, H, width),
    }


def biased(**shapes):
    """Weight and bias, as layer norms and the linear layers of GPT-2 and Phi-2 have them."""
    return {**shapes, **{f"{name}.bias": shape[:1] for name, shape in shapes.items()}}


SHARED = {
    "ffn_gate_inp_shexp": (H,),
    "ffn_gate_shexp": (40, H),
    "ffn_up_shexp": (40, H),
    "ffn_down_shexp": (H, 40),
}
FUSED = {"attn_qkv": (3 * H, H), "attn_output": (H, H), "attn_norm": (H,)}
UNTIED = {"output": (VOCAB, H)}
PLAIN = {"ffn_up": (FFN, H), "ffn_down": (H, FFN)}
LAYER = {**KEYS, "attention.head_count_kv": 4, "attention.layer_norm_epsilon": 1e-5}

# family: architecture, keys, tensors of a layer, tensors outside but the embedding and its norm
FILES = {
    "llama": ("llama", GATED, attention() | MLP, UNTIED),
    "mixtral": (
        "llama",
        GATED | {"expert_count": 6, "expert_used_count": 2},
        attention() | experts(FFN),
        UNTIED,
    ),
    "qwen2": ("qwen2", GATED, attention(bias="qkv") | MLP, {}),
    "qwen2moe": (
        "qwen2moe",
        GATED | EXPERTS | {"expert_shared_feed_forward_length": 40},
        attention(bias="qkv") | experts(20) | SHARED,
        UNTIED,
    ),
    "qwen3": ("qwen3", GATED | WIDE, attention(16) | HEAD_NORMS | MLP, UNTIED),
    "qwen3moe": (
        "qwen3moe",
        GATED | WIDE | EXPERTS,
        attention(16) | HEAD_NORMS | experts(20),
        UNTIED,
    ),
    "gemma2": ("gemma2", GEMMA, attention(16) | POST_NORMS | MLP, {}),
    "gemma3": ("gemma3", GEMMA, attention(16) | HEAD_NORMS | POST_NORMS | MLP, {}),
    "phi": (
        "phi2",
        LAYER | {"rope.dimension_count": 4},
        biased(**FUSED, **PLAIN),
        biased(**UNTIED),
    ),
    "phi3": (
        "phi3",
        GATED | {"attention.sliding_window": 24},
        {
            "attn_norm": (H,),
            "attn_qkv": (H + 2 * 16, H),
            "attn_output": (H, H),
            **NORM,
            "ffn_up": (2 * FFN, H),
            "ffn_down": (H, FFN),
        },
        UNTIED,
    ),
    "gpt2": (
        "gpt2",
        LAYER | {"feed_forward_length": 128},
        biased(**FUSED, **NORM, ffn_up=(128, H), ffn_down=(H, 128)),
        {"position_embd": (128, H)},
    ),
    "bitnet": ("bitnet-b1.58", GATED, attention() | MLP | SUB_NORMS, {}),
}


def tensors_of(family):
    _, _, layer, outside = FILES[family]
    norm = {"output_norm": (H,)}
    if family in ("phi", "gpt2"):
        norm = biased(**norm)
    shapes = {"token_embd": (VOCAB, H), **norm, **outside}
    shapes |= {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    return {n if n.endswith(".bias") else f"{n}.weight": shape for n, shape in shapes.items()}


def write(path, family, tensors=None, keys=None, architecture=None, tokens=0, extra=None):
    own, metadata, _, _ = FILES[family]
    architecture = architecture or own
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in (metadata if keys is None else keys).items():
        name = f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_float32(name, value)
    for key, value in (extra or {}).items():
        writer.add_uint32(key, value)
    if tokens:
        writer.add_token_list([str(index) for index in range(tokens)])
    for name, shape in (tensors_of(family) if tensors is None else tensors).items():
        writer.add_tensor(name, numpy.zeros(shape, numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refused(*arguments, **options):
    path = write(*arguments, **options)
    with pytest.raises(InputError) as error:
        read_gguf_structure(path)
    assert "\n" not in str(error.value)
    assert error.value.where == str(path)
    return error.value


def test_every_architecture_is_here():
    written = {architecture for architecture, *_ in FILES.values()} | {"bitnet"}
    assert written == set(ARCHITECTURES)


@pytest.mark.parametrize("family", sorted(FILES))
def test_a_file_equals_its_config(family, tmp_path):
    spec = read_gguf_structure(write(tmp_path / "m.gguf", family))
    assert spec == read(family)
    assert spec.parameters() == sum(math.prod(shape) for shape in tensors_of(family).values())


@pytest.mark.parametrize("family", sorted(FILES))
def test_every_missing_or_wrong_tensor_is_named(family, tmp_path):
    tensors = tensors_of(family)
    optional = {"output.weight"}  # without it the head is tied
    for name in [n for n in tensors if not n.startswith(("blk.1", "blk.2"))]:
        if name not in optional:
            without = {n: shape for n, shape in tensors.items() if n != name}
            error = refused(tmp_path / "m.gguf", family, without)
            assert error.found is None
            assert error.field == f"tensor {name}"
        changed = {**tensors, name: (*tensors[name][:-1], tensors[name][-1] + 1)}
        error = refused(tmp_path / "m.gguf", family, changed)
        assert error.field in (f"tensor {name}", "tensor token_embd.weight")


@pytest.mark.parametrize("family", sorted(FILES))
def test_every_needed_key_is_named(family, tmp_path):
    architecture, keys, *_ = FILES[family]
    defaults = {
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.sliding_window",
        "rope.freq_base",
        "rope.dimension_count",
        "expert_count",
        "expert_feed_forward_length",
        "expert_shared_feed_forward_length",
    }
    for key in sorted(set(keys) - defaults):
        without = {name: value for name, value in keys.items() if name != key}
        error = refused(tmp_path / "m.gguf", family, keys=without)
        expected = "tokenizer.ggml.tokens" if key == "vocab_size" else f"{architecture}.{key}"
        assert (error.field, error.found) == (expected, None)


def test_vocabulary_by_its_tokens(tmp_path):
    keys = {name: value for name, value in GATED.items() if name != "vocab_size"}
    spec = read_gguf_structure(write(tmp_path / "m.gguf", "llama", keys=keys, tokens=VOCAB))
    assert spec == dataclasses.replace(read("llama"))
    error = refused(tmp_path / "n.gguf", "llama", keys=keys, tokens=VOCAB + 1)
    assert error.field == "tensor token_embd.weight"


def test_optional_biases_of_llama(tmp_path):
    tensors = tensors_of("llama")
    query = {
        f"blk.{i}.attn_{kind}.bias": tensors[f"blk.{i}.attn_{kind}.weight"][:1]
        for i in range(LAYERS)
        for kind in "qkv"
    }
    spec = read_gguf_structure(write(tmp_path / "q.gguf", "llama", tensors | query))
    assert (spec.qkv_bias, spec.attention_bias) == (True, False)
    output = {f"blk.{i}.attn_output.bias": (H,) for i in range(LAYERS)}
    spec = read_gguf_structure(write(tmp_path / "a.gguf", "llama", tensors | query | output))
    assert (spec.qkv_bias, spec.attention_bias) == (False, True)
    error = refused(tmp_path / "o.gguf", "llama", tensors | output)
    assert error.field == "tensor blk.0.attn_q.bias"


def test_tied_head_of_llama(tmp_path):
    tensors = tensors_of("llama")
    del tensors["output.weight"]
    assert read_gguf_structure(write(tmp_path / "m.gguf", "llama", tensors)) == read(
        "llama", tie_word_embeddings=True
    )


def test_mixtral_before_the_experts_were_merged(tmp_path):
    tensors = {}
    for name, shape in tensors_of("mixtral").items():
        if "_exps" in name:
            single = name.removesuffix("_exps.weight")
            tensors |= {f"{single}.{expert}.weight": shape[1:] for expert in range(6)}
        else:
            tensors[name] = shape
    assert read_gguf_structure(write(tmp_path / "m.gguf", "mixtral", tensors)) == read("mixtral")
    del tensors["blk.2.ffn_up.5.weight"]
    assert refused(tmp_path / "n.gguf", "mixtral", tensors).field == "tensor blk.2.ffn_up.5.weight"


def test_yi_is_a_llama_of_64000_tokens(tmp_path):
    keys = GATED | {"vocab_size": 64000}
    tensors = tensors_of("llama") | {"token_embd.weight": (64000, H), "output.weight": (64000, H)}
    path = write(tmp_path / "m.gguf", "llama", tensors, keys)
    assert read_gguf_structure(path).family == "yi"


def test_bitnet_of_llama_cpp(tmp_path):
    """Its own name for the architecture, SiLU unless the file says otherwise."""
    options = {"architecture": "bitnet", "keys": GATED}
    spec = read_gguf_structure(write(tmp_path / "m.gguf", "bitnet", **options))
    assert spec == dataclasses.replace(read("bitnet"), activation="silu")
    options["keys"] = {**GATED, "hidden_activation": "relu2"}
    assert read_gguf_structure(write(tmp_path / "m.gguf", "bitnet", **options)) == read("bitnet")
    options["keys"] = {**GATED, "hidden_activation": "gelu"}
    error = refused(tmp_path / "g.gguf", "bitnet", **options)
    assert (error.field, error.found) == ("bitnet.hidden_activation", "gelu")


def test_ternary_storage_that_gguf_does_not_know(tmp_path):
    """I2_S of Microsoft's branch is type 36; the structure does not depend on it."""
    path = write(tmp_path / "m.gguf", "bitnet")
    data = bytearray(path.read_bytes())
    name = b"blk.0.ffn_up.weight"
    place = data.index(name) + len(name) + 4 + 2 * 8
    assert struct.unpack_from("<I", data, place) == (gguf.GGMLQuantizationType.F16,)
    struct.pack_into("<I", data, place, 36)
    path.write_bytes(data)
    assert read_gguf_structure(path) == read("bitnet")
    with pytest.raises(InputError, match="storage format 36"):
        read_gguf(path)


def test_sizes_given_for_each_layer(tmp_path):
    keys = {**GATED, "attention.head_count_kv": [2] * LAYERS}
    assert read_gguf_structure(write(tmp_path / "m.gguf", "llama", keys=keys)) == read("llama")
    for value in ([2, 2, 2, 1], [2.0] * LAYERS):
        keys["attention.head_count_kv"] = value
        error = refused(tmp_path / "n.gguf", "llama", keys=keys)
        assert error.field == "llama.attention.head_count_kv"


@pytest.mark.parametrize(
    ("family", "key", "value", "field"),
    [
        ("llama", "attention.head_count", 0, "llama.attention.head_count"),
        ("llama", "embedding_length", 0, "llama.embedding_length"),
        ("llama", "block_count", 0, "layers"),
        ("llama", "block_count", 5, "tensor blk.4.attn_q.weight"),
        ("llama", "block_count", 1 << 31, "layers"),
        ("llama", "attention.value_length", 4, "llama.attention.value_length"),
        ("llama", "attention.head_count_kv", 3, "kv_heads"),
        ("llama", "rope.dimension_count", 9, "llama.rope.dimension_count"),
        ("llama", "rope.dimension_count", 5, "head_dim"),
        ("llama", "rope.freq_base", -1.0, "rope_theta"),
        ("llama", "vocab_size", 79, "tensor token_embd.weight"),
        ("llama", "vocab_size", "80", "llama.vocab_size"),
        ("mixtral", "expert_used_count", 7, "experts_per_token"),
        ("mixtral", "expert_count", 5, "tensor blk.0.ffn_gate_inp.weight"),
        ("qwen2moe", "expert_used_count", 0, "qwen2moe.expert_used_count"),
        ("qwen2moe", "expert_count", 0, "qwen2moe.expert_count"),
        ("qwen3moe", "expert_feed_forward_length", 24, "tensor blk.0.ffn_gate_exps.weight"),
        ("gemma2", "attn_logit_softcapping", 0.0, "attention_softcap"),
    ],
)
def test_contradictions_are_named(family, key, value, field, tmp_path):
    keys = {**FILES[family][1], key: value}
    assert refused(tmp_path / "m.gguf", family, keys=keys).field == field


def test_defaults_of_llama_cpp(tmp_path):
    bare = {k: v for k, v in FILES["qwen2moe"][1].items() if not k.startswith("expert_shared")}
    spec = read_gguf_structure(
        write(
            tmp_path / "m.gguf",
            "qwen2moe",
            {
                name: tuple(FFN if size == 40 else size for size in shape)
                for name, shape in tensors_of("qwen2moe").items()
            },
            keys=bare,
        )
    )
    assert spec.shared_ffn == FFN
    keys = {k: v for k, v in GEMMA.items() if k != "attention.sliding_window"}
    spec = read_gguf_structure(write(tmp_path / "g.gguf", "gemma2", keys=keys))
    assert [spec.window(layer) for layer in range(4)] == [4096, None] * 2
    weights = {**FILES["qwen3moe"][1], "expert_weights_norm": False}
    spec = read_gguf_structure(write(tmp_path / "q.gguf", "qwen3moe", keys=weights))
    assert not spec.normalise_topk


def test_one_part_of_several_is_refused(tmp_path):
    error = refused(tmp_path / "m.gguf", "llama", extra={"split.count": 2})
    assert (error.field, error.found) == ("split.count", 2)


def test_unknown_architecture_lists_the_known(tmp_path):
    error = refused(tmp_path / "m.gguf", "llama", architecture="mamba")
    assert (error.field, error.found) == ("general.architecture", "mamba")
    assert "qwen3moe" in error.allowed


@pytest.mark.parametrize("family", sorted(set(FILES) - set(EXECUTABLE)))
def test_structure_can_be_simulated_but_not_executed(family, tmp_path):
    resolved = resolve_model(write(tmp_path / "m.gguf", family))
    assert resolved.spec == dataclasses.replace(read(family), name="m")
    with pytest.raises(InputError, match="gemma3 to be executed") as error:
        open_checkpoint(resolved)
    assert error.value.field == "general.architecture"

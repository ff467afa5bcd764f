"""A Gemma 3 checkpoint of two small layers, whole or damaged on purpose."""

import gguf
import numpy

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB, LAYERS = 32, 2, 1, 16, 64, 272, 2


def tiny_tensors():
    """A Gemma 3 of 2 layers with random weights, by llama.cpp tensor name."""
    random = numpy.random.default_rng(7)
    shapes = {"token_embd": (VOCAB, HIDDEN), "output_norm": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "attn_q": (HEADS * HEAD_DIM, HIDDEN),
                "attn_k": (KV_HEADS * HEAD_DIM, HIDDEN),
                "attn_v": (KV_HEADS * HEAD_DIM, HIDDEN),
                "attn_output": (HIDDEN, HEADS * HEAD_DIM),
                "ffn_gate": (FFN, HIDDEN),
                "ffn_up": (FFN, HIDDEN),
                "ffn_down": (HIDDEN, FFN),
                "attn_norm": (HIDDEN,),
                "attn_q_norm": (HEAD_DIM,),
                "attn_k_norm": (HEAD_DIM,),
                "post_attention_norm": (HIDDEN,),
                "ffn_norm": (HIDDEN,),
                "post_ffw_norm": (HIDDEN,),
            }.items()
        }
    return {
        f"{name}.weight": random.standard_normal(shape, numpy.float32)
        for name, shape in shapes.items()
    }


def write_tiny(path, architecture="gemma3", without=(), tensors=None, **changes):
    """Write a tiny GGUF file; `without` leaves out metadata keys."""
    metadata = {
        "block_count": LAYERS,
        "embedding_length": HIDDEN,
        "feed_forward_length": FFN,
        "context_length": 128,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.key_length": HEAD_DIM,
        "attention.value_length": HEAD_DIM,
        "attention.sliding_window": 8,
    } | changes
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        if key not in without:
            writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_float32(f"{architecture}.attention.layer_norm_rms_epsilon", 1e-6)
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)]
    pieces += [chr(0x61 + index) for index in range(VOCAB - len(pieces))]
    if "tokens" not in without:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(pieces)
        writer.add_token_scores([0.0] * VOCAB)
        writer.add_token_types([3] * 4 + [6] * 256 + [1] * (VOCAB - 260))
        writer.add_bos_token_id(2)
        writer.add_eos_token_id(1)
        writer.add_add_space_prefix(False)
    for name, values in (tiny_tensors() if tensors is None else tensors).items():
        if name.endswith("ffn_up.weight"):
            writer.add_tensor(
                name,
                gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0),
                raw_dtype=gguf.GGMLQuantizationType.Q8_0,
            )
        elif name.endswith("ffn_down.weight"):
            writer.add_tensor(name, values.astype(numpy.float16))
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

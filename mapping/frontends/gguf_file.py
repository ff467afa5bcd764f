"""Front end: a GGUF checkpoint to a `ModelSpec`, its weights and its vocabulary.

Block formats and their dequantisation are the ``gguf`` package's; tensor and key names
are those of llama.cpp's converter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import gguf
import numpy
from numpy.typing import ArrayLike, NDArray

from designs.errors import InputError
from mapping.frontends.gguf_header import GgufTensor, Metadata, read_header
from mapping.model import ModelSpec
from mapping.tokenizer import TokenizerFields

__all__ = ["ARCHITECTURES", "GgufModel", "read_gguf"]

ARCHITECTURES = ("gemma3",)

# llama.cpp tensor names of the linear layers and norms of one decoder layer
_LINEARS = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
_NORMS = {
    "attention_norm": "attn_norm",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "post_attention_norm": "post_attention_norm",
    "ffn_norm": "ffn_norm",
    "post_ffn_norm": "post_ffw_norm",
}
_Q8_0 = numpy.dtype([("scale", "<f2"), ("codes", "i1", (32,))])


@dataclass(frozen=True, eq=False)
class GgufModel:
    """A checkpoint on disk; tensors are dequantised when asked for.

    Parameters
    ----------
    path : Path
        The file.
    spec : ModelSpec
        Structure of the model.
    tokenizer_fields : TokenizerFields
        Its vocabulary.
    tensors : dict of str to GgufTensor
        By the name in the file.
    """

    path: Path
    spec: ModelSpec
    tokenizer_fields: TokenizerFields
    tensors: dict[str, GgufTensor] = field(repr=False)
    data: NDArray[numpy.uint8] = field(repr=False)

    def weight(self, name: str) -> NDArray[numpy.float32]:
        """Weight of a linear layer, float32 (N, K).

        Parameters
        ----------
        name : str
            A name of ``spec.linear_layers()``.

        Raises
        ------
        InputError
            No linear layer has that name.
        """
        if name == "lm_head" and self.spec.tied_embeddings:
            return self.embedding
        return self._dequantise(self.tensors[self._tensor_name(name, linear=True)])

    def storage(self, name: str) -> str:
        """Storage format of a linear layer's weight in the file, e.g. ``Q5_0``."""
        return self.tensors[self._tensor_name(name, linear=True)].kind.name

    def norm(self, name: str) -> NDArray[numpy.float32]:
        """Scale vector of a norm, float32 (hidden,) or (head_dim,), ready to multiply.

        Gemma's ``1 + weight`` is already in the file: the converter of llama.cpp adds it.

        Parameters
        ----------
        name : str
            ``final_norm`` or ``layers.{i}.`` and one of attention_norm, q_norm, k_norm,
            post_attention_norm, ffn_norm, post_ffn_norm.

        Raises
        ------
        InputError
            No norm has that name.
        """
        return self._dequantise(self.tensors[self._tensor_name(name, linear=False)])

    @cached_property
    def embedding(self) -> NDArray[numpy.float32]:
        """Token embedding, float32 (vocab, hidden), read-only, kept once dequantised."""
        table = self._dequantise(self.tensors["token_embd.weight"])
        table.flags.writeable = False
        return table

    def embedding_rows(self, token_ids: ArrayLike) -> NDArray[numpy.float32]:
        """Embedding of some tokens, float32 (M, hidden); dequantises only these rows.

        Raises
        ------
        InputError
            A token id is outside ``[0, vocab)``.
        """
        ids = numpy.asarray(token_ids, dtype=numpy.int64)
        wrong = ids[(ids < 0) | (ids >= self.spec.vocab)]
        if wrong.size:
            raise InputError("token ids", "", int(wrong[0]), f"0 to {self.spec.vocab - 1}")
        return self._dequantise(self.tensors["token_embd.weight"], ids)

    def _tensor_name(self, name: str, linear: bool) -> str:
        prefix, _, rest = name.partition(".")
        index, _, kind = rest.partition(".")
        kinds = _LINEARS if linear else _NORMS
        if name in (("lm_head",) if linear else ("final_norm",)):
            tied = linear and self.spec.tied_embeddings
            return f"{'token_embd' if tied else 'output' if linear else 'output_norm'}.weight"
        known = prefix == "layers" and index.isdecimal() and int(index) < self.spec.layers
        if not known or kind not in kinds:
            last = "lm_head" if linear else "final_norm"
            raise InputError(
                self.path,
                "tensor",
                name,
                f"layers.0 to layers.{self.spec.layers - 1} . {'|'.join(kinds)}, or {last}",
            )
        return f"blk.{int(index)}.{kinds[kind]}.weight"

    def _dequantise(
        self, tensor: GgufTensor, rows: NDArray[numpy.int64] | None = None
    ) -> NDArray[numpy.float32]:
        raw = self.data[tensor.offset : tensor.offset + tensor.size]
        raw = raw.reshape(*tensor.shape[:-1], -1)
        if rows is not None:
            raw = raw[rows]
        if tensor.kind == gguf.GGMLQuantizationType.Q8_0:
            # the same products as gguf's with fewer copies: less than half the time on Gemma 3
            blocks = numpy.ascontiguousarray(raw).view(_Q8_0)
            values = blocks["codes"].astype(numpy.float32)
            values *= blocks["scale"].astype(numpy.float32)[..., None]
            return values.reshape(*raw.shape[:-1], tensor.shape[-1])
        try:
            values = gguf.quants.dequantize(raw, tensor.kind)
        except NotImplementedError:
            raise InputError(
                self.path,
                f"tensor {tensor.name}",
                tensor.kind.name,
                "a format that the gguf package dequantises",
            ) from None
        return numpy.array(values, dtype=numpy.float32)


def _gemma3_spec(metadata: Metadata, tensors: dict[str, GgufTensor], name: str) -> ModelSpec:
    def integer(key: str, default: int | None = None) -> int:
        return metadata.get(f"gemma3.{key}", int, default)

    layers, hidden = integer("block_count"), integer("embedding_length")
    heads, head_dim = integer("attention.head_count"), integer("attention.key_length")
    if integer("attention.value_length", head_dim) != head_dim:
        raise InputError(
            metadata.where,
            "gemma3.attention.value_length",
            integer("attention.value_length"),
            f"{head_dim} (key_length)",
        )
    tokens = metadata.get("tokenizer.ggml.tokens", tuple)
    # llama.cpp: the 27B model alone (62 layers) scales queries by hidden / heads
    scalar = hidden / heads if layers == 62 and heads else head_dim
    try:
        return ModelSpec(
            name=name,
            family="gemma3",
            layers=layers,
            hidden=hidden,
            heads=heads,
            kv_heads=integer("attention.head_count_kv"),
            head_dim=head_dim,
            ffn=integer("feed_forward_length"),
            vocab=len(tokens),
            gated_mlp=True,
            tied_embeddings="output.weight" not in tensors,
            activation="gelu_tanh",
            norm="rms",
            norm_eps=metadata.single("gemma3.attention.layer_norm_rms_epsilon"),
            max_context=integer("context_length"),
            rope_theta=metadata.single("gemma3.rope.freq_base", 1e6),
            # not in older files: constants of llama.cpp and of the Gemma 3 report (2503.19786)
            rope_local_theta=metadata.single("gemma3.rope.freq_base_swa", 10000.0),
            rope_scale=metadata.single("gemma3.rope.scaling.factor", 1.0),
            sliding_window=integer("attention.sliding_window"),
            sliding_window_pattern=integer("attention.sliding_window_pattern", 6),
            query_scale=1 / math.sqrt(scalar) if scalar > 0 else None,
            embedding_scale=math.sqrt(hidden) if hidden > 0 else 1.0,
            qk_norm=True,
            post_norms=True,
        )
    except InputError as error:  # a rule of ModelSpec: name the file instead of the object
        raise InputError(metadata.where, error.field, error.found, error.allowed) from None


def _tokenizer_fields(metadata: Metadata) -> TokenizerFields:
    model = metadata.get("tokenizer.ggml.model", str)
    if model != "llama":
        raise InputError(metadata.where, "tokenizer.ggml.model", model, "llama")

    def token(key: str) -> int | None:
        return metadata.get(key, int) if key in metadata.values else None

    return TokenizerFields(
        tokens=metadata.get("tokenizer.ggml.tokens", tuple),
        scores=metadata.get("tokenizer.ggml.scores", numpy.ndarray).astype(numpy.float32),
        types=metadata.get("tokenizer.ggml.token_type", numpy.ndarray).astype(numpy.int32),
        bos=token("tokenizer.ggml.bos_token_id"),
        eos=token("tokenizer.ggml.eos_token_id"),
        unknown=token("tokenizer.ggml.unknown_token_id"),
        add_bos=metadata.get("tokenizer.ggml.add_bos_token", bool, True),
        add_eos=metadata.get("tokenizer.ggml.add_eos_token", bool, False),
        add_space_prefix=metadata.get("tokenizer.ggml.add_space_prefix", bool, True),
        where=str(metadata.where),
    )


def _check_tensors(model: GgufModel) -> None:
    """All tensors the model needs are there, in the shape its structure says."""
    spec = model.spec

    def check(name: str, expected: tuple[int, ...]) -> None:
        tensor = model.tensors.get(name)
        if tensor is None:
            raise InputError(model.path, f"tensor {name}", None, f"a tensor of shape {expected}")
        if tensor.shape != expected:
            raise InputError(model.path, f"tensor {name}", tensor.shape, f"shape {expected}")

    check("token_embd.weight", (spec.vocab, spec.hidden))
    check("output_norm.weight", (spec.hidden,))
    check(model._tensor_name("lm_head", linear=True), (spec.vocab, spec.hidden))
    sizes = {"q_norm": spec.head_dim, "k_norm": spec.head_dim}
    for layer in range(spec.layers):
        for shape in spec.layer_linears(layer):
            check(model._tensor_name(shape.name, linear=True), (shape.n, shape.k))
        for kind in _NORMS:
            name = model._tensor_name(f"layers.{layer}.{kind}", linear=False)
            check(name, (sizes.get(kind, spec.hidden),))


def read_gguf(path: str | Path, name: str | None = None) -> GgufModel:
    """Open a GGUF checkpoint: read its header, check its tensors, dequantise nothing yet.

    Parameters
    ----------
    path : str or Path
        The file, GGUF version 2 or 3, little endian.
    name : str, optional
        Name the model gets; the file's stem by default.

    Returns
    -------
    GgufModel

    Raises
    ------
    InputError
        The file is missing, not GGUF, cut short, of an architecture outside
        `ARCHITECTURES`, or lacks a metadata key or a tensor.
    """
    path = Path(path)
    try:
        empty = path.stat().st_size == 0
        data = (
            numpy.zeros(0, numpy.uint8)
            if empty
            else numpy.asarray(numpy.memmap(path, dtype=numpy.uint8, mode="r"))
        )
    except OSError as error:
        raise InputError(path, "", error.strerror or "unreadable", "a GGUF file") from None
    metadata, tensors = read_header(data, path)
    architecture = metadata.get("general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise InputError(path, "general.architecture", architecture, ", ".join(ARCHITECTURES))
    spec = _gemma3_spec(metadata, tensors, name or path.stem)
    model = GgufModel(path, spec, _tokenizer_fields(metadata), tensors, data)
    _check_tensors(model)
    return model

"""Front end: a Hugging Face ``config.json`` to a `ModelSpec`; structure only, no weights.

Field names and defaults are those of the ``transformers`` configuration classes
(LlamaConfig, MistralConfig, OPTConfig, PhiConfig, Gemma3TextConfig).  Sizes have no
default here: a config that leaves one out is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from designs.errors import InputError
from mapping.model import MOST, ModelSpec

__all__ = ["ARCHITECTURES", "read_config", "spec_from_config"]

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_REQUIRED = object()
_MOST = 1 << 30  # of integers without a bound of their own


class _Config:
    """Typed access to a config; every failure names the file and the field."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        self.fields = fields
        self.where = where

    def get(self, field: str, kind: type, default: Any = _REQUIRED) -> Any:
        value = self.fields.get(field)
        what = {
            int: "an integer",
            float: "a number",
            bool: "true or false",
            str: "a string",
            list: "a list",
            dict: "an object",
        }[kind]
        if value is None:  # JSON null means "use the default" in these files
            if default is _REQUIRED:
                raise InputError(self.where, field, None, what)
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError:
                raise InputError(self.where, field, value, "a finite number") from None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(self.where, field, value, what)
        return value

    def integer(self, field: str, default: Any = _REQUIRED, most: int = _MOST) -> int:
        value = self.get(field, int, default)
        if value is not None and not 1 <= value <= most:
            raise InputError(self.where, field, value, f"an integer from 1 to {most}")
        return value

    def number(self, field: str, default: Any = _REQUIRED) -> float:
        value = self.get(field, float, default)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(self.where, field, value, "a finite number > 0")
        return value

    def flag(self, field: str, default: bool) -> bool:
        return self.get(field, bool, default)

    def require(self, field: str, value: Any, *allowed: Any) -> None:
        if value not in allowed:
            raise InputError(self.where, field, value, " or ".join(map(repr, allowed)))

    def activation(self, field: str, default: str) -> str:
        value = self.get(field, str, default)
        if value not in _ACTIVATIONS:
            raise InputError(self.where, field, value, ", ".join(sorted(_ACTIVATIONS)))
        return _ACTIVATIONS[value]

    def sizes(self, ffn: str = "intermediate_size") -> dict[str, int]:
        """Sizes that all architectures share."""
        hidden = self.integer("hidden_size", most=MOST["hidden"])
        heads = self.integer("num_attention_heads", most=MOST["heads"])
        head_dim = self.integer("head_dim", None, MOST["head_dim"])
        if head_dim is None:
            if hidden % heads:
                raise InputError(
                    self.where,
                    "num_attention_heads",
                    heads,
                    f"a divisor of hidden_size = {hidden}, or a head_dim field",
                )
            head_dim = hidden // heads
        kv_heads = self.integer("num_key_value_heads", heads)
        if heads % kv_heads:
            raise InputError(
                self.where,
                "num_key_value_heads",
                kv_heads,
                f"a divisor of num_attention_heads = {heads}",
            )
        return {
            "layers": self.integer("num_hidden_layers", most=MOST["layers"]),
            "hidden": hidden,
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": head_dim,
            "ffn": self.integer(ffn, most=MOST["ffn"]),
            "vocab": self.integer("vocab_size", most=MOST["vocab"]),
            "max_context": self.integer("max_position_embeddings"),
        }

    def rope_theta(self, default: float) -> float:
        # transformers 5 moved rope_theta into rope_parameters
        nested = _Config(self.get("rope_parameters", dict, {}), f"{self.where}: rope_parameters")
        return self.number("rope_theta", nested.number("rope_theta", default))


def _llama(config: _Config) -> dict[str, Any]:
    # Yi publishes its models as LlamaForCausalLM; its vocabulary is what tells it apart
    yi = config.integer("vocab_size", most=MOST["vocab"]) == 64000
    return {
        "family": "yi" if yi else "llama",
        **config.sizes(),
        "gated_mlp": True,
        "tied_embeddings": config.flag("tie_word_embeddings", False),
        "activation": config.activation("hidden_act", "silu"),
        "norm": "rms",
        "norm_eps": config.number("rms_norm_eps", 1e-6),
        # rope_scaling (Llama 3.1) changes angles, not shapes: not part of the structure
        "rope_theta": config.rope_theta(10000.0),
        "attention_bias": config.flag("attention_bias", False),
        "mlp_bias": config.flag("mlp_bias", False),
    }


def _mistral(config: _Config) -> dict[str, Any]:
    fields = _llama(config)
    fields.update(family="mistral", sliding_window=config.integer("sliding_window", None))
    return fields


def _opt(config: _Config) -> dict[str, Any]:
    sizes = config.sizes("ffn_dim")
    # OPT-350m alone projects its embeddings and norms after the block
    config.require(
        "word_embed_proj_dim",
        config.integer("word_embed_proj_dim", sizes["hidden"]),
        sizes["hidden"],
    )
    config.require("do_layer_norm_before", config.flag("do_layer_norm_before", True), True)
    bias = config.flag("enable_bias", True)
    return {
        "family": "opt",
        **sizes,
        "gated_mlp": False,
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "activation": config.activation("activation_function", "relu"),
        "norm": "layer",
        "norm_eps": 1e-5,  # the default of torch.nn.LayerNorm, which OPT uses
        # OPTLearnedPositionalEmbedding keeps two rows below position 0
        "learned_positions": sizes["max_context"] + 2,
        "attention_bias": bias,
        "mlp_bias": bias,
    }


def _phi(config: _Config) -> dict[str, Any]:
    config.require("qk_layernorm", config.flag("qk_layernorm", False), False)
    return {
        "family": "phi",
        **config.sizes(),
        "gated_mlp": False,
        "tied_embeddings": config.flag("tie_word_embeddings", False),
        "activation": config.activation("hidden_act", "gelu_new"),
        "norm": "layer",
        "norm_eps": config.number("layer_norm_eps", 1e-5),
        "rope_theta": config.rope_theta(10000.0),
        "rotary_fraction": config.number("partial_rotary_factor", 0.5),
        "parallel_block": True,
        "attention_bias": True,
        "mlp_bias": True,
        "head_bias": True,
    }


def _gemma3(config: _Config) -> dict[str, Any]:
    sizes = config.sizes()
    scaling = _Config(config.get("rope_scaling", dict, {}), f"{config.where}: rope_scaling")
    if scaling.fields:
        scaling.require("rope_type", scaling.get("rope_type", str, "linear"), "linear")
    scalar = config.number("query_pre_attn_scalar", float(sizes["head_dim"]))
    config.require(
        "use_bidirectional_attention", config.flag("use_bidirectional_attention", False), False
    )
    return {
        "family": "gemma3",
        **sizes,
        "gated_mlp": True,
        "tied_embeddings": config.flag("tie_word_embeddings", True),
        "activation": config.activation("hidden_activation", "gelu_pytorch_tanh"),
        "norm": "rms",
        "norm_eps": config.number("rms_norm_eps", 1e-6),
        "rope_theta": config.rope_theta(1e6),
        "rope_local_theta": config.number("rope_local_base_freq", 10000.0),
        "rope_scale": scaling.number("factor", 1.0),
        "sliding_window": config.integer("sliding_window"),
        "sliding_window_pattern": _gemma3_pattern(config, sizes["layers"]),
        "query_scale": 1 / math.sqrt(scalar),
        "embedding_scale": math.sqrt(sizes["hidden"]),
        "qk_norm": True,
        "post_norms": True,
        "attention_bias": config.flag("attention_bias", False),
    }


def _gemma3_pattern(config: _Config, layers: int) -> int:
    """Period of full-attention layers; ``layer_types``, where given, must agree with it."""
    period = config.integer("_sliding_window_pattern", config.integer("sliding_window_pattern", 6))
    expected = [
        "full_attention" if (layer + 1) % period == 0 else "sliding_attention"
        for layer in range(layers)
    ]
    types = config.get("layer_types", list, expected)
    if types != expected:
        wrong = next(
            (i for i, pair in enumerate(zip(types, expected, strict=False)) if pair[0] != pair[1]),
            None,
        )
        if wrong is None:
            raise InputError(
                config.where,
                "layer_types",
                f"{len(types)} entries",
                f"{layers} entries (num_hidden_layers)",
            )
        raise InputError(
            config.where,
            f"layer_types[{wrong}]",
            types[wrong],
            f"{expected[wrong]} (every {period}th layer has full attention)",
        )
    return period


ARCHITECTURES: Mapping[str, Callable[[_Config], dict[str, Any]]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _mistral,
    "OPTForCausalLM": _opt,
    "PhiForCausalLM": _phi,
    "Gemma3ForCausalLM": _gemma3,
}


def spec_from_config(config: Mapping[str, Any], name: str, where: str) -> ModelSpec:
    """Read the structure of a model from the fields of a config.

    Parameters
    ----------
    config : mapping
        The parsed ``config.json``.
    name : str
        Name the model gets.
    where : str
        The file, for error messages.

    Returns
    -------
    ModelSpec

    Raises
    ------
    InputError
        Unknown architecture, missing field, wrong type or value.
    """
    if not isinstance(config, Mapping):
        raise InputError(where, "", type(config).__name__, "a JSON object")
    reader = _Config(config, where)
    names = reader.get("architectures", list)
    if len(names) != 1 or not isinstance(names[0], str) or names[0] not in ARCHITECTURES:
        found = names[0] if len(names) == 1 else names
        raise InputError(where, "architectures", found, ", ".join(ARCHITECTURES))
    fields = ARCHITECTURES[names[0]](reader)
    try:
        return ModelSpec(name=name, **fields)
    except InputError as error:  # a rule of ModelSpec: name the file instead of the object
        raise InputError(where, error.field, error.found, error.allowed) from None


def read_config(path: str | Path, name: str | None = None) -> ModelSpec:
    """Read a Hugging Face ``config.json``.

    Parameters
    ----------
    path : str or Path
        The file.
    name : str, optional
        Name the model gets; the file's stem, or its folder's name for ``config.json``.

    Returns
    -------
    ModelSpec

    Raises
    ------
    InputError
        The file is missing, not JSON, or `spec_from_config` refuses it.
    """
    path = Path(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(path, "", error.strerror or "unreadable", "a readable file") from None
    except UnicodeDecodeError:
        raise InputError(path, "", "bytes that are not UTF-8", "a JSON text file") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(path, "", f"invalid JSON ({error})", "a JSON object") from None
    except ValueError:  # Python reads integers of at most 4300 digits
        found = "an integer of thousands of digits"
        raise InputError(path, "", found, "a JSON object with integers of 64 bits") from None
    if name is None:
        name = path.resolve().parent.name if path.stem == "config" else path.stem
    return spec_from_config(config, name or "model", str(path))

"""Typed access to a Hugging Face config: every failure names the file and the field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from designs.errors import InputError
from mapping.model import MOST

__all__ = ["ConfigFields", "window_fields"]

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "relu2": "relu2",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_REQUIRED = object()
_MOST = 1 << 30  # of integers without a bound of their own
_LAYER_TYPES = ("full_attention", "sliding_attention")
_KINDS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "an object",
}


class ConfigFields:
    """The fields of a config.

    Parameters
    ----------
    fields : mapping
        The parsed JSON object.
    where : str
        The file, and the object inside it, for error messages.
    """

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        self.fields = fields
        self.where = where

    def get(self, field: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Value of `field`, or `default`; `InputError` when missing or of another type."""
        value = self.fields.get(field)
        what = _KINDS[kind]
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

    def integer(self, field: str, default: Any = _REQUIRED, most: int = _MOST) -> Any:
        """An integer from 1 to `most`, or `default` as it is."""
        value = self.get(field, int, default)
        if value is not None and not 1 <= value <= most:
            raise InputError(self.where, field, value, f"an integer from 1 to {most}")
        return value

    def number(self, field: str, default: Any = _REQUIRED) -> Any:
        """A finite number above 0, or `default` as it is."""
        value = self.get(field, float, default)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(self.where, field, value, "a finite number > 0")
        return value

    def off_by_null(self, field: str, default: Any) -> Any:
        """`default`, or ``None`` where the file says null: a feature that null turns off."""
        return None if field in self.fields and self.fields[field] is None else default

    def flag(self, field: str, default: bool) -> bool:
        """True or false."""
        return bool(self.get(field, bool, default))

    def inner(self, field: str, default: Any = _REQUIRED) -> ConfigFields:
        """The fields of an object inside this one."""
        return ConfigFields(self.get(field, dict, default), f"{self.where}: {field}")

    def require(self, field: str, value: Any, *allowed: Any) -> None:
        """Refuse a value outside `allowed`."""
        if value not in allowed:
            raise InputError(self.where, field, value, " or ".join(map(repr, allowed)))

    def activation(self, field: str, default: str) -> str:
        """An activation function by its name in ``transformers``."""
        value = self.get(field, str, default)
        if value not in _ACTIVATIONS:
            raise InputError(self.where, field, value, ", ".join(sorted(_ACTIVATIONS)))
        return _ACTIVATIONS[value]

    def rope(self, field: str, default: float) -> float:
        """A number of rotary embedding, which transformers 5 keeps in ``rope_parameters``."""
        nested = self.inner("rope_parameters", {})
        return float(self.number(field, nested.number(field, default)))

    def sizes(
        self,
        ffn: str = "intermediate_size",
        kv_heads: int | None = None,
        head_dim: int | None = None,
    ) -> dict[str, int]:
        """Sizes that all architectures share.

        Parameters
        ----------
        ffn : str
            Name of the field with the inner width of the MLP.
        kv_heads, head_dim : int, optional
            What the configuration class assumes when the file leaves them out; by default
            as many as heads, and ``hidden_size / num_attention_heads``.
        """
        hidden = self.integer("hidden_size", most=MOST["hidden"])
        heads = self.integer("num_attention_heads", most=MOST["heads"])
        head_dim = self.integer("head_dim", head_dim, MOST["head_dim"])
        if head_dim is None:
            if hidden % heads:
                raise InputError(
                    self.where,
                    "num_attention_heads",
                    heads,
                    f"a divisor of hidden_size = {hidden}, or a head_dim field",
                )
            head_dim = hidden // heads
        assumed = self.off_by_null("num_key_value_heads", kv_heads) or heads
        kv_heads = self.integer("num_key_value_heads", assumed)
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

    def layer_types(self, layers: int) -> list[bool] | None:
        """Which layers slide by the ``layer_types`` field; ``None`` without that field."""
        types = self.get("layer_types", list, None)
        if types is None:
            return None
        if len(types) != layers:
            allowed = f"{layers} entries (num_hidden_layers)"
            raise InputError(self.where, "layer_types", f"{len(types)} entries", allowed)
        for index, entry in enumerate(types):
            if entry not in _LAYER_TYPES:
                allowed = " or ".join(_LAYER_TYPES)
                raise InputError(self.where, f"layer_types[{index}]", entry, allowed)
        return [entry == "sliding_attention" for entry in types]


def window_fields(config: ConfigFields, sliding: Sequence[bool], window: int | None) -> dict:
    """The window fields of a `ModelSpec` for layers that follow no period.

    Parameters
    ----------
    config : ConfigFields
        For error messages.
    sliding : sequence of bool
        Whether each layer has a sliding window.
    window : int or None
        The window; ``None`` only without sliding layers.
    """
    if not any(sliding):
        return {}
    if window is None:
        raise InputError(config.where, "sliding_window", None, "an integer with sliding layers")
    if all(sliding):
        return {"sliding_window": window}
    layers = tuple(index for index, slides in enumerate(sliding) if slides)
    return {"sliding_window": window, "window_layers": layers}

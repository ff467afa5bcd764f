"""Front end: a Hugging Face ``config.json`` to a `ModelSpec`; structure only, no weights.

The architecture, or where the file names none the model type, chooses a reader in
`dense_configs`, `gemma_configs` or `expert_configs`.  Sizes have no default, but for the number
of key-value heads and the size of a head: a config that leaves one out is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from designs.errors import InputError
from mapping.frontends import dense_configs, expert_configs, gemma_configs
from mapping.frontends.config_fields import ConfigFields
from mapping.model import ModelSpec

__all__ = ["ARCHITECTURES", "MODEL_TYPES", "read_config", "spec_from_config"]

_Reader = Callable[[ConfigFields], dict[str, Any]]

ARCHITECTURES: Mapping[str, _Reader] = {
    "LlamaForCausalLM": dense_configs.llama,
    "YiForCausalLM": dense_configs.llama,  # configs from before Yi took Llama's class
    "MistralForCausalLM": dense_configs.mistral,
    "MixtralForCausalLM": expert_configs.mixtral,
    "Qwen2ForCausalLM": dense_configs.qwen2,
    "Qwen2MoeForCausalLM": expert_configs.qwen2_moe,
    "Qwen3ForCausalLM": dense_configs.qwen3,
    "Qwen3MoeForCausalLM": expert_configs.qwen3_moe,
    "Gemma2ForCausalLM": gemma_configs.gemma2,
    "Gemma3ForCausalLM": gemma_configs.gemma3,
    "Gemma3ForConditionalGeneration": gemma_configs.gemma3_multimodal,
    "PhiForCausalLM": dense_configs.phi,
    "Phi3ForCausalLM": dense_configs.phi3,
    "OPTForCausalLM": dense_configs.opt,
    "BitNetForCausalLM": dense_configs.bitnet,
    "BitnetForCausalLM": dense_configs.old_bitnet,
    "GPT2LMHeadModel": dense_configs.gpt2,
}
"""Readers by the name in ``architectures``."""

MODEL_TYPES: Mapping[str, _Reader] = {
    "llama": dense_configs.llama,
    "Yi": dense_configs.llama,
    "mistral": dense_configs.mistral,
    "mixtral": expert_configs.mixtral,
    "qwen2": dense_configs.qwen2,
    "qwen2_moe": expert_configs.qwen2_moe,
    "qwen3": dense_configs.qwen3,
    "qwen3_moe": expert_configs.qwen3_moe,
    "gemma2": gemma_configs.gemma2,
    "gemma3_text": gemma_configs.gemma3,
    "gemma3": gemma_configs.gemma3_multimodal,
    "phi": dense_configs.phi,
    "phi3": dense_configs.phi3,
    "opt": dense_configs.opt,
    "bitnet": dense_configs.bitnet,
    "gpt2": dense_configs.gpt2,
}
"""Readers by ``model_type``, for files without ``architectures``."""


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
    fields = _reader(config, where)(ConfigFields(config, where))
    try:
        return ModelSpec(name=name, **fields)
    except InputError as error:  # a rule of ModelSpec: name the file instead of the object
        raise InputError(where, error.field, error.found, error.allowed) from None


def _reader(config: Mapping[str, Any], where: str) -> _Reader:
    fields = ConfigFields(config, where)
    names = fields.get("architectures", list, None)
    if names is not None:
        found = names[0] if len(names) == 1 else names
        if not isinstance(found, str) or found not in ARCHITECTURES:
            kind = fields.fields.get("model_type")
            if isinstance(kind, str) and kind not in MODEL_TYPES:
                raise InputError(where, "model_type", kind, ", ".join(MODEL_TYPES))
            raise InputError(where, "architectures", found, ", ".join(ARCHITECTURES))
        return ARCHITECTURES[found]
    kind = fields.get("model_type", str, None)
    if kind is None:
        allowed = f"one of {', '.join(ARCHITECTURES)}; or a model_type of {', '.join(MODEL_TYPES)}"
        raise InputError(where, "architectures", None, allowed)
    if kind not in MODEL_TYPES:
        raise InputError(where, "model_type", kind, ", ".join(MODEL_TYPES))
    return MODEL_TYPES[kind]


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

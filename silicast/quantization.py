"""A real model in many number formats: weight error, output error, perplexity."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from mapping.folded_sums import ACTIVATIONS
from mapping.formats import WeightFormat, list_formats, parse_format
from mapping.frontends.gguf_file import GgufModel
from mapping.models import ResolvedModel, open_checkpoint, resolve_model
from mapping.quantise import QuantisedWeights, quantise
from mapping.tokenizer import Tokenizer
from silicast.progress import Progress
from silicast.quantize_cache import ResultCache
from silicast.quantize_errors import LayerError, LayerSums, measure_layer
from silicast.quantize_perplexity import FloatLayers, QuantisedLayers, token_losses
from silicast.quantize_results import FormatResult, QuantizeResult
from silicast.quantize_text import Window, cut_windows, load_text

__all__ = [
    "BLOCK",
    "DEFAULT_FORMATS",
    "DEFAULT_TOKENS",
    "WINDOW",
    "FormatResult",
    "QuantizeResult",
    "quantize",
]

BLOCK = 4
"""FP16 activations aligned together: the lanes of a BitMoD element (HPCA'25, figure 5)."""

WINDOW = 512
"""Positions of a window, or the model's context if that is shorter."""

DEFAULT_TOKENS = 4 * (WINDOW - 1)
"""Predicted tokens: four windows, each of which begins with the begin-of-sequence token."""

DEFAULT_FORMATS = (
    "int8_g128",
    "int6_g128",
    "int4_g128",
    "int4_asym_g128",
    "fp4_g128",
    "flint4_g128",
    "ant4_g128",
    "mxfp4",
    "nvfp4",
    "bitmod_fp4_g128",
    "int3_g128",
    "int3_asym_g128",
    "fp3_g128",
    "bitmod_fp3_g128",
)

_FLOAT = "float32"
_ERROR_TOKENS = 256  # tokens whose layer inputs are kept for the output error, evenly spaced


def quantize(
    model: ResolvedModel | str | Path,
    formats: Sequence[WeightFormat | str] = DEFAULT_FORMATS,
    *,
    activations: str = "fp16",
    text: str | Path | None = None,
    tokens: int = DEFAULT_TOKENS,
    perplexity: bool = True,
    progress: Progress | None = None,
    cached: bool = True,
) -> QuantizeResult:
    """Quantise the linear layers of a model and measure what that costs.

    Perplexity is that of the next token where every linear layer, lm_head included, is computed by
    the arithmetic contract, bit for bit as the hardware does; embedding, norms, attention and
    activation functions are computed in float32. No calibration, no search: every weight is
    rounded on its own.

    Parameters
    ----------
    model : ResolvedModel, str or Path
        A model with weights: a built-in name or a ``.gguf`` file.
    formats : sequence of WeightFormat or str
        Number formats; all linear layers have the same one.
    activations : str
        ``fp16`` or ``int8`` (one dynamic scale a token).
    text : str or Path, optional
        A UTF-8 file; by default the text that comes with silicast.
    tokens : int
        Most tokens of it that are predicted, at least 2.
    perplexity : bool
        False: errors only.
    progress : Progress, optional
        Told what is going on.
    cached : bool
        Use and keep results of formats (`designs.cache`); an interrupted measurement resumes.

    Returns
    -------
    QuantizeResult

    Raises
    ------
    InputError
        An argument is wrong, the model has no weights, or a format does not go with its layers.
    """
    progress = progress or Progress()
    kinds = _formats(formats)
    if activations not in ACTIVATIONS:
        raise InputError("quantize", "activations", activations, ", ".join(ACTIVATIONS))
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 2:
        raise InputError("quantize", "tokens", tokens, "an integer >= 2")
    evaluation = load_text(text)
    resolved = model if isinstance(model, ResolvedModel) else resolve_model(model)
    progress.stage(f"opening {resolved.spec.name}")
    checkpoint = open_checkpoint(resolved)
    spec = checkpoint.spec
    for fmt in kinds:
        _check_layers(checkpoint, fmt, activations)
    window = min(WINDOW, spec.max_context)
    windows = cut_windows(evaluation, Tokenizer(checkpoint.tokenizer_fields), tokens, window)

    cache = None
    if cached:
        parts = evaluation.sha256, tokens, window, activations, BLOCK, _ERROR_TOKENS
        cache = ResultCache(checkpoint.path, *parts)
    bench = _Bench(checkpoint, windows, activations, progress, cache)
    found = [bench.measure(fmt, perplexity) for fmt in kinds]
    reference = bench.float_losses() if perplexity else None
    return QuantizeResult(
        model=spec.name,
        storage=_storage(checkpoint),
        weights=spec.linear_weights(),
        activations=activations,
        block=BLOCK,
        text=evaluation.facts(),
        tokens=sum(len(w.targets) for w in windows),
        windows=len(windows),
        window=window,
        error_tokens=sum(map(len, _error_rows(windows))),
        float_perplexity=None if reference is None else _perplexity(reference),
        formats=[_result(fmt, plain, reference) for fmt, plain in zip(kinds, found, strict=True)],
        float_token_losses=reference,
    )


def _formats(formats: Sequence[WeightFormat | str]) -> list[WeightFormat]:
    if isinstance(formats, str) or not formats:
        raise InputError("quantize", "formats", formats, "a list of weight formats")
    found = [f if isinstance(f, WeightFormat) else parse_format(f) for f in formats]
    names = [fmt.name for fmt in found]
    for fmt in found:
        if not fmt.quantisable:
            known = ", ".join(f.name for f in list_formats() if f.quantisable)
            raise InputError("quantize", "formats", fmt.name, f"formats with codes: {known}, ...")
        if names.count(fmt.name) > 1:
            raise InputError("quantize", "formats", ",".join(names), "every format once")
    return found


def _check_layers(checkpoint: GgufModel, fmt: WeightFormat, activations: str) -> None:
    """Refuse a format whose groups do not divide every layer, before anything is computed."""
    for shape in checkpoint.spec.linear_layers():
        try:
            fmt.groups(shape.k)
        except InputError:
            found = f"{fmt.name} for {shape.name}, K = {shape.k}"
            raise InputError("quantize", "formats", found, "groups that divide K") from None
    if activations == "fp16" and fmt.group is not None and fmt.group % BLOCK:
        allowed = f"groups of a multiple of {BLOCK} with FP16 activations"
        raise InputError("quantize", "formats", fmt.name, allowed)


def _storage(checkpoint: GgufModel) -> dict[str, float]:
    sizes: Counter[str] = Counter()
    for shape in checkpoint.spec.linear_layers():
        sizes[checkpoint.storage(shape.name)] += shape.n * shape.k
    return {name: size / sizes.total() for name, size in sizes.most_common()}


def _error_rows(windows: Sequence[Window]) -> list[NDArray[np.int64]]:
    """Positions of each window whose layer inputs are kept."""
    every = -(-sum(len(w.inputs) for w in windows) // _ERROR_TOKENS)
    return [np.arange(every // 2 % len(w.inputs), len(w.inputs), every) for w in windows]


def _perplexity(losses: NDArray[np.float64]) -> float:
    return float(np.exp(losses.mean()))


class _Bench:
    """Measures formats; the float model runs only when something is not in the cache."""

    def __init__(
        self,
        checkpoint: GgufModel,
        windows: list[Window],
        activations: str,
        progress: Progress,
        cache: ResultCache | None,
    ) -> None:
        self._checkpoint, self._windows = checkpoint, windows
        self._activations, self._progress, self._cache = activations, progress, cache
        self._inputs: dict[str, NDArray[np.float32]] = {}
        self._float: NDArray[np.float64] | None = None

    def float_losses(self) -> NDArray[np.float64]:
        """Losses of the checkpoint's own weights in float32."""
        if self._float is None:
            kept = self._kept(_FLOAT)
            if kept is None:
                self._record()
            else:
                self._float = np.array(kept)
        assert self._float is not None
        return self._float

    def measure(self, fmt: WeightFormat, perplexity: bool) -> dict[str, Any]:
        """Errors and, if asked for, token losses of a format, as plain values."""
        kept = self._kept(fmt.name)
        if kept is not None and ("losses" in kept or not perplexity):
            return kept
        if not self._inputs:
            self._record()
        shapes = self._checkpoint.spec.linear_layers()
        self._progress.stage(f"{fmt.name}: errors", len(shapes))
        quantised: dict[str, QuantisedWeights] = {}
        measured: list[tuple[LayerError, LayerSums]] = []
        for shape in shapes:
            weights = self._checkpoint.weight(shape.name)
            codes = quantise(weights, fmt)
            inputs = self._inputs[shape.name]
            arguments = shape.name, weights, codes, inputs, self._activations, BLOCK
            measured.append(measure_layer(*arguments))
            if perplexity:
                quantised[shape.name] = codes
            self._progress.advance()
        found: dict[str, Any] = {
            "layers": [asdict(layer) for layer, _ in measured],
            "sums": [asdict(sums) for _, sums in measured],
        }
        if perplexity:
            self._progress.stage(f"{fmt.name}: perplexity", len(self._windows))
            layers = QuantisedLayers(quantised, self._activations, BLOCK)
            losses = token_losses(self._checkpoint, layers, self._windows, self._progress.advance)
            found["losses"] = losses.tolist()
        self._keep(fmt.name, found)
        return found

    def _record(self) -> None:
        """Run the float model: its losses, and inputs of every layer."""
        self._progress.stage("float32 weights", len(self._windows))
        kept: dict[str, list[NDArray[np.float32]]] = {}
        rows = _error_rows(self._windows)

        def hear(name: str, values: NDArray[np.float32]) -> None:
            parts = kept.setdefault(name, [])
            parts.append(values[rows[len(parts)]])

        layers = FloatLayers(self._checkpoint, hear)
        self._float = token_losses(self._checkpoint, layers, self._windows, self._progress.advance)
        self._keep(_FLOAT, self._float.tolist())
        self._inputs = {name: np.concatenate(parts) for name, parts in kept.items()}

    def _kept(self, name: str) -> Any:
        return None if self._cache is None else self._cache.get(name)

    def _keep(self, name: str, result: Any) -> None:
        if self._cache is not None:
            self._cache.put(name, result)


def _result(
    fmt: WeightFormat, plain: dict[str, Any], reference: NDArray[np.float64] | None
) -> FormatResult:
    """The figures of a format from its layers and losses."""
    layers = [LayerError(**layer) for layer in plain["layers"]]
    total = _total(plain["sums"])
    worst_weight = max(layers, key=lambda layer: layer.weight_nmse)
    known = [layer for layer in layers if layer.output_error is not None]
    worst_output = max(known, key=_output_error, default=None)
    mean_square = float(np.mean([_output_error(layer) ** 2 for layer in known])) if known else None
    losses = increase = error = None
    if reference is not None:
        losses = np.array(plain["losses"])
        above = losses - reference
        increase = float(above.mean())
        error = float(above.std(ddof=1) / np.sqrt(len(above)))
    groups = sum(total.special)
    names = [f"{value / 2:+g}" for value in fmt.special_values]
    if fmt.family == "ant":
        names = ["int4", "flint4"]  # in the order of `mapping.float_codes.ANT_INT`, `ANT_FLINT`
    return FormatResult(
        format=fmt.name,
        bits_per_weight=total.bits / sum(layer.n * layer.k for layer in layers),
        weight_nmse=total.squared_error / total.squared if total.squared else 0.0,
        worst_weight_layer=worst_weight.name,
        output_error=None if mean_square is None else mean_square**0.5,
        worst_output_layer=None if worst_output is None else worst_output.name,
        special_values={
            name: count / groups for name, count in zip(names, total.special, strict=True)
        },
        perplexity=None if losses is None else _perplexity(losses),
        loss_increase=increase,
        loss_increase_error=error,
        layers=layers,
        token_losses=losses,
    )


def _output_error(layer: LayerError) -> float:
    assert layer.output_error is not None
    return layer.output_error


def _total(sums: list[dict[str, Any]]) -> LayerSums:
    """What adds up over layers."""
    special = [sum(counts) for counts in zip(*(item["special"] for item in sums), strict=True)]
    return LayerSums(
        sum(item["squared_error"] for item in sums),
        sum(item["squared"] for item in sums),
        sum(item["bits"] for item in sums),
        tuple(special),
    )

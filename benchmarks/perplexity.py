"""Perplexity of Gemma-3-270M by number format: docs/quantisation.md and its plot.

``python -m benchmarks.perplexity`` measures, half an hour of one processor; ``--render`` writes the
page again from the stored figures. Results of formats are cached, so that an interrupted run
resumes. ``table`` is the part of ``make bench``: what a format takes.
"""

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.perplexity_document import render
from silicast.output import write_text
from silicast.progress import Progress
from silicast.quantization import quantize
from silicast.quantize_plot import write_plot
from silicast.quantize_results import QuantizeResult

__all__ = ["DOCUMENT", "ORDERS", "RESULTS", "main", "measure", "table"]

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "perplexity.json"
DOCUMENT = ROOT / "docs" / "quantisation.md"
_PLOT = ROOT / "docs" / "quantisation-{}.svg"

_MODEL = "gemma3-270m"
_ACTIVATIONS = ("fp16", "int8")
ORDERS = (
    ("bitmod_fp4_g128", "fp4_g128"),
    ("bitmod_fp4_g128", "int4_asym_g128"),
    ("bitmod_fp3_g128", "fp3_g128"),
    ("bitmod_fp3_g128", "int3_asym_g128"),
)
"""Formats of which the first is expected to have the lower perplexity."""

_TIMED = ("int8_g128", "int4_g128", "bitmod_fp4_g128", "nvfp4")
_TIMED_TOKENS = 511


class _Stages(Progress):
    """Stages on standard error, a line each."""

    def stage(self, title: str, steps: int | None = None) -> None:
        """Print it."""
        print(f"{time.strftime('%H:%M:%S')} {title}", file=sys.stderr, flush=True)


def summarise(result: QuantizeResult) -> dict[str, Any]:
    """A result as it is stored: errors by kind of layer instead of by layer, and the orders."""
    plain = result.to_dict()
    for item, found in zip(plain["formats"], result.formats, strict=True):
        kinds: dict[str, list[float]] = defaultdict(list)
        for layer in found.layers:
            if layer.output_error is not None:
                kinds[layer.name.rsplit(".", 1)[-1]].append(layer.output_error)
        item["kinds"] = {kind: float(np.sqrt(np.mean(np.square(e)))) for kind, e in kinds.items()}
        item["layers"] = []
    losses = {found.format: found.token_losses for found in result.formats}
    orders = []
    for first, second in ORDERS:
        a, b = losses[first], losses[second]
        assert a is not None
        assert b is not None
        error = float((a - b).std(ddof=1) / np.sqrt(len(a)))
        orders.append(
            {"first": first, "second": second, "difference": float((a - b).mean()), "error": error}
        )
    return {"result": plain, "orders": orders}


def measure() -> dict[str, Any]:
    """All formats with both kinds of activations; minutes a format."""
    return {
        name: summarise(quantize(_MODEL, activations=name, progress=_Stages()))
        for name in _ACTIVATIONS
    }


def as_result(stored: dict[str, Any]) -> QuantizeResult:
    """A stored result, its layers left out."""
    plain = dict(stored["result"])
    plain["formats"] = [
        {key: value for key, value in item.items() if key != "kinds"} for item in plain["formats"]
    ]
    return QuantizeResult.from_dict(plain)


def write(found: dict[str, Any]) -> None:
    """Write the page and its plots."""
    for name in _ACTIVATIONS:
        write_plot(str(_PLOT).format(name), as_result(found[name]))
    write_text(str(DOCUMENT), render(found), "--output")


def table() -> str:
    """Seconds that one format takes, nothing cached."""
    rows = []
    for name in _TIMED:
        row: list[object] = [name]
        for activations in _ACTIVATIONS:
            for perplexity in (False, True):
                begin = time.perf_counter()
                quantize(
                    _MODEL,
                    [name],
                    activations=activations,
                    tokens=_TIMED_TOKENS,
                    perplexity=perplexity,
                    cached=False,
                )
                row.append(f"{time.perf_counter() - begin:.1f}")
        rows.append(row)
    kinds = [f"{a.upper()}, {what}, s" for a in _ACTIVATIONS for what in ("errors", "all")]
    return (
        "## Quantising a real model\n\n"
        f"`silicast quantize {_MODEL}` with {_TIMED_TOKENS} tokens, nothing cached: errors of\n"
        "weights and outputs, and these with perplexity. The run with float weights is part of\n"
        "each figure. [quantisation.md](quantisation.md) has the results.\n\n"
        + markdown_table(["format", *kinds], rows)
    )


def main() -> None:
    """Measure, store, and write the page."""
    if sys.argv[1:] != ["--render"]:
        write_text(str(RESULTS), json.dumps(measure(), indent=1) + "\n", "--output")
    write(json.loads(RESULTS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()

"""The page docs/quantisation.md, from the stored figures."""

from typing import Any

from benchmarks.markdown import markdown_table

__all__ = ["render"]

_PUBLISHED = (
    ("FP16", 16, "5.47", "6.97"),
    ("ANT, flint4", 4, "6.09", "7.71"),
    ("OliVe", 4, "5.91", "7.34"),
    ("MX-FP4", 4, "5.82", "7.39"),
    ("INT4, zero points", 4, "5.77", "7.31"),
    ("FP4", 4, "5.77", "7.32"),
    ("BitMoD FP4", 4, "5.72", "7.26"),
    ("OliVe", 3, "9.13", "12.04"),
    ("MX-FP3", 3, "8.86", "11.99"),
    ("FP3", 3, "7.51", "10.28"),
    ("INT3, zero points", 3, "7.08", "9.29"),
    ("BitMoD FP3", 3, "6.55", "8.36"),
)
"""Llama-2-7B, WikiText-2 and C4: tables VI and VIII of BitMoD (HPCA'25, arXiv 2411.11745)."""

_INTRODUCTION = """# What quantising costs: errors and perplexity of a real model

Written by `python -m benchmarks.perplexity`, which measures, and `--render`, which only writes this
page from `benchmarks/results/perplexity.json`. The same for any model with weights:

    silicast quantize gemma3-270m --formats int4_asym_g128,fp4_g128,bitmod_fp4_g128 --plot plot.svg

Beside other work on the same processors, `OPENBLAS_NUM_THREADS=1` is several times faster: threads
of one product otherwise wait for each other.

## How the figures are made

- **Weights**: all {weights:,} of the linear layers of {model}, `lm_head` included, in one format.
  No calibration, no search over scales, no layer left out: every weight is rounded on its own by
  the rules of `mapping/quantise.py`. The checkpoint is a quantised one itself, it stores {storage};
  its values are what is called *float weights* here, so these figures say what a format adds.
- **Stored bits a weight**: codes, group scales, zero points, special-value numbers, and a float32
  scale for each output feature.
- **Weight error**: `sum (w - q)^2 / sum w^2` over all layers.
- **Output error**: every layer's outputs by the arithmetic contract against `x @ W.T` in float32,
  on {error_tokens} real activations: inputs of the layer in the float model, at tokens spread
  evenly over the text. Relative for each token, then root mean square over tokens and over layers;
  so a few tokens with huge activations do not outweigh the others.
- **Perplexity**: of the next token over {tokens:,} tokens, in windows of {window} positions that
  each begin with the begin-of-sequence token; the model reads the true text. Every linear layer
  gives the integers of the golden model and so of the hardware, bit for bit
  (`mapping/folded_sums.py`; `tests/test_quantize_sums.py` compares with the interpreted programs of
  compiled products). Embedding, norms, attention and activation functions are float32 on the
  host. FP16 activations are aligned in blocks of {block}, the lanes of a BitMoD element; INT8
  activations have one scale a token.
- **Loss increase**: mean over tokens of the loss above that of the float weights, with the standard
  error as if tokens were independent.
- **Text**: {title}. {source}. Licence: {licence}. {size_bytes:,} bytes; the first {tokens:,} tokens
  of the model's vocabulary are used. Nothing was fitted to it.

Formats with zero points are run by no unit with FP16 activations; their arithmetic is computed for
comparison. `ant4_g128` chooses int4 or flint4 for each group and is run by no unit.
"""

_BITMOD = """## What BitMoD publishes

Llama-2-7B, groups of 128 (MX: 32), weights only, FP16 activations; tables VI and VIII of Chen et
al., "BitMoD", HPCA'25 (arXiv 2411.11745). Another model and other texts: only the order can be
compared. The publication's quantisers keep FP16 scales of groups; here scales are eight bits of the
output feature's scale, the precision it finds lossless (table V).

{table}
BitMoD's repository is under the MIT licence, and its README states that a patent application of
Cornell University covers the work; who makes hardware of it should know.
"""


def render(found: dict[str, Any]) -> str:
    """The whole page.

    Parameters
    ----------
    found : dict
        What `benchmarks.perplexity.measure` gave.
    """
    result = found["fp16"]["result"]
    storage = ", ".join(f"{share:.1%} as {name}" for name, share in result["storage"].items())
    facts = {key: result[key] for key in ("weights", "model", "error_tokens", "tokens", "window")}
    facts |= {key: result["text"][key] for key in ("title", "source", "licence", "size_bytes")}
    parts = [_INTRODUCTION.format(**facts, block=result["block"], storage=storage)]
    parts += [_section(name, found[name]["result"]) for name in found]
    parts += [_orders(found), _kinds(result), _special(result)]
    columns = ("weights", "bits", "WikiText-2", "C4")
    parts.append(_BITMOD.format(table=markdown_table(columns, _PUBLISHED)))
    return "\n".join(parts)


def _section(activations: str, result: dict[str, Any]) -> str:
    rows = [
        (
            f"`{item['format']}`",
            f"{item['bits_per_weight']:.3f}",
            f"{item['weight_nmse']:.2e}",
            item["worst_weight_layer"],
            f"{item['output_error']:.4f}",
            item["worst_output_layer"],
            f"{item['perplexity']:.3f}",
            f"{item['loss_increase']:+.4f} ± {item['loss_increase_error']:.4f}",
        )
        for item in result["formats"]
    ]
    columns = (
        "format",
        "bits a weight",
        "weight error",
        "worst layer",
        "output error",
        "worst layer",
        "perplexity",
        "loss increase, nats",
    )
    name = activations.upper()
    return (
        f"## {name} activations\n\n"
        f"Float weights and float activations: perplexity {result['float_perplexity']:.3f}.\n\n"
        + markdown_table(columns, rows, (0, 3, 5))
        + f"\n![Error and perplexity against stored bits](quantisation-{activations}.svg)\n"
    )


def _orders(found: dict[str, Any]) -> str:
    rows = []
    for activations, part in found.items():
        formats = {item["format"]: item for item in part["result"]["formats"]}
        for order in part["orders"]:
            a, b = formats[order["first"]], formats[order["second"]]
            rows.append(
                (
                    activations.upper(),
                    f"`{a['format']}` below `{b['format']}`",
                    f"{a['perplexity']:.3f}",
                    f"{b['perplexity']:.3f}",
                    f"{order['difference']:+.4f} ± {order['error']:.4f}",
                    f"{a['weight_nmse'] / b['weight_nmse']:.3f}",
                    f"{a['output_error'] / b['output_error']:.3f}",
                    "yes" if order["difference"] <= 0 else "**no**",
                )
            )
    columns = (
        "activations",
        "expected",
        "perplexity",
        "of the other",
        "difference of the loss, nats",
        "ratio of weight error",
        "ratio of output error",
        "holds",
    )
    orders = [order for part in found.values() for order in part["orders"]]
    held = sum(order["difference"] <= 0 for order in orders)
    closest = min(-order["difference"] / order["error"] for order in orders)
    return (
        "## The order of the formats\n\n"
        "Differences are those of the same tokens, paired, with their standard error.\n\n"
        + markdown_table(columns, rows, (0, 1, 7))
        + f"\n{held} of {len(orders)} hold; the closest one by {closest:.1f} standard errors.\n"
    )


def _kinds(result: dict[str, Any]) -> str:
    kinds = list(result["formats"][0]["kinds"])
    rows = [
        (f"`{item['format']}`", *(f"{item['kinds'][kind]:.4f}" for kind in kinds))
        for item in result["formats"]
    ]
    return (
        "## Where the error is\n\n"
        f"Output error by kind of layer, {result['activations'].upper()} activations, root mean\n"
        "square over the layers of a kind.\n\n" + markdown_table(("format", *kinds), rows)
    )


def _special(result: dict[str, Any]) -> str:
    rows = [
        (
            f"`{item['format']}`",
            ", ".join(f"{name} {share:.1%}" for name, share in item["special_values"].items()),
        )
        for item in result["formats"]
        if item["special_values"]
    ]
    return (
        "## Which special values are chosen\n\n"
        "Share of the groups of all layers; of ANT, the type.\n\n"
        + markdown_table(("format", "groups"), rows, (0, 1))
    )

"""Number formats of a model as a table for people."""

from rich.text import Text

from silicast.quantize_results import FormatResult, QuantizeResult
from silicast.tables import make_table, part, show, standard_output

__all__ = ["print_quantization", "special_values"]


def special_values(result: FormatResult) -> str:
    """Shares of the special values, e.g. ``+5 29%, -5 22%``; empty without any."""
    return ", ".join(f"{name} {share:.0%}" for name, share in result.special_values.items())


def _figure(value: float | None, text: str) -> str:
    return "-" if value is None else format(value, text)


def print_quantization(result: QuantizeResult) -> None:
    """A line on what was measured, and a row a format."""
    console = standard_output()
    text = result.text
    storage = ", ".join(f"{part(share)} {name}" for name, share in result.storage.items())
    lines = [
        f"text         {text['title']}; {text['source']}; {text['licence']}",
        f"             {text['size_bytes']:,} bytes, of which {result.tokens:,} tokens are "
        + ("predicted" if result.float_perplexity is not None else "read")
        + f", in windows of {result.window}",
        f"weights      {result.weights:,} of all linear layers; the checkpoint stores {storage}",
        f"activations  {result.activations.upper()}"
        + (f", aligned in blocks of {result.block}" if result.activations == "fp16" else ""),
    ]
    if result.float_perplexity is not None:
        lines.append(f"perplexity   {result.float_perplexity:.3f} with these weights in float32")
    for line in lines:
        console.print(Text(line))
    columns = [
        "format",
        "special values",
        "bits a weight",
        "weight NMSE",
        "worst layer",
        "output error",
        "worst output",
    ]
    measured = result.float_perplexity is not None
    columns += ["perplexity", "loss increase, nats"] * measured
    if not any(item.special_values for item in result.formats):
        columns.remove("special values")
    table = make_table(f"{result.model} by number format", columns)
    for item in result.formats:
        cells = {
            "format": item.format,
            "special values": special_values(item),
            "bits a weight": f"{item.bits_per_weight:.3f}",
            "weight NMSE": f"{item.weight_nmse:.3e}",
            "worst layer": item.worst_weight_layer,
            "output error": _figure(item.output_error, ".4f"),
            "worst output": item.worst_output_layer or "-",
            "perplexity": _figure(item.perplexity, ".3f"),
            "loss increase, nats": (
                f"{_figure(item.loss_increase, '+.4f')} ± "
                f"{_figure(item.loss_increase_error, '.4f')}"
            ),
        }
        table.add_row(*(cells[column] for column in columns))
    left_out = show(console, table, spare=("worst layer", "worst output", "special values"))
    if left_out:
        console.print(Text(f"left out here: {', '.join(left_out)}; --json has them"))

"""The demonstration, measured: Gemma-3-270M with every linear layer on the RTL."""

from benchmarks.markdown import markdown_table
from silicast.execution import run

__all__ = ["table"]

_PROMPT, _TOKENS = "The capital of France is", 6


def table() -> str:
    """Seconds a token, RTL speed and mismatches, for INT8 and INT4 weights."""
    rows = []
    for weights in ("int8", "int4_g128"):
        result = run("gemma3-270m", "dense-int8", _PROMPT, _TOKENS, weights)
        assert result.cycles_rtl is not None
        assert result.rtl_cycles_per_second is not None
        seconds = result.cycles_rtl / result.rtl_cycles_per_second
        row = [weights, result.text.strip(), f"{result.cycles_simulated:,}"]
        row += [f"{result.cycles_rtl:,}", str(result.mismatched_outputs)]
        row += [f"{result.rtl_cycles_per_second:,.0f}", f"{seconds / len(result.token_ids):.1f}"]
        rows.append(row)
    columns = ("weights", "text", "simulated", "RTL cycles", "mismatches", "cycles/s", "s/token")
    return (
        f'## Gemma-3-270M on dense-int8, "{_PROMPT}", {_TOKENS} tokens\n\n'
        "Prompt included; s/token is RTL simulation alone.\n\n"
        + markdown_table(columns, rows, (0, 1))
    )


if __name__ == "__main__":
    print(table())

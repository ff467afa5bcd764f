"""How long the timeline simulator takes for whole language models."""

import time

from benchmarks.markdown import markdown_table
from designs.files import load_design
from mapping.formats import parse_format
from mapping.models import list_models, resolve_model
from sim.model import simulate_gemm, simulate_model

__all__ = ["table"]


def table(design_name: str = "dense-int8") -> str:
    """Prefill of 256 tokens and 20 decode steps of every built-in model."""
    design = load_design(design_name)
    rows = []
    for model in list_models():
        spec = resolve_model(model).spec
        for fmt in ("int8", "int4_g128"):
            simulate_gemm.cache_clear()  # models share shapes; each is measured alone
            start = time.perf_counter()
            result = simulate_model(spec, design, parse_format(fmt), prefill=256, decode=20)
            seconds = time.perf_counter() - start
            phases = result.phases
            row = [model, fmt, f"{phases['prefill'].seconds:.3f}"]
            row += [f"{phases['decode'].tokens_per_second:.2f}", f"{seconds:.2f}"]
            rows.append(row)
    columns = ("model", "weights", "prefill, s", "decode, tokens/s", "simulation time, s")
    return (
        f"## Timeline simulation of whole models on {design_name}\n\n"
        "Linear layers only; what else a model does is not modelled yet.\n\n"
        + markdown_table(columns, rows)
    )


if __name__ == "__main__":
    print(table())

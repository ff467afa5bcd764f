"""How long the timeline simulator takes for whole language models."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.markdown import markdown_table
from designs.files import load_design
from mapping.formats import parse_format
from mapping.models import list_models, resolve_model
from sim.model import simulate_model

__all__ = ["table"]


def _measure(job: tuple[str, str, str]) -> tuple[float, float, float]:
    """Seconds of prefill, tokens/s of decode, and seconds the simulation took."""
    model, fmt, design_name = job
    design, spec = load_design(design_name), resolve_model(model).spec
    start = time.perf_counter()
    result = simulate_model(spec, design, parse_format(fmt), prefill=256, decode=20)
    seconds = time.perf_counter() - start
    phases = result.phases
    return phases["prefill"].seconds, phases["decode"].tokens_per_second or 0.0, seconds


def table(design_name: str = "dense-int8") -> str:
    """Prefill of 256 tokens and 20 decode steps of every built-in model, each in a new process."""
    jobs = [(model, fmt, design_name) for model in list_models() for fmt in ("int8", "int4_g128")]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        results = list(pool.map(_measure, jobs))
    rows = [
        (model, fmt, f"{prefill:.3f}", f"{decode:.2f}", f"{seconds:.2f}")
        for (model, fmt, _), (prefill, decode, seconds) in zip(jobs, results, strict=True)
    ]
    columns = ("model", "weights", "prefill, s", "decode, tokens/s", "simulation time, s")
    return (
        f"## Timeline simulation of whole models on {design_name}\n\n"
        "Prefill of 256 tokens and 20 decode steps, batch 1; linear layers only. Every model is "
        "simulated in a new process, imports not counted.\n\n"
        + markdown_table(columns, rows, (0, 1))
    )


if __name__ == "__main__":
    print(table())

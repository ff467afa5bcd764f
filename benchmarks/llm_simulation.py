"""How long the simulation of whole language models takes, and what it says of them."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.markdown import markdown_table
from designs.files import load_design
from mapping.formats import parse_format
from mapping.models import list_models, resolve_model
from sim.model import simulate_model

__all__ = ["table"]

_WHOLE = (256, 256, None)
_JOBS = (
    ("llama2-7b", "dense-int8", "int8", _WHOLE),
    ("llama2-7b", "dense-int8", "int4_g128", _WHOLE),
    ("llama2-7b", "bitmod-28nm", "bitmod_fp4_g128", _WHOLE),
    ("llama2-7b", "dense-int8", "int4_g128", (256, 2048, None)),
    ("llama3-70b", "dense-int8", "int4_g128", (0, 1, 8191)),
    ("llama3-70b", "dense-int8", "int4_g128", (8192, 256, None)),
    ("mixtral-8x7b", "dense-int8", "int8", _WHOLE),
    ("mixtral-8x7b", "dense-int8", "int4_g128", _WHOLE),
    ("qwen3-30b-a3b", "bitmod-28nm", "int6_g128", _WHOLE),
)

Job = tuple[str, str, str, tuple[int, int, int | None]]


def _measure(job: Job) -> tuple[float | None, float | None, float | None, float]:
    """Prefill seconds, decode tokens/s, joules a decoded token, and seconds it took."""
    model, design_name, fmt, (prefill, decode, context) = job
    design = load_design(design_name)
    start = time.perf_counter()
    spec = resolve_model(model).spec
    result = simulate_model(spec, design, parse_format(fmt), prefill, decode, context)
    seconds = time.perf_counter() - start
    prompt, tokens = result.phases["prefill"], result.phases["decode"]
    joules = None if tokens.energy_joules is None else tokens.energy_joules / tokens.tokens
    return prompt.seconds or None, tokens.tokens_per_second, joules, seconds


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def table() -> str:
    """A few large workloads, and every built-in model; each in a new process."""
    every: list[Job] = [(model, "dense-int8", "int4", (256, 20, None)) for model in list_models()]
    jobs = [*_JOBS, *every]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        results = list(pool.map(_measure, jobs))
    rows = []
    for (model, design, fmt, (prefill, decode, context)), found in zip(jobs, results, strict=True):
        prompt, rate, joules, seconds = found
        workload = f"{prefill} + {decode}" if context is None else f"1 at context {context}"
        figures = (_figure(prompt, 3), _figure(rate, 2), _figure(joules, 3), f"{seconds:.2f}")
        rows.append((model, design, fmt, workload, *figures))
    columns = ("model", "design", "weights", "tokens", "prefill, s", "decode, tokens/s")
    return (
        "## Simulation of whole models\n\n"
        "Every operator of a prefill and of the decode passes after it, batch 1, the context "
        "growing token by token; energy where the design names a process. Each in a new process, "
        "imports not counted.\n\n"
        + markdown_table((*columns, "J a token", "simulation time, s"), rows, (0, 1, 2, 3))
    )


if __name__ == "__main__":
    print(table())

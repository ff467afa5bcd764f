"""LUT Tensor Core in an A100: published times of models and layers beside the simulator's.

`lut-a100-like` is Table 1's 4X. Its other configurations and A100's own tensor cores differ in the
arrays only; they are made here of that design. Nothing is known of the paper's attention kernels,
of the efficiency of its tiles, or of what its simulator keeps in L2: no such factor is applied.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from designs.files import load_design
from designs.spec import Design
from designs.units import ArraySpec
from mapping.formats import parse_format
from mapping.model import ModelSpec
from mapping.models import resolve_model
from mapping.workload import Work, prefill_phase
from silicast.fidelity.fpga import ROOFLINE
from silicast.fidelity.gates import GatedRow, between
from silicast.fidelity.lut_inputs import Layer, Table1, inputs
from silicast.fidelity.rows import Row
from silicast.simulation import simulate
from sim.conventions import PHYSICAL, Conventions
from sim.cost.product import linear_cost

__all__ = ["DESIGN", "a100", "bare_layer", "gpu_rows", "issue_rows", "llama_3b"]

DESIGN = "lut-a100-like"
_PUBLICATION = "LUT Tensor Core (ISCA'25)"
_PROMPT, _BATCH = 2048, 1024

_UNITS = {
    "A100-LUT-4X": ((), "ternary", 8),
    "A100-LUT-8X": ((("lanes_n", 2), ("part_lanes_n", 2)), "ternary", 8),
    "A100 INT8 TC": ((), "ternary", 8),
    "A100 FP16 TC": ((), "fp16", 16),
}
"""Changed lanes, weights and bits of activations and cache of each configuration."""

_TIME = (
    "The roofline has the arrays' peak and the memory's; the paper's times hold efficiencies of "
    "tiles, attention and launches that are not published. Physical: every vector operator passes "
    "through DRAM, where a GPU fuses it or finds its operands in L2."
)
_LAYER_TIME = "As above, for one layer in FP16 without tables: the baseline of Table 4."
_ASSUMED = "the arrays' arrangement and the format of attention, as the design file says"


def _tensor_core(unit: ArraySpec, depth: int, family: str, bits: tuple[int, ...]) -> ArraySpec:
    """A100's own arrays: an SM of 8 x 16 dot products of ``depth``, whole codes a cycle.

    1024 FP16 or 2048 INT8 multiply-accumulates a cycle of an SM (NVIDIA A100 whitepaper), depths of
    8 and 16 as its instructions have them.
    """
    return replace(
        unit,
        lanes_m=unit.lanes_m // 2,
        lanes_n=unit.lanes_n // 8,
        part_lanes_m=unit.part_lanes_m // 2,
        part_lanes_n=unit.part_lanes_n // 8,
        lanes_k=depth,
        bit_serial=False,
        families=(family,) if family == "fp" else unit.families,
        weight_bits=bits,
    )


@cache
def a100(config: str) -> Design:
    """A configuration of Table 1 on an A100, by its name there."""
    design = load_design(DESIGN)
    unit = design.unit
    assert isinstance(unit, ArraySpec)
    changes, weights, bits = _UNITS[config]
    if config == "A100 FP16 TC":
        unit = _tensor_core(unit, 8, "fp", (16,))
    elif config == "A100 INT8 TC":
        unit = _tensor_core(unit, 16, "int", unit.weight_bits)
    else:
        unit = replace(unit, **{name: times * getattr(unit, name) for name, times in changes})
    formats = replace(design.formats, activation_bits=bits, kv_cache_bits=bits, weights=weights)
    name = DESIGN if config == "A100-LUT-4X" else config.lower().replace(" ", "-")
    return replace(design, name=name, unit=unit, formats=formats)


@cache
def llama_3b() -> ModelSpec:
    """LLaMA-3B of Table 1: BitNet's structure without its norms before o and down."""
    spec = resolve_model("bitnet-3b").spec
    return replace(spec, name="llama-3b", family="llama", sub_norms=False)


@cache
def bare_layer(model: str) -> ModelSpec:
    """One layer of a model of Table 4.

    OPT-175B: Zhang et al., arXiv 2205.01068, table 1. BLOOM-176B: arXiv 2211.05100, table 3; its
    layer has the products of OPT's.
    """
    if model == "LLAMA2-70B":
        return replace(resolve_model("llama2-70b").spec, layers=1)
    hidden, heads = {"OPT-175B": (12288, 96), "BLOOM-176B": (14336, 112)}[model]
    return replace(
        resolve_model("opt-6.7b").spec,
        name=model.lower(),
        layers=1,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=128,
        ffn=4 * hidden,
        learned_positions=0,
        max_context=4096,
    )


def _milliseconds(line: Table1, prompt: bool, rules: Conventions) -> float:
    spec = llama_3b() if line.model.startswith("LLAMA") else resolve_model("bitnet-3b").spec
    tokens, batch = (_PROMPT, 1) if prompt else (1, _BATCH)
    result = simulate(spec, a100(line.name), tokens, batch=batch, conventions=rules)
    return 1e3 * result.phases["prefill"].seconds


def _layer_milliseconds(line: Layer, rules: Conventions) -> float:
    design = a100("A100 FP16 TC")
    spec = bare_layer(line.model)
    result = simulate(spec, design, line.tokens, batch=line.batch, conventions=rules)
    cycles = sum(o.total_cycles for o in result.operators if o.name.startswith("layers."))
    return 1e3 * cycles / design.clock.frequency_hz


def _time_row(
    place: str,
    workload: str,
    config: str,
    published: float,
    ours: tuple[float, float],
    reason: str,
) -> Row:
    design = a100(config)
    return Row(
        section="lut-gpu",
        publication=_PUBLICATION,
        place=place,
        workload=workload,
        design=design.name,
        weights=design.formats.weights,
        quantity="time",
        unit="ms",
        low=published,
        high=published,
        counted=ours[0],
        conventions=ROOFLINE.name,
        physical=ours[1],
        grade="B",
        reason=reason,
        assumption=_ASSUMED,
    )


def gpu_rows() -> list[Row]:
    """L15 and L16: Table 1's times on an A100, and Table 4's layers."""
    rows = []
    for line in inputs().table1:
        if line.name not in _UNITS:
            continue
        for prompt, published in ((True, line.prefill_ms), (False, line.decode_ms)):
            ours = tuple(_milliseconds(line, prompt, rules) for rules in (ROOFLINE, PHYSICAL))
            task = f"prompt of {_PROMPT}" if prompt else f"one token of {_BATCH} sequences"
            place = f"L15, Table 1, {line.name}"
            rows.append(
                _time_row(place, f"{line.model}; {task}", line.name, published, ours, _TIME)  # type: ignore[arg-type]
            )
    for layer in inputs().table4:
        ours = tuple(_layer_milliseconds(layer, rules) for rules in (ROOFLINE, PHYSICAL))
        task = f"batch {layer.batch}, {layer.tokens} tokens each"
        rows.append(
            _time_row(
                "L16, Table 4, baseline",
                f"{layer.model}, one layer; {task}",
                "A100 FP16 TC",
                layer.baseline,
                ours,  # type: ignore[arg-type]
                _LAYER_TIME,
            )
        )
    return rows


def _log_design() -> Design:
    """The array of the artifact's log: 4X for one plane, half as many arrays as for two."""
    design = load_design(DESIGN)
    unit = design.unit
    assert isinstance(unit, ArraySpec)
    half = {name: getattr(unit, name) // 2 for name in ("lanes_m", "part_lanes_m")}
    return replace(design, unit=replace(unit, **half))


def issue_rows() -> list[GatedRow]:
    """L17: cycles of the artifact's one product, if the arrays were never idle for lack of data."""
    paper = inputs().lut_tensor_core
    m, n, k = paper.log_shape
    work = Work("product", "up", "matrix", 1, m, n, k, macs=np.array([m * n * k]))
    cost = linear_cost(_log_design(), ROOFLINE, prefill_phase(m, 1), work, parse_format("int1"))
    ours, low = int(cost.compute_cycles[0]), 0.8
    return [
        GatedRow(
            "L17",
            "LUT Tensor Core",
            f"cycles of M{m} N{n} K{k}, W1 A8, on 4X: Accel-Sim log, ours the issue bound",
            "cycles",
            paper.log_cycles,
            paper.log_cycles,
            ours,
            replace(
                between(low * paper.log_cycles, paper.log_cycles),
                text=f"{low:g} to 1 times the log's",
            ),
            "B",
            "simulation",
            "The traces are not public; what the log has above the bound are stalls of Accel-Sim's "
            "memory and instruction issue.",
        )
    ]

"""A simulation result made by hand, for tests of what is drawn from one.

Linear layers are those of the real timeline, so that traces find their programs again; vector and
attention operators, energy and area are plausible figures that stand for nothing.
"""

from math import ceil
from typing import Any

from designs.spec import Design
from mapping.formats import WeightFormat
from mapping.program import compile_gemm
from mapping.tiling import GemmShape
from sim.attribution import REASONS, attribute_cycles
from sim.results import ModelResult, OperatorResult, PhaseResult, Roof
from sim.timeline import simulate_program

__all__ = ["made_result"]

_REASONS = tuple(REASONS)
_JOULES_PER_MAC, _JOULES_PER_BYTE = 0.6e-12, 30e-12


def _operator(name: str, phase: str, layers: int, passes: int, **fields: Any) -> OperatorResult:
    """An operator whose executions are equal, or differ by ``growth`` cycles a pass."""
    count = layers * passes
    growth = fields.pop("growth", 0)
    extra = growth * layers * passes * (passes - 1) // 2
    first, size, written = fields.pop("cycles"), fields.pop("size"), fields.pop("written")
    reasons = fields.pop("reasons")
    cycles = first * count + extra
    moved = size * count + extra
    total_reasons = {reason: part * count for reason, part in reasons.items()}
    total_reasons["compute"] += extra
    macs = fields["m"] * fields["n"] * fields["k"] * fields["products"] * count
    energy = None
    if fields.pop("with_energy"):
        energy = {
            "matrix unit": _JOULES_PER_MAC * macs,
            "DRAM": _JOULES_PER_BYTE * moved,
            "on-chip buffers": 0.4 * _JOULES_PER_BYTE * moved,
        }
    return OperatorResult(
        name=name,
        phase=phase,
        kind=name.split(".")[-1],
        layers=layers,
        count=count,
        cycles=cycles / count,
        dram_bytes=moved / count,
        total_cycles=cycles,
        total_dram_bytes=moved,
        reasons={reason: part / count for reason, part in total_reasons.items()},
        total_reasons=total_reasons,
        macs=macs if fields["engine"] == "matrix" else 0,
        compulsory_bytes=moved * 9 // 10,
        read_bytes=moved - written * count,
        write_bytes=written * count,
        energy=energy,
        energy_joules=None if energy is None else sum(energy.values()),
        context=(16, 16 + passes) if growth else None,
        **fields,
    )


def _linear(
    design: Design, fmt: WeightFormat, name: str, shape: GemmShape, phase: str, times: tuple
) -> OperatorResult:
    layers, passes, products, with_energy = times
    timeline = simulate_program(design, compile_gemm(design, shape, fmt))
    line = design.line_bytes
    lines = timeline.read_lines + timeline.write_lines
    reasons = attribute_cycles(timeline)
    memory = ceil(lines * design.dram_beat_cycles)
    compute = timeline.compute_cycles
    macs = shape.m * shape.n * shape.k
    return _operator(
        name,
        phase,
        layers,
        passes,
        engine="matrix",
        m=shape.m,
        n=shape.n,
        k=shape.k,
        products=products,
        cycles=timeline.cycles * products,
        size=lines * line * products,
        written=timeline.write_lines * line * products,
        compute_cycles=compute * products,
        memory_cycles=memory * products,
        bound="compute" if compute >= memory else "memory",
        lane_occupancy=macs * design.unit.beats(fmt.bits) / (compute * design.unit.macs),
        reasons={reason: part * products for reason, part in reasons.items()},
        simulated_only=False,
        with_energy=with_energy,
    )


def _simulated(
    name: str, phase: str, layers: int, passes: int, engine: str, sizes: tuple, with_energy: bool
) -> OperatorResult:
    m, n, k, products, cycles, size, written, growth = sizes
    stall = cycles // 5
    reasons = dict.fromkeys(_REASONS, 0) | {"compute": cycles - stall, "store": stall}
    return _operator(
        name,
        phase,
        layers,
        passes,
        engine=engine,
        m=m,
        n=n,
        k=k,
        products=products,
        cycles=cycles,
        size=size,
        written=written,
        compute_cycles=cycles - stall,
        memory_cycles=cycles // 2,
        bound="compute",
        lane_occupancy=0.25 if engine == "matrix" else None,
        reasons=reasons,
        simulated_only=True,
        growth=growth,
        with_energy=with_energy,
    )


def made_result(
    design: Design,
    fmt: WeightFormat,
    hidden: int = 256,
    ffn: int = 512,
    vocab: int = 512,
    layers: int = 4,
    prefill: int = 8,
    decode: int = 5,
    products: int = 2,
    with_energy: bool = True,
    **fields: Any,
) -> ModelResult:
    """A decoder of ``layers`` equal layers; ``products`` is the number of experts of ``gate``."""
    operators: list[OperatorResult] = []
    for phase, rows, passes in (("prefill", prefill, min(1, prefill)), ("decode", 1, decode)):
        if not passes:
            continue

        def linear(name: str, n: int, k: int, times: int = layers, products: int = 1) -> None:
            tokens = 1 if name == "lm_head" else rows  # noqa: B023 - called in this pass only
            shape = GemmShape(tokens, n, k)
            counts = (times, passes, products, with_energy)  # noqa: B023
            operators.append(_linear(design, fmt, name, shape, phase, counts))  # noqa: B023

        def simulated(name: str, engine: str, *sizes: int, times: int = layers) -> None:
            made = _simulated(name, phase, times, passes, engine, sizes, with_energy)  # noqa: B023
            operators.append(made)

        growth = 3 if phase == "decode" else 0
        simulated("embedding", "memory", rows, hidden, 1, 1, 40, rows * hidden, 0, 0, times=1)
        simulated("layers.*.attention_norm", "vector", rows, hidden, 1, 1, rows * 97, 0, 0, 0)
        for name in "qkv":
            linear(f"layers.*.{name}", hidden, hidden)
        sizes = (rows, 64, hidden, 4, rows * 801, rows * hidden + 1, 65, growth)
        simulated("layers.*.attention_scores", "matrix", *sizes)
        simulated("layers.*.softmax", "vector", rows, 64, 1, 1, rows * 55, 0, 0, growth)
        linear("layers.*.o", hidden, hidden)
        linear("layers.*.gate", ffn, hidden, products=products)
        linear("layers.*.up", ffn, hidden)
        linear("layers.*.down", hidden, ffn)
        linear("lm_head", vocab, hidden, times=1)
    phases = {
        name: _phase(design, [o for o in operators if o.phase == name], tokens, passes)
        for name, tokens, passes in (
            ("prefill", prefill, min(1, prefill)),
            ("decode", decode, decode),
        )
    }
    dram = design.dram
    peak = float(dram.channels * dram.bandwidth_bytes_per_second)
    what: dict[str, Any] = {
        "model": "made-model",
        "design": design.name,
        "weights": fmt.name,
        "activations": "int8",
        "kv_cache_bits": 8,
        "conventions": None,
        "batch": 1,
        "prefill": prefill,
        "decode": decode,
        "context": None,
        "phases": phases,
        "operators": tuple(operators),
        "weight_bytes": 3_600_000_000,
        "kv_cache_bytes": 268_435_456,
        "memory_bytes": dram.capacity_bytes,
        "fits_memory": True,
        "area_mm2": {"matrix unit": 0.84, "on-chip buffers": 1.91, "vector engine": None}
        if with_energy
        else None,
        "resources": None,
        "roof": Roof(
            design.unit.macs * float(design.clock.frequency_hz) / design.unit.beats(fmt.bits),
            peak,
            0.91 * peak,
        ),
        "not_modelled": {"sampling": "the next token is chosen on the host"},
        "provenance": (
            {
                "name": "dram.read_pj_per_bit",
                "value": 18.75,
                "unit": "pJ/bit",
                "source": "a source <of this test> & its table",
                "scaled": "",
            },
            {
                "name": "matrix unit.energy",
                "value": 0.6,
                "unit": "pJ/MAC",
                "source": "another source, table 2",
                "scaled": "from 45 nm by table 3",
            },
        ),
        "warnings": (),
    }
    return ModelResult(**(what | fields))


def _phase(
    design: Design, operators: list[OperatorResult], tokens: int, passes: int
) -> PhaseResult:
    cycles = sum(o.total_cycles for o in operators)
    seconds = cycles / design.clock.frequency_hz
    parts = {part for o in operators for part in o.energy or ()}
    energy = None
    if operators and operators[0].energy is not None:
        energy = {
            **{part: sum(o.energy[part] for o in operators) for part in sorted(parts)},
            "leakage": None,
        }
    macs = sum(o.macs for o in operators)
    return PhaseResult(
        tokens=tokens,
        passes=passes,
        cycles=cycles,
        seconds=seconds,
        tokens_per_second=tokens / seconds if cycles else None,
        dram_bytes=sum(o.total_dram_bytes for o in operators),
        energy_joules=None if energy is None else sum(v for v in energy.values() if v is not None),
        utilization=macs / (cycles * design.unit.macs) if cycles else None,
        reasons={r: sum(o.total_reasons[r] for o in operators) for r in _REASONS},
        energy=energy,
        traffic={
            "dram_read": sum(o.read_bytes for o in operators),
            "dram_write": sum(o.write_bytes for o in operators),
            "weight_read": 4 * sum(o.read_bytes for o in operators),
            "weight_write": sum(o.read_bytes for o in operators),
        },
        simulated_only_cycles=sum(o.total_cycles for o in operators if o.simulated_only),
    )

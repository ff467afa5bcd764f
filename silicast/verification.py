"""One random matrix product on every executor: integers, golden model, timeline and RTL."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.files import named_after_file
from designs.spec import Design
from mapping.contract import contract_sums
from mapping.formats import WeightFormat
from mapping.half_precision import half_scale
from mapping.program import check, compile_gemm
from mapping.quantise import QuantisedWeights, exact_sums
from mapping.tiling import GemmShape
from silicast.errors import hardware_failures, program_failures
from silicast.memory import (
    clear_outputs,
    memory_for,
    read_sums,
    write_activations,
    write_instructions,
    write_weights,
)
from silicast.progress import Progress
from silicast.simulation import as_format, as_rtl_design, with_activations
from sim.golden import run_program
from sim.model import simulate_gemm

__all__ = ["VerifyResult", "cycle_limit", "random_activations", "random_weights", "verify"]

MOST_ELEMENTS = 1 << 28
"""Most elements of each of the three matrices."""

_CORNERS = 0.05  # part of the random values that are replaced by the ends of their range


def cycle_limit(cycles_rtl: int) -> int:
    """Largest difference allowed between simulated and real cycles: 1 %, or 2 cycles."""
    return max(cycles_rtl // 100, 2)


@dataclass(frozen=True)
class VerifyResult:
    """A product on the RTL, compared with the golden model and the timeline.

    Attributes
    ----------
    design, gemm, weights, activations : str
        What was run; ``gemm`` is ``MxNxK``.
    seed : int
        Of the random values.
    backend : str
        ``rtl``.
    outputs, mismatched_outputs : int
        Sums compared, and those in which RTL and golden model differ.
    golden_mismatches : int
        Sums in which the golden model and the arithmetic contract, computed directly, differ.
    relative_error : float
        Of each token, (hardware's results - exact real results) over the exact ones, both root mean
        squares over the features; root mean square over the tokens. 0 with INT8 activations, else
        what aligning FP16 values or quantising tables costs.
    cycles_simulated, cycles_rtl : int
        Of the timeline and of the hardware's own counter.
    cycle_limit : int
        Largest difference allowed.
    cycles_ok : bool
        The difference is within it.
    reasons : mapping of str to int
        Simulated cycles by reason.
    passed : bool
        No mismatch, and the cycles agree.
    """

    design: str
    gemm: str
    weights: str
    activations: str
    seed: int
    backend: str
    outputs: int
    mismatched_outputs: int
    golden_mismatches: int
    relative_error: float
    cycles_simulated: int
    cycles_rtl: int
    cycle_limit: int
    cycles_ok: bool
    reasons: Mapping[str, int]
    passed: bool

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


def _sprinkle(generator: np.random.Generator, values: NDArray, low: int, high: int) -> None:
    """Replace some values by the ends of their range, and whole rows when there are enough."""
    where = generator.random(values.shape) < _CORNERS
    values[where] = generator.choice([low, high], int(where.sum()))
    if len(values) >= 4:  # sums of the largest magnitude occur
        values[0], values[1] = low, high


def random_weights(
    generator: np.random.Generator, n: int, k: int, fmt: WeightFormat
) -> QuantisedWeights:
    """Codes over all values the format can store, with scales, zero points and special values."""
    shape = n, k * fmt.planes
    values = np.array(fmt.code_values, np.int8)
    low, high = int(values[0]), int(values[-1])
    codes = values[generator.integers(0, len(values), shape, np.int16)]
    _sprinkle(generator, codes, low, high)
    groups = fmt.groups(k) * fmt.planes
    scales = zeros = special = None
    if fmt.special_values:
        special = generator.integers(0, len(fmt.special_values), (n, groups)).astype(np.uint8)
        own = np.array(fmt.special_values, np.int8)[special]
        chosen = generator.integers(0, len(values) + 1, shape) == 0
        codes = np.where(chosen, np.repeat(own, k // groups, axis=1), codes)
    if fmt.scaled:
        scales = generator.integers(1, 256, (n, groups), np.uint8, endpoint=False)
        _sprinkle(generator, scales, 1, 255)
    if fmt.asymmetric:
        zeros = generator.integers(low, high + 1, (n, groups)).astype(np.int8)
    return QuantisedWeights(fmt, codes, scales, zeros, np.ones(n, np.float32), special)


def random_activations(
    generator: np.random.Generator, m: int, k: int, activations: str = "int8"
) -> NDArray:
    """INT8 codes or FP16 values (m, k) over the whole range.

    FP16: every token has a spread of exponents of its own, from a few to all of them, subnormal
    values and zeros included.
    """
    if activations == "fp16":
        spread = generator.integers(0, 31, (m, 1))
        exponent = np.clip(
            generator.integers(0, 31, (m, 1)) - generator.integers(0, 1 + spread, (m, k)), 0, 30
        )
        fraction = generator.integers(0, 1 << 10, (m, k))
        sign = generator.integers(0, 2, (m, k)) << 15
        values = (sign | exponent << 10 | fraction).astype(np.uint16).view(np.float16)
        values[generator.random((m, k)) < _CORNERS] = 0
        _sprinkle(generator, values, -65504, 65504)
        return values
    codes = generator.integers(-128, 128, (m, k), np.int16).astype(np.int8)
    _sprinkle(generator, codes, -128, 127)
    return codes


def _relative_error(
    sums: NDArray[np.int64], fmt: WeightFormat, codes: QuantisedWeights, activations: NDArray
) -> float:
    """Root mean square over tokens: the error of a token's results over their size.

    Each token counts by itself, so that those of large values do not hide the others.
    """
    if activations.dtype == np.int8:
        exact = exact_sums(activations, codes).astype(float)
        found = sums.astype(float)
    else:
        found = sums * half_scale(fmt)
        plain = replace(codes, channel_scale=np.ones(codes.n, np.float32))
        exact = activations.astype(float) @ plain.dequantise().astype(float).T
    size = np.mean(exact**2, axis=1)
    error = np.mean((found - exact) ** 2, axis=1)
    return float(np.sqrt(np.mean(error[size > 0] / size[size > 0]))) if size.any() else 0.0


def verify(
    design: Design | str | Path,
    m: int,
    n: int,
    k: int,
    weights: WeightFormat | str = "int8",
    seed: int = 0,
    progress: Progress | None = None,
    *,
    activations: str | None = None,
) -> VerifyResult:
    """Run a random product on the generated RTL and compare every sum and the cycles.

    Parameters
    ----------
    design : Design, str or Path
        The accelerator, its library name or its TOML file.
    m, n, k : int
        Tokens, output features and reduction elements.
    weights : WeightFormat or str
        Number format of the weights.
    seed : int
        Of the random values, at least 0.
    progress : Progress, optional
        Told what is going on.
    activations : str, optional
        ``int8`` or ``fp16``, one the unit multiplies; by default the design's own.

    Returns
    -------
    VerifyResult

    Raises
    ------
    InputError
        An argument is wrong, or the design cannot run the product.
    FailedCheck
        The program is not safe, the build failed, or the hardware did not finish.
    """
    given = design
    design, fmt, progress = as_rtl_design(design), as_format(weights), progress or Progress()
    design = with_activations(design, activations)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError("verify", "seed", seed, "an integer >= 0")
    shape = GemmShape(m, n, k)
    for field, size in (("M x K", m * k), ("N x K", n * k), ("M x N", m * n)):
        if size > MOST_ELEMENTS:
            most = f"at most 2^28 = {MOST_ELEMENTS} elements a matrix"
            raise InputError("gemm", field, size, most)
    with named_after_file(given):
        program = compile_gemm(design, shape, fmt)
    with program_failures():
        check(program)

    generator = np.random.default_rng(seed)
    codes = random_weights(generator, n, k, fmt)
    tokens = random_activations(generator, m, k, design.activations)
    memory = memory_for(program)
    write_instructions(memory, program)
    write_weights(memory, program, codes)
    write_activations(memory, program, tokens)
    hardware_memory = memory.copy()

    with program_failures():
        run_program(design, program.binary, memory)
    golden = read_sums(memory, program)
    table_bits = getattr(design.unit, "table_bits", 0)
    contract = contract_sums(tokens, codes, design.unit.lanes_k, table_bits)
    cost = simulate_gemm(design, shape, fmt, whole=True)

    clear_outputs(hardware_memory, program)
    with hardware_failures():
        from hwgen.verilated.runner import VerilatedAccelerator

        progress.stage(f"building {design.name} with Verilator, about 40 s, cached")
        with VerilatedAccelerator(design, hardware_memory) as accelerator:
            progress.stage(f"running {m}x{n}x{k} on {design.name}")
            limit = 2 * cost.cycles + 100_000
            counters = accelerator.run(program.placement.program_line, program.blocks, limit)
    sums = read_sums(hardware_memory, program)

    mismatched = int((sums != golden).sum())
    golden_mismatches = int((golden != contract).sum())
    allowed = cycle_limit(counters.cycles)
    cycles_ok = abs(cost.cycles - counters.cycles) <= allowed
    return VerifyResult(
        design=design.name,
        gemm=f"{m}x{n}x{k}",
        weights=fmt.name,
        activations=design.activations,
        seed=seed,
        backend="rtl",
        outputs=golden.size,
        mismatched_outputs=mismatched,
        golden_mismatches=golden_mismatches,
        relative_error=_relative_error(sums, fmt, codes, tokens),
        cycles_simulated=cost.cycles,
        cycles_rtl=counters.cycles,
        cycle_limit=allowed,
        cycles_ok=cycles_ok,
        reasons=cost.reasons,
        passed=cycles_ok and not mismatched and not golden_mismatches,
    )

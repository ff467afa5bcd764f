"""The conventions ``bitmod-hpca25`` against the equations of BitMoD's simulator, written again.

The functions below follow the description of the simulator at commit e445a5f (Python scripts of
abdelfattah-lab/BitMoD-HPCA-25, rows and columns of its arrays, ports, constants), not silicast's
code: they count with plain integers, one operator at a time, and know nothing of operator graphs.
They are first held against the simulator's own output, then silicast is held against them for
models, contexts and batches that the output does not have.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor

import pytest

from mapping.models import resolve_model
from silicast.fidelity import bitmod
from silicast.simulation import simulate

BUFFER_BYTES = 512 * 1024
ACTIVATION_BITS = 16
# Port width: read, write (CACTI 7, 28 nm itrs-hp, 512 KiB in 8 banks), as the simulator prints
# them; 576, 768 and 1536 bits from the same tool and settings.
SRAM_PICOJOULES = {
    144: (61.54176, 38.45888),
    192: (66.57808, 43.3184),
    256: (70.0928, 51.71784),
    288: (72.59616, 54.1192),
    384: (82.8304, 64.04792),
    512: (92.7944, 83.3536),
    576: (107.696, 89.3432),
    768: (125.648, 107.0496),
    1024: (138.4416, 156.0904),
    1536: (182.8184, 200.1048),
}


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of a model's config.json."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    gated: bool = True


SHAPES = {
    "opt-1.3b": Shape(2048, 24, 32, 32, 8192, 50272, gated=False),
    "phi-2": Shape(2560, 32, 32, 32, 10240, 51200, gated=False),
    "yi-6b": Shape(4096, 32, 32, 4, 11008, 64000),
    "llama2-7b": Shape(4096, 32, 32, 32, 11008, 32000),
    "llama2-13b": Shape(5120, 40, 40, 40, 13824, 32000),
    "llama3-8b": Shape(4096, 32, 32, 8, 14336, 128256),
}


@dataclass(frozen=True)
class Accelerator:
    """Rows and columns of both phases, lanes, energy of an element, width of the cache."""

    prefill: tuple[int, int]
    decode: tuple[int, int]
    lanes: int
    picojoules: float
    kv_bits: int
    serial: bool = False


ACCELERATORS = {
    "fp16-28nm": Accelerator((32, 24), (64, 12), 1, 0.77, 16),
    "ant-28nm": Accelerator((32, 32), (64, 16), 1, 0.56, 16),
    "olive-28nm": Accelerator((36, 32), (72, 16), 1, 0.613, 16),
    "bitmod-28nm": Accelerator((32, 32), (64, 16), 4, 0.56, 8, serial=True),
}
BITS = {
    "fp16": 16,
    "ant5": 5,
    "ant4": 4,
    "olive4": 4,
    "olive4.5": 4.5,
    "int8_g128": 8.0625,
    "int6_g128": 6.0625,
    "int5_g128": 5.0625,
    "bitmod_fp4_g128": 4.0625,
    "bitmod_fp3_g128": 3.0625,
}
"""Bits a weight, with 8 bits of scale a group of 128 where there are groups."""


@dataclass(frozen=True)
class Layer:
    """One layer: N x K in the place of the weights, M x K of inputs, and copies of both."""

    n: int
    k: int
    m: int
    weight_copies: int
    input_copies: int
    bits: float


def layers_of(shape, bits, kv_bits, prefill, context, batch):
    """Every layer of a pass, and how often it occurs."""
    rows, copies = (context, batch) if prefill else (batch, 1)
    head = shape.hidden // shape.heads
    narrow = head * shape.kv_heads
    sizes = [(shape.hidden, shape.hidden)] * 2 + [(narrow, shape.hidden)] * 2
    sizes += [(shape.ffn, shape.hidden)] * (1 + shape.gated) + [(shape.hidden, shape.ffn)]
    found = [(Layer(n, k, rows, 1, copies, bits), shape.layers) for n, k in sizes]
    found.append((Layer(shape.vocab, shape.hidden, rows, 1, copies, bits), 1))
    group = batch * shape.kv_heads
    queries = shape.heads // shape.kv_heads * (context if prefill else 1)
    found.append((Layer(context, head, queries, group, group, kv_bits), shape.layers))
    found.append((Layer(head, context, queries, group, group, kv_bits), shape.layers))
    return found


def expected(model, accelerator, weights, prefill, context, batch):
    """Cycles and joules of a pass."""
    what, bits = ACCELERATORS[accelerator], BITS[weights]
    rows, columns = what.prefill if prefill else what.decode
    half = 2 if what.serial else 1
    weight_port = what.lanes * 4 * ceil(bits / 4) * rows // half
    input_port = ACTIVATION_BITS * what.lanes * columns // half
    weight_read, weight_write = SRAM_PICOJOULES[weight_port]
    input_read, input_write = SRAM_PICOJOULES[input_port]
    cycles, picojoules = 0, 0.0
    for layer, count in layers_of(SHAPES[model], bits, what.kv_bits, prefill, context, batch):
        n, k, m, bits_here = layer.n, layer.k, layer.m, layer.bits
        tiles = ceil(k / what.lanes) * ceil(n / rows) * ceil(m / columns) * layer.input_copies
        compute = tiles * (ceil(floor(bits_here) / 2) if what.serial else 1)
        weight_bytes = ceil(k * bits_here / 8) * n * layer.weight_copies
        input_bytes = ceil(k * ACTIVATION_BITS / 8) * m * layer.input_copies
        output_bytes = ceil(n * ACTIVATION_BITS / 8) * m * layer.input_copies
        weight_times = input_times = 1
        if weight_bytes > BUFFER_BYTES and input_bytes > BUFFER_BYTES:
            by_weight = ceil(input_bytes / BUFFER_BYTES)
            by_input = ceil(weight_bytes / BUFFER_BYTES)
            if by_weight * weight_bytes + input_bytes < by_input * input_bytes + weight_bytes:
                weight_times = by_weight
            else:
                input_times = by_input
        moved = weight_times * weight_bytes + input_times * input_bytes + output_bytes
        cycles += count * max(compute, floor(8 * moved / 256))
        weight_words = ceil(k * bits_here / 64) * n * layer.weight_copies * weight_times
        input_words = ceil(k * ACTIVATION_BITS / 64) * m * layer.input_copies * input_times
        output_words = ceil(n * ACTIVATION_BITS / 64) * m * layer.input_copies
        energy = what.picojoules * 1.5 * rows * columns * compute
        energy += tiles * (weight_read + input_read)
        energy += weight_words * 64 / weight_port * weight_write
        energy += (input_words + output_words) * 64 / input_port * input_write
        energy += 1200 / 64 * 8 * moved
        picojoules += count * energy
    return cycles, picojoules * 1e-12


def ours(model, accelerator, weights, prefill, context, batch):
    """Cycles and joules of the same pass, by silicast."""
    lengths = {"prefill": context} if prefill else {"decode": 1, "context": context}
    result = simulate(
        model, accelerator, **lengths, batch=batch, weights=weights, conventions="bitmod-hpca25"
    )
    phase = result.phases["prefill" if prefill else "decode"]
    return phase.cycles, phase.energy_joules


@pytest.mark.parametrize("row", bitmod.simulator_rows(), ids=lambda row: row.label)
def test_the_published_rows(row):
    """30 rows of the simulator's output; the file has energies to a thousandth of a microjoule."""
    case = row.model, row.design, row.weights, row.prefill, 256, 1
    written_again, silicast = expected(*case), ours(*case)
    assert written_again[0] == silicast[0] == row.cycles
    assert written_again[1] == pytest.approx(row.joules, rel=1e-8, abs=0)
    assert silicast[1] == pytest.approx(row.joules, rel=1e-8, abs=0)


FORMATS = {
    "fp16-28nm": ("fp16", "fp16"),
    "ant-28nm": ("ant5", "ant4"),
    "olive-28nm": ("olive4", "olive4"),
    "bitmod-28nm": ("bitmod_fp4_g128", "bitmod_fp3_g128"),
}


@pytest.mark.parametrize("model", ["llama2-13b", "llama3-8b", "yi-6b"])
@pytest.mark.parametrize("design", list(ACCELERATORS))
def test_other_models_contexts_and_batches(model, design):
    """Grouped heads, long prompts and batches, in both phases: equal cycles, energy to 1e-6."""
    for phase, context, batch in product((True, False), (1024, 2048, 4096), (1, 4, 16)):
        weights = FORMATS[design][not phase]
        case = model, design, weights, phase, context, batch
        (cycles, joules), (found, spent) = expected(*case), ours(*case)
        assert found == cycles, case
        assert spent == pytest.approx(joules, rel=1e-6, abs=0), case


@pytest.mark.parametrize(
    ("model", "design", "weights", "context", "batch"),
    [
        ("llama3-8b", "olive-28nm", "olive4.5", 777, 3),
        ("yi-6b", "bitmod-28nm", "int5_g128", 1000, 5),
        ("phi-2", "bitmod-28nm", "int6_g128", 129, 2),
        ("llama3-8b", "bitmod-28nm", "int8_g128", 1024, 16),
        ("opt-1.3b", "ant-28nm", "ant5", 1, 7),
        ("opt-1.3b", "fp16-28nm", "fp16", 2047, 1),
    ],
)
def test_sizes_that_fill_no_tile(model, design, weights, context, batch):
    for phase in (True, False):
        case = model, design, weights, phase, context, batch
        (cycles, joules), (found, spent) = expected(*case), ours(*case)
        assert found == cycles, case
        assert spent == pytest.approx(joules, rel=1e-6, abs=0), case


def test_the_publication_knows_no_sliding_windows():
    """Phi-3-mini sees 2,047 positions; the publication's equations have no such limit."""
    spec = resolve_model("phi-3-mini").spec
    assert spec.window(0) == 2047
    counted = [
        simulate(model, "bitmod-28nm", 2048, conventions="bitmod-hpca25").phases["prefill"]
        for model in (spec, replace(spec, sliding_window=None))
    ]
    assert counted[0].cycles == counted[1].cycles
    assert counted[0].energy_joules == counted[1].energy_joules

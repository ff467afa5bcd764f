"""Bench of bit-serial elements of one lane: every code times activations of every size.

A pass has one product a lane: eight tokens' activations times eight features' codes. Where a group
takes two steps at least, the second one brings the next eight codes, so that every code is in both
steps of a pair of odd width.
"""

from itertools import product

import cocotb
import numpy as np

from mapping.code_books import decode_values
from rtl_tests.support.passes import Pass, Special, WeightType, weight_types
from rtl_tests.tb_unit import UnitBench

_SPECIAL_CODES = 256


def _codes(kind: WeightType) -> np.ndarray:
    """Everything that can be stored: uint8 (sets, lanes_n); of special values their registers."""
    count = _SPECIAL_CODES if kind.special else 1 << kind.bits
    lanes = 4 if kind.special else 8
    return np.resize(np.arange(count), (max(1, count // lanes), lanes)).astype(np.uint8)


def _half_corners(rng: np.random.Generator) -> np.ndarray:
    """Both ends and two random values of every exponent and sign, zeros too, float16."""
    ends = np.broadcast_to(np.array([0, 1, 1023]), (31, 2, 3))
    mantissas = np.concatenate([ends, rng.integers(2, 1023, (31, 2, 1))], axis=2)
    exponents, signs = np.arange(31)[:, None, None] << 10, np.array([0, 1 << 15])[None, :, None]
    return (mantissas | exponents | signs).astype(np.uint16).reshape(-1).view(np.float16)


def _item(bench: UnitBench, kind: WeightType, sets: np.ndarray, first: int, activations) -> Pass:
    """Codes of set ``first``, and of the next one in a second step, times eight activations."""
    spec = bench.spec
    steps = spec.least_steps(kind.bits)
    picked = sets[(first + np.arange(steps)) % len(sets)]
    operands = np.broadcast_to(activations[None, :, None], (steps, spec.lanes_m, 1))
    special = None
    if kind.special:  # four a pass, in two lanes each
        registers = tuple(sets[first].tolist())
        special = Special(registers, np.arange(spec.lanes_n)[None] % 4)
        codes = np.full((steps, spec.lanes_n, 1), 1 << (kind.bits - 1), np.uint8)
        weights = np.broadcast_to(special.values[:, :, None], codes.shape)
    else:
        codes = picked[:, :, None]
        if kind.floating:
            weights = decode_values(codes, kind.code_type, kind.bits)
        else:
            unused = 8 - kind.bits
            weights = (codes << unused).view(np.int8) >> unused
    weights, operands = np.ascontiguousarray(weights), np.ascontiguousarray(operands)
    return Pass(kind, [steps], weights, operands, None, special, codes)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(form=("int8", "fp16"))
async def every_code(dut, form: str):
    """All codes of all types, all settings of a special value, times INT8 or FP16."""
    bench = UnitBench(dut)
    spec = bench.spec
    assert (spec.lanes_m, spec.lanes_n, spec.lanes_k) == (8, 8, 1)
    assert spec.weight_bits == tuple(range(2, 9))
    values = np.arange(-128, 128).astype(np.int8) if form == "int8" else _half_corners(bench.rng)
    tried = set()
    for kind in weight_types(spec):
        sets = _codes(kind)
        for first, eight in product(range(len(sets)), values.reshape(-1, 8)):
            item = _item(bench, kind, sets, first, eight)
            bench.add(item)
            tried |= {(kind.name, code) for code in sets[first].tolist()}
    integers, floats = sum(1 << bits for bits in range(2, 9)), 8 + 16 + 16
    assert len(tried) == integers + floats + 3 * _SPECIAL_CODES
    await bench.reset()
    await bench.finish(limit=200_000)

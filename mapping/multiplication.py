"""What a MATMUL asks of a unit: its operands checked, the steps it reads, its name as a tile."""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.units import UnitSpec
from mapping.instruction import Instruction

__all__ = [
    "activation_format",
    "activation_index",
    "activation_steps",
    "check_multiplication",
    "tile_name",
]


def activation_format(i: Instruction) -> str:
    """Activations a MATMUL multiplies: ``int8`` or ``fp16``."""
    return "fp16" if i.half else "int8"


def check_multiplication(unit: UnitSpec, i: Instruction) -> None:
    """Raise when a unit cannot carry out a MATMUL.

    Raises
    ------
    InputError
        The message names the operand; its place is left to the caller.
    """
    if i.weight_bits not in unit.weight_bits:
        raise InputError("", "weight_bits", i.weight_bits, f"one of {list(unit.weight_bits)}")
    if i.bipolar and "bipolar" not in unit.weight_types:
        raise InputError("", "bipolar", 1, f"0: unit {unit.kind!r} has no bipolar codes")
    if i.bipolar and i.weight_bits == 8:
        raise InputError("", "bipolar", 1, "0 with codes of 8 bits: odd ones have 7 at most")
    if activation_format(i) not in unit.activation_formats:
        allowed = " or ".join(str(int(name == "fp16")) for name in unit.activation_formats)
        raise InputError("", "half", i.half, f"{allowed} with unit {unit.kind!r}")
    for name in ("n_tiles", "m_tiles", "k_steps", "group_steps", "planes"):
        if not getattr(i, name):
            raise InputError("", name, "a count of 0", "at least 1")
    if i.planes > 1 and "bipolar" not in unit.weight_types:
        raise InputError("", "planes", i.planes, f"1 with unit {unit.kind!r}")
    if i.k_steps % i.group_steps:
        raise InputError("", "group_steps", i.group_steps, f"a divisor of k_steps = {i.k_steps}")
    if i.k_steps // i.group_steps % i.planes:
        raise InputError("", "planes", i.planes, f"a divisor of {i.k_steps // i.group_steps}")


def activation_steps(i: Instruction) -> int:
    """Steps of activations a pass reads, each once or ``planes`` times."""
    return i.k_steps // i.planes


def activation_index(i: Instruction) -> NDArray[np.int64]:
    """Step of activations behind the first one, for each step of a pass, int64 (k_steps,)."""
    steps = np.arange(activation_steps(i)).reshape(-1, 1, i.group_steps)
    return np.repeat(steps, i.planes, axis=1).reshape(-1)


def tile_name(unit: UnitSpec, i: Instruction) -> str:
    """One pass of a MATMUL in the form of LUT Tensor Core's tile instruction.

    ``lmma.{M}{N}{K}.{A_dtype}{W_dtype}{Accum_dtype}{O_dtype}`` (arXiv 2408.06003, section 3.3),
    with separators, e.g. ``lmma.m2n64k512.int8.int2.acc40.int64``.
    """
    codes = f"{'bipolar' if i.bipolar else 'int'}{i.weight_bits}"
    shape = f"m{unit.lanes_m}n{unit.lanes_n}k{activation_steps(i) * unit.lanes_k}"
    accumulator = f"acc{unit.accumulator_bits}"
    output = f"int{8 * unit.result_bytes}" if i.emit else accumulator
    planes = f"x{i.planes}" if i.planes > 1 else ""
    return f"lmma.{shape}.{activation_format(i)}.{codes}{planes}.{accumulator}.{output}"

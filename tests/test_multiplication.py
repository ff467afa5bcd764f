"""What a MATMUL asks of a unit: checks, steps read, and its name as a tile instruction."""

import pytest

from designs.errors import InputError
from designs.files import load_design
from mapping.instruction import Instruction, listing, operand_names
from mapping.isa import Opcode
from mapping.multiplication import (
    activation_index,
    activation_steps,
    check_multiplication,
    tile_name,
)

DENSE, LUT = load_design("dense-int8-tiny").unit, load_design("lut-tiny").unit


def _matmul(**changes: int) -> Instruction:
    operands = dict.fromkeys(operand_names(Opcode.MATMUL), 0)
    operands |= {"weight_bits": 4, "emit": 1, "planes": 1}
    operands |= dict.fromkeys(("n_tiles", "m_tiles", "k_steps", "group_steps"), 1)
    return Instruction.make(Opcode.MATMUL, **(operands | changes))


@pytest.mark.parametrize(
    ("unit", "changes", "message"),
    [
        (DENSE, {"weight_bits": 2}, r"weight_bits: found 2; allowed: one of \[4, 8\]"),
        (DENSE, {"code_type": 1}, "code_type: found 1; allowed: 0: unit 'dense' has no bipolar"),
        (LUT, {"code_type": 2}, "code_type: found 2; allowed: 0 or 1: unit 'lut' has no float"),
        (DENSE, {"half": 1}, "half: found 1; allowed: 0 with unit 'dense'"),
        (DENSE, {"planes": 2, "k_steps": 2}, "planes: found 2; allowed: 1 with unit 'dense'"),
        (LUT, {"code_type": 1, "weight_bits": 8}, "code_type: found 1; .*bipolar ones have 1 to 7"),
        (LUT, {"planes": 0}, "planes: found 'a count of 0'; allowed: at least 1"),
        (LUT, {"m_tiles": 0}, "m_tiles: found 'a count of 0'"),
        (LUT, {"k_steps": 5, "group_steps": 2}, "group_steps: found 2; allowed: a divisor of k"),
        (LUT, {"k_steps": 6, "group_steps": 2, "planes": 2}, "planes: found 2; .*divisor of 3"),
    ],
)
def test_what_cannot_be_done_is_refused(unit, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        check_multiplication(unit, _matmul(**changes))


def test_what_can_be_done_passes() -> None:
    check_multiplication(LUT, _matmul(code_type=1, half=1, k_steps=12, group_steps=2, planes=3))


def test_groups_are_read_again() -> None:
    i = _matmul(k_steps=12, group_steps=2, planes=3)
    assert activation_steps(i) == 4
    assert activation_index(i).tolist() == [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3]
    assert activation_index(_matmul(k_steps=3)).tolist() == [0, 1, 2]


def test_a_pass_is_a_tile_instruction() -> None:
    """lmma.{M}{N}{K}.{A}{W}{accumulator}{output}, arXiv 2408.06003, section 3.3."""
    i = _matmul(weight_bits=2, k_steps=64, half=1)
    bits = LUT.accumulator_bits
    assert tile_name(LUT, i) == f"lmma.m2n16k512.fp16.int2.acc{bits}.int64"
    i = _matmul(weight_bits=1, code_type=1, k_steps=6, group_steps=2, planes=3, emit=0)
    assert tile_name(LUT, i) == f"lmma.m2n16k16.int8.bipolar1x3.acc{bits}.acc{bits}"
    shown = listing([i], lambda found: tile_name(LUT, found))
    assert f"lmma.m2n16k16.int8.bipolar1x3.acc{bits}.acc{bits} weight_bits=1" in shown

"""Encoding, decoding and listing, and the generated documentation."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.errors import InputError
from mapping.instruction import FLAGS, Instruction, decode, encode, listing, operand_names
from mapping.isa import FORMS, Opcode
from mapping.isa_document import DOCUMENT, render


@st.composite
def instructions(draw):
    """Any valid instruction."""
    opcode = draw(st.sampled_from(list(Opcode)))
    form = FORMS[opcode]
    operands = {}
    for field in form.fields:
        if field.name != "reserved":
            top = 2 if field.name == "buffer" else (1 << field.bits) - 1
            operands[field.name] = draw(st.integers(0, top) | st.just(top))
    flags = () if form.engine == "control" else draw(st.sets(st.sampled_from(FLAGS)))
    return Instruction.make(opcode, *flags, **operands)


@settings(deadline=None)
@given(st.lists(instructions(), max_size=30))
def test_decode_is_the_inverse_of_encode(program):
    binary = encode(program)
    assert len(binary) == 32 * len(program)
    assert decode(binary) == program
    assert len(listing(program).splitlines()) == len(program) + 1


def _load(**changes):
    values = {"buffer": 1, "dram_line": 2, "buffer_line": 3, "lines": 4, **changes}
    return Instruction.make(Opcode.LOAD, "wait_downstream", **values)


def test_bits_lie_where_the_definition_says():
    word = int.from_bytes(encode([_load(lines=0xABCDEF)]), "little")
    assert word & 15 == Opcode.LOAD
    assert word >> 4 & 15 == 2
    for name, value in (("buffer", 1), ("dram_line", 2), ("buffer_line", 3), ("lines", 0xABCDEF)):
        field = next(f for f in FORMS[Opcode.LOAD].fields if f.name == name)
        assert word >> FORMS[Opcode.LOAD].offset(name) & ((1 << field.bits) - 1) == value


def test_operands_read_as_attributes():
    load = _load()
    assert (load.buffer, load.dram_line, load.lines, load.engine) == (1, 2, 4, "load")
    assert load.flags == ("wait_downstream",)
    with pytest.raises(AttributeError, match="no operand 'tiles'"):
        _ = load.tiles


@pytest.mark.parametrize("value", [-1, 1 << 24, 1 << 70])
def test_a_value_that_does_not_fit_names_its_field(value):
    with pytest.raises(ValueError, match=r"instruction 1: LOAD\.lines = .*16777215 \(24 bits\)"):
        encode([_load(), _load(lines=value)])


def test_make_names_wrong_operands_and_flags():
    with pytest.raises(ValueError, match=r"LOAD takes exactly .* not tiles"):
        _load(tiles=1)
    with pytest.raises(ValueError, match="not wait_sideways"):
        Instruction.make(Opcode.END, "wait_sideways")
    with pytest.raises(ValueError, match="END carries no tokens"):
        encode([Instruction(Opcode.END, wait_upstream=True)])
    with pytest.raises(ValueError, match="STORE takes 4 operands"):
        encode([Instruction(Opcode.STORE, (1, 2))])


def _flip(binary: bytes, bit: int) -> bytes:
    return (int.from_bytes(binary, "little") ^ 1 << bit).to_bytes(len(binary), "little")


@pytest.mark.parametrize(
    ("binary", "message"),
    [
        (b"\0" * 31, "length: found 31; allowed: a multiple of 32 bytes"),
        (b"\x09" + b"\0" * 31, "instruction 0: opcode: found 9; allowed: 0 NOP, 1 LOAD"),
        (_flip(encode([_load()]), 255), "instruction 0: LOAD: .*reserved bits that are zero"),
        (_flip(encode([_load()]), 15), r"instruction 0: LOAD\.buffer: found 129; allowed: 0 ACT"),
        (_flip(encode([Instruction(Opcode.END)]), 4), "instruction 0: END: .*reserved bits"),
    ],
)
def test_a_broken_binary_is_refused(binary, message):
    with pytest.raises(InputError, match=message):
        decode(binary)


def test_matmul_reserved_bit_is_refused():
    values = dict.fromkeys(operand_names(Opcode.MATMUL), 1)
    form = FORMS[Opcode.MATMUL]
    bit = form.offset(form.fields[-1].name) + form.fields[-1].bits
    assert bit < 256
    with pytest.raises(InputError, match="reserved bits"):
        decode(_flip(encode([Instruction.make(Opcode.MATMUL, **values)]), bit))


def test_encoding_is_fast():
    rng = np.random.default_rng(0)
    program = [_load(dram_line=int(line)) for line in rng.integers(0, 1 << 32, 10_000)]
    begin = time.perf_counter()
    encode(program)
    assert time.perf_counter() - begin < 0.5  # 0.01 s on an idle core


def test_listing_shows_tokens_by_engine():
    store = Instruction.make(
        Opcode.STORE,
        "wait_upstream",
        "signal_upstream",
        dram_line=7,
        tile=1,
        tiles=2,
        lines_per_tile=3,
    )
    lines = listing([_load(), store, Instruction(Opcode.END)]).splitlines()
    assert lines[1].split() == [
        "0", "LOAD", "compute", "buffer=weight", "dram_line=2", "buffer_line=3", "lines=4"
    ]  # fmt: skip
    assert lines[2].split()[:4] == ["1", "STORE", "compute", "compute"]
    assert lines[3].split() == ["2", "END"]


def test_the_document_is_up_to_date():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == render(), "run: python -m mapping.isa_document"

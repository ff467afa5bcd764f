"""Instruction words as Amaranth layouts, made from the ISA's own definition."""

from amaranth.lib import data

from mapping.isa import FORMS, HEADER, INSTRUCTION_BITS, Opcode

__all__ = ["instruction_layout"]


def instruction_layout(opcode: Opcode) -> data.StructLayout:
    """Layout of one opcode's 256-bit word: header, operands, padding."""
    members = {field.name: field.bits for field in (*HEADER, *FORMS[opcode].fields)}
    padding = INSTRUCTION_BITS - sum(members.values())
    if padding:
        members["padding"] = padding
    return data.StructLayout(members)

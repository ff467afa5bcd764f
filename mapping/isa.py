"""The instruction set: one definition for encoder, decoder, listing, documentation and RTL.

Every instruction is 256 bits. Bits 0..7 are common: the opcode and four dependency-token
flags. Three engines (load, compute, store) run in order, each from its own queue, and meet
only through counted tokens between neighbours: load <-> compute <-> store (decoupled
access-execute; Moreau et al., "VTA", IEEE Micro 2019, section 2.3, names the same four queues).
"""

from dataclasses import dataclass
from enum import IntEnum

from designs.units.base import SPECIAL_VALUES

__all__ = [
    "FORMS",
    "HEADER",
    "INSTRUCTION_BITS",
    "MOST_TOKENS",
    "TOKEN_BITS",
    "Buffer",
    "Field",
    "Form",
    "Opcode",
]

INSTRUCTION_BITS = 256

TOKEN_BITS = 8
MOST_TOKENS = (1 << TOKEN_BITS) - 1
"""Most tokens that may gather between two engines; one more is lost."""


class Opcode(IntEnum):
    """Operation, bits 0..3."""

    NOP = 0
    LOAD = 1
    MATMUL = 2
    STORE = 3
    END = 4


class Buffer(IntEnum):
    """Destination of a LOAD."""

    ACTIVATION = 0
    WEIGHT = 1
    SCALE = 2


@dataclass(frozen=True)
class Field:
    """One field: ``bits`` wide, unsigned, directly behind the field before it."""

    name: str
    bits: int
    doc: str


@dataclass(frozen=True)
class Form:
    """An opcode's operand fields, in order from bit 8."""

    opcode: Opcode
    engine: str
    doc: str
    fields: tuple[Field, ...]

    def offset(self, name: str) -> int:
        """Lowest bit of a field.

        Raises
        ------
        KeyError
            The form has no such field.
        """
        position = sum(field.bits for field in HEADER)
        for field in self.fields:
            if field.name == name:
                return position
            position += field.bits
        raise KeyError(f"{self.opcode.name} has no field {name!r}")


HEADER: tuple[Field, ...] = (
    Field("opcode", 4, "operation"),
    Field("wait_upstream", 1, "take a token from the engine before this one, else wait"),
    Field("wait_downstream", 1, "take a token from the engine behind this one, else wait"),
    Field("signal_upstream", 1, "give a token to the engine before this one when done"),
    Field("signal_downstream", 1, "give a token to the engine behind this one when done"),
)

FORMS: dict[Opcode, Form] = {
    form.opcode: form
    for form in (
        Form(Opcode.NOP, "control", "Padding at the end of a fetch block; dropped.", ()),
        Form(
            Opcode.LOAD,
            "load",
            "Copy consecutive memory lines into an on-chip buffer. Done when the last line is "
            "written.",
            (
                Field("buffer", 8, "0 activations, 1 weights, 2 group scales"),
                Field("dram_line", 32, "first line in memory"),
                Field("buffer_line", 24, "first line in the buffer"),
                Field("lines", 24, "lines to copy, at least 1"),
            ),
        ),
        Form(
            Opcode.MATMUL,
            "compute",
            "Multiply: for each of n_tiles feature tiles, for each of m_tiles token tiles, run "
            "one pass of k_steps steps. Weights are read from weight_word on, one packed step "
            "after the other (n outer, k inner, repeated for every token tile); activations "
            "from activation_step + m * activation_stride + k; scales from scale_word + "
            "n * (k_steps / group_steps) + group (with special values a quarter more, rounded up). "
            "With planes above 1 (binary-coded weights, a "
            "scale a plane) so many groups of weights that follow each other read the same "
            "group of activations, k_steps / planes steps in all. Tile n * m_tiles + m of sums "
            "goes to the output buffer (emit) or to the partial-sum memory, after adding the "
            "partial sum found there (accumulate). Tokens upstream are given when the last step "
            "has been read, tokens downstream when the last tile has been written. One pass is "
            "the tile instruction that LUT Tensor Core (arXiv 2408.06003, section 3.3) calls "
            "lmma.{M}{N}{K}.{A}{W}{accumulator}{output}: M, N and the accumulator are the unit's, "
            "K is k_steps / planes * lanes_k, A is half, W is code_type and weight_bits, the "
            "output is emit's integer of 4 or 8 bytes; the listing shows it in that form.",
            (
                Field("weight_bits", 4, "width of a packed weight code, one the unit has"),
                Field("scaled", 1, "multiply group sums by their unsigned 8-bit scale, else by 1"),
                Field("accumulate", 1, "add the partial sums kept by an earlier instruction"),
                Field("emit", 1, "write sums to the output buffer, else keep them as partial sums"),
                Field(
                    "code_type",
                    2,
                    "codes are 0 two's complement, 1 odd values around 0 of at most 7 bits, 2 FP4 "
                    "or FP3 by their width, 3 flint4; both a sign and a magnitude in halves",
                ),
                Field(
                    "weight_word",
                    24,
                    "first word of the weight buffer: a step of 8-bit codes, or one plane of a "
                    "step where the unit reads bit planes, or two bits of each code of a step",
                ),
                Field("activation_step", 24, "first step of activations in their buffer"),
                Field("activation_stride", 24, "steps between two token tiles"),
                Field("scale_word", 24, "first word of the scale buffer (lanes_n bytes)"),
                Field("tile", 16, "first tile of the output buffer (emit)"),
                Field("partial_tile", 16, "first tile of the partial-sum memory"),
                Field("n_tiles", 16, "feature tiles, at least 1"),
                Field("m_tiles", 16, "token tiles, at least 1"),
                Field("k_steps", 16, "steps of a pass, at least 1"),
                Field("group_steps", 16, "steps of a scale group; divides k_steps"),
                Field("half", 1, "activations are FP16, else INT8"),
                Field(
                    "planes",
                    4,
                    "times a group's activations are read, at least 1; divides the groups of a "
                    "pass",
                ),
                Field(
                    "special",
                    1,
                    "the code of -0 is its group's special value: before the scales of every four "
                    "groups lies a word of numbers, byte n of feature n, two bits a group",
                ),
                *(
                    Field(
                        f"special_{index}",
                        8,
                        f"special value {index} in halves, two terms: +-2^(bits 2..1 + 1) and "
                        "+-2^(bits 6..5); bits 0 and 4 say whether there is one, 3 and 7 are signs",
                    )
                    for index in range(SPECIAL_VALUES)
                ),
            ),
        ),
        Form(
            Opcode.STORE,
            "store",
            "Write tiles of the output buffer to consecutive memory lines. Done when the last "
            "line has left the buffer; memory may acknowledge it later, so only END orders a STORE "
            "before a LOAD of the same lines.",
            (
                Field("dram_line", 32, "first line in memory"),
                Field("tile", 16, "first tile of the output buffer"),
                Field("tiles", 16, "tiles to write, at least 1"),
                Field("lines_per_tile", 16, "first lines of each tile to write, at least 1"),
            ),
        ),
        Form(
            Opcode.END,
            "control",
            "Last instruction: the program is done when all engines are idle and all memory "
            "traffic has ended.",
            (),
        ),
    )
}

"""The control port's register map: one definition for RTL, host software and documentation."""

from dataclasses import dataclass

__all__ = ["COUNTERS", "REGISTERS", "STATUS", "Register", "counter_offset", "register_offset"]


@dataclass(frozen=True)
class Register:
    """A register of the AXI4-Lite control port.

    Parameters
    ----------
    name : str
        Lower case, as hosts and counters call it.
    bits : int
        32, or 64 for a counter (low word first).
    access : str
        ``rw`` or ``ro``.
    doc : str
        What it holds.
    """

    name: str
    bits: int
    access: str
    doc: str


_CONFIGURATION = (
    Register(
        "control",
        32,
        "rw",
        "bit 0: write 1 to start a program, ignored while one runs; bit 1: write 1 to abort the "
        "running program: what is in flight ends, the rest is dropped; reads 0",
    ),
    Register(
        "status",
        32,
        "ro",
        "bit 0 running, bit 1 done, bit 2 memory error response, bit 3 bad program (an unknown or "
        "impossible instruction, or no END), bit 4 aborted (by the host, or by a bad program or a "
        "memory error during instruction fetch); bits 1 to 4 are cleared by a start",
    ),
    Register(
        "program_line",
        32,
        "rw",
        "first memory line of the program, a multiple of fetch_block_lines",
    ),
    Register("program_blocks", 32, "rw", "fetch blocks of the program, at least 1"),
    Register(
        "design_hash",
        32,
        "ro",
        "first 32 bits of the design's digest, design_sha256 in manifest.json",
    ),
    Register("line_bytes", 32, "ro", "bytes of one memory line over all channels"),
    Register("fetch_block_lines", 32, "ro", "lines of a fetch block; instructions are 32 bytes"),
)

COUNTERS = (
    Register("cycles", 64, "ro", "cycles from start to done"),
    Register("compute_busy", 64, "ro", "cycles in which the unit was fed a step"),
    Register("compute_wait_load", 64, "ro", "cycles compute waited for a token of the load engine"),
    Register(
        "compute_wait_store", 64, "ro", "cycles compute waited for a token of the store engine"
    ),
    Register("load_wait_compute", 64, "ro", "cycles load waited for a token of the compute engine"),
    Register("read_lines", 64, "ro", "lines read from memory, instructions included"),
    Register("write_lines", 64, "ro", "lines written to memory"),
    Register("weight_lines", 64, "ro", "lines of weights and group scales read"),
    Register(
        "weight_window",
        64,
        "ro",
        "cycles from the first to the last line of weights or scales, both included",
    ),
    Register("weight_window_lines", 64, "ro", "lines read or written within that window"),
)
"""All counters are cleared by a start and stand still when the program is done."""

REGISTERS = _CONFIGURATION + COUNTERS

STATUS = {"running": 0, "done": 1, "memory_error": 2, "bad_program": 3, "aborted": 4}
"""Bit positions in the status register."""


def _offsets() -> dict[str, int]:
    offsets, position = {}, 0
    for register in REGISTERS:
        position = (
            (position + register.bits // 8 - 1) // (register.bits // 8) * (register.bits // 8)
        )
        offsets[register.name] = position
        position += register.bits // 8
    return offsets


_OFFSETS = _offsets()


def register_offset(name: str) -> int:
    """Byte offset of a register; KeyError for an unknown name."""
    return _OFFSETS[name]


def counter_offset(name: str) -> int:
    """Byte offset of a counter's low word; KeyError for an unknown name."""
    return _OFFSETS[name]

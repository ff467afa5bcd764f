"""What a synthesis run found, as one typed record per run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

__all__ = ["Memory", "SynthesisReport"]


@dataclass(frozen=True)
class Memory:
    """Equal memories of a design.

    Attributes
    ----------
    width, depth : int
        Bits of a word, and words.
    count : int
        How many there are.
    """

    width: int
    depth: int
    count: int

    @property
    def bits(self) -> int:
        """Bits of all of them together."""
        return self.width * self.depth * self.count


@dataclass(frozen=True)
class SynthesisReport:
    """Cells of a netlist after technology mapping, before placement.

    What a target does not have is None: a count of 0 is a count.

    Attributes
    ----------
    target : str
        ``xcup``, ``ecp5``, ``generic`` or ``liberty``.
    top : str
        Module that was synthesised.
    tool : str
        Name and version of the synthesis tool.
    flatten : bool
        Whether it optimised across modules.
    cells : mapping of str to int
        Every cell type of the netlist and how many there are.
    ff : int
        Flip-flops.
    lut : int or None
        FPGA: look-up tables, those used as memory and shift registers included.
    lut_by_size : mapping of int to int
        Of those, the ones of logic by their number of inputs; an inverter has one.
    lut_memory : int or None
        Of those, the ones that hold memory, shift registers or (ECP5) carry chains' sums.
    dsp : int or None
        xcup: DSP48E2 blocks. ecp5: 18 x 18 multipliers, of which a DSP slice has two.
    bram : float or None
        xcup: 36 Kb blocks, halves counted 0.5. ecp5: 18 Kb blocks.
    uram : int or None
        xcup: 288 Kb blocks; only RAMs that ask for them are put there.
    carry : int or None
        xcup: carry cells of four bits, two of which are one CARRY8 of the device. ecp5: of two.
    wide_mux : int or None
        Multiplexers behind look-up tables (MUXF7 and up; PFUMX, L6MUX21).
    transistors : int or None
        generic: estimate of a static CMOS netlist (Yosys, ``stat -tech cmos``).
    library : str or None
        liberty: name of the library.
    area_um2, sequential_um2 : float or None
        liberty: cell area, and the part that is flip-flops.
    macros : tuple of Memory
        generic, liberty: RAMs left out as black boxes; in none of the counts.
    flop_memories : tuple of Memory
        generic, liberty: small memories (queues) built of flip-flops; they are in the counts.
    seconds : float
        Time the tool took; of the first run when the record is from the cache.
    cached : bool
        Whether the record is from the cache.
    """

    target: str
    top: str
    tool: str
    flatten: bool
    cells: Mapping[str, int]
    ff: int
    lut: int | None = None
    lut_by_size: Mapping[int, int] = field(default_factory=dict)
    lut_memory: int | None = None
    dsp: int | None = None
    bram: float | None = None
    uram: int | None = None
    carry: int | None = None
    wide_mux: int | None = None
    transistors: int | None = None
    library: str | None = None
    area_um2: float | None = None
    sequential_um2: float | None = None
    macros: tuple[Memory, ...] = ()
    flop_memories: tuple[Memory, ...] = ()
    seconds: float = 0.0
    cached: bool = False

    @property
    def combinational_um2(self) -> float | None:
        """Cell area that is not flip-flops."""
        if self.area_um2 is None or self.sequential_um2 is None:
            return None
        return self.area_um2 - self.sequential_um2

    @property
    def cell_count(self) -> int:
        """Cells of the netlist; black boxes are not cells."""
        return sum(self.cells.values())

    @property
    def not_counted(self) -> dict[str, str]:
        """What the figures leave out, and why."""
        if self.target in ("xcup", "ecp5"):
            left = {
                "placement and routing": "cells after mapping; a vendor tool packs, replicates "
                "and retimes further",
                "pads and clock buffers": "they belong to the board",
            }
            if self.target == "xcup":
                left["shared look-up tables"] = (
                    "two functions of together five inputs share one LUT6 when placed; here they "
                    "are two"
                )
            return left
        left = {"clock tree, scan and wires": "cells of the logic as mapped, no clock target"}
        if self.macros:
            bits = sum(memory.bits for memory in self.macros)
            count = sum(memory.count for memory in self.macros)
            left["memory macros"] = f"{count} RAMs of together {bits:,} bits are black boxes"
        if self.target == "generic":
            left["drive strength"] = "every gate has its smallest transistors"
        return left

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the derived ones."""
        found = asdict(self)
        found["lut_by_size"] = {str(size): n for size, n in self.lut_by_size.items()}
        for name in ("macros", "flop_memories"):
            found[name] = [asdict(memory) for memory in getattr(self, name)]
        found["combinational_um2"] = self.combinational_um2
        found["cell_count"] = self.cell_count
        found["not_counted"] = self.not_counted
        return found

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "SynthesisReport":
        """The record ``to_dict`` was made of, marked as from the cache."""
        fields = {name: found[name] for name in cls.__dataclass_fields__}
        fields["lut_by_size"] = {int(size): n for size, n in found["lut_by_size"].items()}
        for name in ("macros", "flop_memories"):
            fields[name] = tuple(Memory(**memory) for memory in found[name])
        return replace(cls(**fields), cached=True)

"""The design file: frozen, validated dataclasses of everything an accelerator is built from.

One TOML file is read by the compiler, the timeline simulator, the golden model and the RTL
generator; every width, depth and latency they use is a field here or derived from one here.
"""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from designs.checks import integer, power_of_two, text
from designs.errors import InputError
from designs.memory_timing import check_channel
from designs.parts import Cores, Flash, Formats, Silicon, Sram, Vector
from designs.units import UnitSpec
from designs.units.array import PublishedArray
from designs.units.base import ACTIVATION_BYTES

__all__ = [
    "INSTRUCTION_BYTES",
    "Buffers",
    "Clock",
    "Control",
    "Design",
    "Dram",
]

INSTRUCTION_BYTES = 32
"""Bytes of one instruction; the layout is in mapping/isa.py."""

_MOST_BANKS = 1024
_MOST_SIGNAL_BITS = 65535  # of one signal in Amaranth 0.5
_LEAST_BUFFER, _LARGEST_BUFFER = 16, 1 << 30
_AXI_BOUNDARY = 4096
"""AXI4 bursts must not cross a 4 KB boundary (IHI 0022, section A3.4.1)."""


@dataclass(frozen=True)
class Clock:
    """The one clock of the accelerator.

    Parameters
    ----------
    frequency_hz : int
        Cycles a second, 1 MHz to 10 GHz.
    """

    frequency_hz: int

    def __post_init__(self) -> None:
        integer("clock.frequency_hz", self.frequency_hz, 1_000_000, 10_000_000_000)


@dataclass(frozen=True)
class Buffers:
    """On-chip memories, in bytes; each is a power of two.

    Parameters
    ----------
    activation_bytes : int
        INT8 activations of one or two token blocks, whole K.
    weight_bytes : int
        Packed weight codes, cut into slots by the compiler.
    scale_bytes : int
        Group scales, one byte a group and output feature, cut into slots with the weights.
    output_bytes : int
        Finished accumulator tiles waiting to be stored.
    partial_bytes : int
        Accumulator tiles of a reduction that is cut over several instructions.
    """

    activation_bytes: int
    weight_bytes: int
    scale_bytes: int
    output_bytes: int
    partial_bytes: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            size = getattr(self, field.name)
            power_of_two(f"buffers.{field.name}", size, _LEAST_BUFFER, _LARGEST_BUFFER)


@dataclass(frozen=True)
class Dram:
    """External memory: equal channels, striped, each behind one AXI4 port.

    A *line* is one beat on every channel: ``channels * data_bytes`` bytes.

    Parameters
    ----------
    technology : str
        What the channels are: a name of ``designs/technology/memory`` (e.g. ``ddr4-2400``) or a
        TOML file, for its rows, refresh and turnaround; ``ideal`` has none of them.
    channels : int
        Number of channels and AXI ports.
    data_bytes : int
        Width of one AXI data port; 8 to 128 bytes.
    bandwidth_bytes_per_second : int
        Data-bus rate of one channel; at most one beat a clock, and the peak of the technology.
    latency_ns : float
        From accepting a read address to the first data beat of an idle channel with the row open;
        at least the technology's read latency.
    max_burst_beats : int
        Longest burst; at most 256 beats and 4096 bytes (AXI4).
    max_outstanding_reads, max_outstanding_writes : int
        Bursts in flight before the next address waits.
    capacity_bytes : int
        Bytes of all channels together.
    """

    technology: str
    channels: int
    data_bytes: int
    bandwidth_bytes_per_second: int
    latency_ns: float
    max_burst_beats: int
    max_outstanding_reads: int
    max_outstanding_writes: int
    capacity_bytes: int

    def __post_init__(self) -> None:
        text("dram.technology", self.technology)
        power_of_two("dram.channels", self.channels, 1, 64)
        power_of_two("dram.data_bytes", self.data_bytes, 8, 128)
        integer("dram.bandwidth_bytes_per_second", self.bandwidth_bytes_per_second, 1, 10**13)
        if isinstance(self.latency_ns, bool) or not 0 < self.latency_ns <= 100_000:
            raise InputError("design", "dram.latency_ns", self.latency_ns, "above 0, to 100000")
        longest = min(256, _AXI_BOUNDARY // self.data_bytes)
        power_of_two("dram.max_burst_beats", self.max_burst_beats, 1, longest)
        power_of_two("dram.max_outstanding_reads", self.max_outstanding_reads, 2, 256)
        power_of_two("dram.max_outstanding_writes", self.max_outstanding_writes, 1, 256)
        integer("dram.capacity_bytes", self.capacity_bytes, 1 << 16, 1 << 42)
        check_channel(self)

    @property
    def line_bytes(self) -> int:
        """Bytes of one beat on all channels together."""
        return self.channels * self.data_bytes


@dataclass(frozen=True)
class Control:
    """Depths of the control path.

    Parameters
    ----------
    queue_depth : int
        Instructions waiting in front of each engine.
    fetch_blocks : int
        Blocks of instructions fetched ahead.
    loads_in_flight : int
        Load instructions whose data is still on its way.
    """

    queue_depth: int = 8
    fetch_blocks: int = 4
    loads_in_flight: int = 8

    def __post_init__(self) -> None:
        power_of_two("control.queue_depth", self.queue_depth, 2, 64)
        power_of_two("control.fetch_blocks", self.fetch_blocks, 2, 64)
        power_of_two("control.loads_in_flight", self.loads_in_flight, 2, 64)


@dataclass(frozen=True)
class Design:
    """A whole accelerator.

    Parameters
    ----------
    name : str
        What lists and reports call it.
    description : str
        One line: what it is and where its figures come from.
    clock, unit, buffers, dram, control
        The parts; see their classes.
    vector, silicon, sram, cores, flash, formats
        Parts that are simulated only; see `designs.parts`. Without a ``[vector]`` table the
        operators that need one are left to the host, and reported as not modelled.
    array : PublishedArray, optional
        What a publication's model sees in the place of a unit with RTL; see `as_published`.

    Raises
    ------
    InputError
        A part does not fit another one; the message names the field to change.
    """

    name: str
    description: str
    clock: Clock
    unit: UnitSpec
    buffers: Buffers
    dram: Dram
    control: Control = Control()
    vector: Vector | None = None
    silicon: Silicon = dataclasses.field(default_factory=Silicon)
    sram: Sram = dataclasses.field(default_factory=Sram)
    cores: Cores = dataclasses.field(default_factory=Cores)
    flash: Flash | None = None
    formats: Formats = dataclasses.field(default_factory=Formats)
    array: PublishedArray | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            allowed = "1 to 64 ASCII letters, digits, '-', '_' and '.', a letter or digit first"
            raise InputError("design", "name", self.name, allowed)
        text("description", self.description)
        per_second = self.dram.data_bytes * self.clock.frequency_hz
        if self.dram.bandwidth_bytes_per_second > per_second:
            raise InputError(
                "design",
                "dram.bandwidth_bytes_per_second",
                self.dram.bandwidth_bytes_per_second,
                f"at most data_bytes * clock.frequency_hz = {per_second}",
            )
        if self.unit.simulated_only:
            if self.array is not None:
                allowed = f"no [array] table beside unit.kind = {self.unit.kind!r}: it is one"
                raise InputError("design", "array", self.array.pe, allowed)
            return
        self._check_rtl()

    def _check_rtl(self) -> None:
        """What the generated accelerator needs."""
        if self.activations not in self.unit.activation_formats:
            found = self.formats.activation_bits
            widths = [str(8 * ACTIVATION_BYTES[name]) for name in self.unit.activation_formats]
            allowed = f"{' or '.join(widths)} with this unit"
            raise InputError("design", "formats.activation_bits", found, allowed)
        self._check_signals()
        allowed = "1r1w and double_buffered = true: so are the generated buffers"
        if self.sram.ports != "1r1w":
            raise InputError("design", "sram.ports", self.sram.ports, allowed)
        if not self.sram.double_buffered:
            raise InputError("design", "sram.double_buffered", False, allowed)
        if self.fetch_block_lines > self.dram.max_burst_beats:
            raise InputError(
                "design",
                "dram.max_burst_beats",
                self.dram.max_burst_beats,
                f"at least {self.fetch_block_lines}, one fetch of 8 instructions",
            )
        self._check_buffers()

    def _check_signals(self) -> None:
        """What passes between buffers and unit as one signal of the generated RTL."""
        unit = self.unit
        sums = unit.lanes_m * unit.lanes_n * unit.accumulator_bits
        for field, what, bits in (
            ("lanes_k", "weights of a word", 8 * unit.weight_word_bytes),
            ("lanes_k", "activations of a step", 8 * unit.activation_word_bytes),
            ("lanes_m", f"sums of {unit.accumulator_bits} bits", sums),
        ):
            if bits > _MOST_SIGNAL_BITS:
                allowed = f"{what} that fill at most {_MOST_SIGNAL_BITS} bits, not {bits}"
                raise InputError("design", f"unit.{field}", getattr(unit, field), allowed)

    def _check_buffers(self) -> None:
        line = self.line_bytes
        words = (
            self.unit.activation_word_bytes,
            self.unit.weight_word_bytes,
            self.unit.scale_word_bytes,
            self.tile_lines * line,
        )
        banks = max(max(word, line) // min(word, line) for word in words)
        if banks > _MOST_BANKS:
            allowed = f"lines and words that differ by at most a factor of {_MOST_BANKS}"
            raise InputError("design", "dram.channels", self.dram.channels, allowed)
        minimum = {
            "activation_bytes": max(line, self.unit.activation_word_bytes),
            "weight_bytes": 2 * max(line, self.unit.weight_word_bytes),
            "scale_bytes": 2 * max(line, self.unit.scale_word_bytes),
            "output_bytes": 2 * self.tile_lines * line,
            "partial_bytes": self.partial_tile_bytes,
        }
        for field, least in minimum.items():
            found = getattr(self.buffers, field)
            if found < least:
                raise InputError(
                    "design",
                    f"buffers.{field}",
                    found,
                    f"at least {least} bytes, so that one tile fits",
                )

    def as_published(self) -> "Design":
        """The design with the array of its ``[array]`` table as unit; itself without one.

        That array has no buffers for scales, outputs and partial sums: they are as small as a file
        takes them.
        """
        if self.array is None:
            return self
        buffers = Buffers(
            self.array.activation_bytes or self.buffers.activation_bytes,
            self.array.weight_bytes or self.buffers.weight_bytes,
            *[_LEAST_BUFFER] * 3,
        )
        return dataclasses.replace(self, unit=self.array.unit, buffers=buffers, array=None)

    @property
    def activations(self) -> str:
        """Activations of the products: ``int8`` or ``fp16``."""
        return "fp16" if self.formats.activation_bits == 16 else "int8"

    @property
    def activation_step_bytes(self) -> int:
        """Bytes of activations one step of the unit reads."""
        return self.unit.activation_step_bytes(self.activations)

    # Memory geometry -------------------------------------------------------------------------

    @property
    def line_bytes(self) -> int:
        """Bytes of one memory line: a beat on every channel."""
        return self.dram.line_bytes

    @property
    def row_lines(self) -> int:
        """Lines that hold the sums of one token and ``lanes_n`` output features (padded)."""
        return max(1, self.unit.lanes_n * self.unit.result_bytes // self.line_bytes)

    @property
    def tile_lines(self) -> int:
        """Lines of one word of the output buffer: ``lanes_m`` rows."""
        return self.unit.lanes_m * self.row_lines

    @property
    def output_tiles(self) -> int:
        """Accumulator tiles the output buffer holds."""
        return self.buffers.output_bytes // (self.tile_lines * self.line_bytes)

    @property
    def partial_tile_bytes(self) -> int:
        """Bytes a tile of partial sums is counted with: ``result_bytes`` a sum."""
        return self.unit.lanes_m * self.unit.lanes_n * self.unit.result_bytes

    @property
    def partial_tiles(self) -> int:
        """Accumulator tiles the partial-sum memory holds."""
        return self.buffers.partial_bytes // self.partial_tile_bytes

    @property
    def fetch_block_bytes(self) -> int:
        """Bytes of one instruction fetch: eight instructions, or one line if that is more."""
        return max(8 * INSTRUCTION_BYTES, self.line_bytes)

    @property
    def fetch_block_instructions(self) -> int:
        """Instructions in one fetch."""
        return self.fetch_block_bytes // INSTRUCTION_BYTES

    @property
    def fetch_block_lines(self) -> int:
        """Lines of one fetch."""
        return self.fetch_block_bytes // self.line_bytes

    # Memory timing ---------------------------------------------------------------------------

    @property
    def dram_latency_cycles(self) -> int:
        """``dram.latency_ns`` in clock cycles, rounded up."""
        exact = Fraction(str(self.dram.latency_ns)) * self.clock.frequency_hz / 10**9
        return max(1, ceil(exact))

    @property
    def dram_beat_cycles(self) -> Fraction:
        """Clock cycles one beat occupies a channel's data bus; at least 1."""
        per_second = self.dram.data_bytes * self.clock.frequency_hz
        return Fraction(per_second, self.dram.bandwidth_bytes_per_second)

    # Identity --------------------------------------------------------------------------------

    @property
    def digest(self) -> str:
        """SHA-256 of what makes the hardware, as sorted JSON.

        That is all but the description, the formats, which a program chooses, and what a
        publication sees in it.
        """
        fields = dataclasses.asdict(self)
        for name in ("description", "formats", "array"):
            fields.pop(name)
        fields["unit"]["kind"] = self.unit.kind
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

"""External memory types: geometry, timing and energy of one channel, from a datasheet.

The files are in designs/technology/memory; sim/memory/dram executes them command by command.
"""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import floor, isfinite
from pathlib import Path

from designs.checks import integer, power_of_two, text
from designs.errors import InputError
from designs.tables import named_file, parse_toml, structure

__all__ = [
    "ADDRESS_FIELDS",
    "DramEnergy",
    "DramTiming",
    "MemoryTechnology",
    "address_fields",
    "load_memory",
    "memory_from_toml",
    "memory_names",
]

_LIBRARY = Path(__file__).parent / "technology" / "memory"

ADDRESS_FIELDS = ("row", "bank", "bankgroup", "column")
"""Parts of an address above the bytes of one burst; every mapping names each of them once.

``rank`` may be named too; it is the most significant otherwise.
"""

_SHORT = {"ro": "row", "ba": "bank", "bg": "bankgroup", "co": "column", "ra": "rank", "ch": ""}
"""DRAMsim3's two-letter names; the channel has no bits in one channel."""


def address_fields(mapping: str, field: str = "address_mapping") -> tuple[str, ...]:
    """The address fields, most significant first, with the rank.

    Parameters
    ----------
    mapping : str
        ``row-bank-column-bankgroup`` in any order, with ``rank`` if wanted, or DRAMsim3's spelling
        of one, e.g. ``rorabgbachco`` (the channel is dropped).
    field : str
        What an error calls it.

    Raises
    ------
    InputError
        A field is unknown, missing or named twice.
    """
    allowed = (
        f"each of {', '.join(ADDRESS_FIELDS)} once, and rank, joined by '-', most significant "
        "first; or DRAMsim3's ro, ra, bg, ba, ch, co written together"
    )
    if not isinstance(mapping, str):
        raise InputError("memory", field, mapping, allowed)
    parts = tuple(mapping.split("-"))
    if len(parts) == 1:
        pairs = [mapping[i : i + 2] for i in range(0, len(mapping), 2)]
        if len(set(pairs)) != len(pairs):
            raise InputError("memory", field, mapping, allowed)
        parts = tuple(name for name in (_SHORT.get(p, p) for p in pairs) if name)
    if "rank" not in parts:
        parts = ("rank", *parts)
    if sorted(parts) != sorted(("rank", *ADDRESS_FIELDS)):
        raise InputError("memory", field, mapping, allowed)
    return parts


@dataclass(frozen=True)
class DramTiming:
    """Timing of a DRAM channel in nanoseconds; names as in the JEDEC standards (JESD79-4 etc.).

    ``_s`` is between different bank groups, ``_l`` within one; devices without bank groups give
    the same value twice.

    Parameters
    ----------
    cl, cwl : float
        Read and write latency: column command to first data.
    trcd : float
        Activate to column command.
    trp : float
        Precharge to activate.
    tras : float
        Activate to precharge; activate to activate of a bank is ``tras + trp``.
    trrd_s, trrd_l : float
        Activate to activate of different banks.
    tfaw : float
        Window that holds at most four activates.
    tccd_s, tccd_l : float
        Column command to column command.
    trtp : float
        Read to precharge.
    twtr_s, twtr_l : float
        End of write data to read command.
    twr : float
        End of write data to precharge.
    trfc : float
        Refresh of all banks to the next activate.
    trefi : float
        Average time between refresh commands.
    trtw : float
        Time the data bus is unused between the end of read data and the start of write data
        (preamble and change of driver); 0 or more.
    trtrs : float
        Time the data bus is unused between data of different ranks; 0 or more.
    """

    cl: float
    cwl: float
    trcd: float
    trp: float
    tras: float
    trrd_s: float
    trrd_l: float
    tfaw: float
    tccd_s: float
    tccd_l: float
    trtp: float
    twtr_s: float
    twtr_l: float
    twr: float
    trfc: float
    trefi: float
    trtw: float
    trtrs: float

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0.0 if field.name in ("trtw", "trtrs") else 0.001
            if not isfinite(value) or not least <= value <= 1e6:
                name = f"timing.{field.name}"
                raise InputError("memory", name, value, f"nanoseconds from {least} to 1000000")
        for short, long in (("trrd_s", "trrd_l"), ("tccd_s", "tccd_l"), ("twtr_s", "twtr_l")):
            if getattr(self, long) < getattr(self, short):
                allowed = f"at least {short}, {getattr(self, short)}"
                raise InputError("memory", f"timing.{long}", getattr(self, long), allowed)
        if self.tras < self.trcd:
            raise InputError("memory", "timing.tras", self.tras, f"at least trcd, {self.trcd}")
        shortest = self.trfc + self.tras + self.trp
        if self.trefi <= shortest:
            allowed = f"more than trfc + tras + trp, {shortest}"
            raise InputError("memory", "timing.trefi", self.trefi, allowed)


@dataclass(frozen=True)
class DramEnergy:
    """Energy of one channel.

    Parameters
    ----------
    read_pj_per_bit, write_pj_per_bit : float
        Moving one bit between a row and the controller, activation of rows included, picojoules.
    background_milliwatts : float
        Power of all devices of one rank of the channel while rows are open and nothing moves;
        refreshing is not in it.
    source, background_source : str
        Where the energy of a bit, and the background power, come from.
    """

    read_pj_per_bit: float
    write_pj_per_bit: float
    background_milliwatts: float
    source: str
    background_source: str

    def __post_init__(self) -> None:
        for name in ("read_pj_per_bit", "write_pj_per_bit", "background_milliwatts"):
            value = getattr(self, name)
            if not isfinite(value) or not 0 < value <= 1e6:
                raise InputError("memory", f"energy.{name}", value, "above 0, to 1000000")
        for name in ("source", "background_source"):
            if not text(f"energy.{name}", getattr(self, name)):
                raise InputError("memory", f"energy.{name}", "", "where the figure comes from")


@dataclass(frozen=True)
class MemoryTechnology:
    """One channel of an external memory.

    Parameters
    ----------
    name, description, source : str
        For reports; ``source`` says where the numbers come from.
    data_rate_mtps : int
        Transfers of every data pin, in millions a second.
    transfers_per_clock : int
        Transfers of a pin in one period of the command clock: 2 for DDR4 and HBM, 8 for LPDDR5
        and GDDR6 whose data clock runs faster.
    bus_bits : int
        Data pins of the channel.
    burst_length : int
        Transfers of one column command.
    ranks : int
        Sets of devices that share the pins of the channel.
    bank_groups, banks_per_group : int
        Banks of a rank.
    rows : int
        Rows of a bank.
    row_bytes : int
        Bytes of an open row, all devices of the rank together.
    address_mapping : str
        Order of the address fields, most significant first: see `address_fields`.
    queue_depth : int
        Requests that wait at the controller until the queue of their bank has room.
    bank_queue_depth : int
        Requests of one bank that the scheduler sees at a time.
    dual_command : bool
        Row commands have pins of their own, so a row and a column command go out in one clock
        (HBM, JESD235).
    activate_clocks : int
        Clocks an activate occupies its pins; 2 for LPDDR5 (ACT-1 and ACT-2, JESD209-5).
    timing : DramTiming
        Nanoseconds.
    energy : DramEnergy
        Picojoules a bit, milliwatts.
    """

    name: str
    description: str
    source: str
    data_rate_mtps: int
    transfers_per_clock: int
    bus_bits: int
    burst_length: int
    ranks: int
    bank_groups: int
    banks_per_group: int
    rows: int
    row_bytes: int
    address_mapping: str
    queue_depth: int
    bank_queue_depth: int
    dual_command: bool
    activate_clocks: int
    timing: DramTiming
    energy: DramEnergy

    def __post_init__(self) -> None:
        for name in ("name", "description", "source"):
            text(name, getattr(self, name))
        integer("data_rate_mtps", self.data_rate_mtps, 100, 100_000)
        power_of_two("transfers_per_clock", self.transfers_per_clock, 1, 64)
        power_of_two("bus_bits", self.bus_bits, 8, 4096)
        power_of_two("burst_length", self.burst_length, self.transfers_per_clock // 2 or 1, 64)
        power_of_two("ranks", self.ranks, 1, 8)
        power_of_two("bank_groups", self.bank_groups, 1, 64)
        power_of_two("banks_per_group", self.banks_per_group, 1, 64)
        power_of_two("rows", self.rows, 1, 1 << 24)
        power_of_two("row_bytes", self.row_bytes, self.access_bytes, 1 << 20)
        address_fields(self.address_mapping)
        integer("queue_depth", self.queue_depth, 1, 1024)
        integer("bank_queue_depth", self.bank_queue_depth, 1, 1024)
        integer("activate_clocks", self.activate_clocks, 1, 4)

    @property
    def peak_bytes_per_second(self) -> Fraction:
        """Rate of the data bus of one channel."""
        return Fraction(self.data_rate_mtps * 1_000_000 * self.bus_bits, 8)

    @property
    def access_bytes(self) -> int:
        """Bytes that one column command moves."""
        return self.bus_bits * self.burst_length // 8

    @property
    def banks(self) -> int:
        """Banks of the channel, all ranks."""
        return self.ranks * self.bank_groups * self.banks_per_group

    @property
    def columns(self) -> int:
        """Column commands that read a whole row."""
        return self.row_bytes // self.access_bytes

    @property
    def capacity_bytes(self) -> int:
        """Bytes of the channel."""
        return self.banks * self.rows * self.row_bytes

    @property
    def clock_ns(self) -> Fraction:
        """Period of the command clock."""
        return Fraction(1000 * self.transfers_per_clock, self.data_rate_mtps)

    @property
    def burst_clocks(self) -> int:
        """Command clocks one column command occupies the data bus."""
        return -(-self.burst_length // self.transfers_per_clock)

    def clocks(self, name: str) -> int:
        """A timing as whole command clocks.

        Rounded up as the rounding algorithm of JESD79-4 does: up to 2.6 % of a clock too much is
        taken for rounding of the nanoseconds.

        Parameters
        ----------
        name : str
            A field of `DramTiming`.
        """
        ratio = Fraction(str(getattr(self.timing, name))) / self.clock_ns
        return floor(ratio + Fraction(974, 1000))


def memory_names() -> list[str]:
    """Names of the memory technologies that ship with silicast, sorted."""
    return sorted(path.stem for path in _LIBRARY.glob("*.toml"))


@cache
def memory_from_toml(content: str, where: str = "memory") -> MemoryTechnology:
    """A memory technology from TOML text.

    Parameters
    ----------
    content : str
        The TOML document.
    where : str
        What error messages call it, usually the file name.

    Raises
    ------
    InputError
        The text is no TOML, or a field is missing, unknown or out of range.
    """
    return structure(parse_toml(content, where), MemoryTechnology, where)


def load_memory(name: str) -> MemoryTechnology:
    """A memory technology by name, or a TOML file by path.

    Raises
    ------
    InputError
        There is no such technology, or its file is wrong.
    """
    return memory_from_toml(*named_file(_LIBRARY, str(name), "dram.technology"))

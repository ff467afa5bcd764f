"""Optional tables of a design file: vector engine, silicon, cores, flash and number formats."""

from dataclasses import dataclass

from designs.checks import integer, text
from designs.errors import InputError

__all__ = ["Cores", "Flash", "Formats", "Passes", "Silicon", "Sram", "Vector"]


def _number(field: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError("design", field, value, f"a number from {low:g} to {high:g}")


@dataclass(frozen=True)
class Passes:
    """How often each vector operator walks over its data.

    The defaults are those of a two-phase engine that reads a vector, reduces it and reads it
    again: FlightLLM's special function unit takes two passes for softmax and norms (FPGA'24,
    section 4; its released configuration says the same), element-wise operators take one.

    Parameters
    ----------
    norm, softmax, rope, activation, multiply, add, requantise, topk : int
        1 to 8.
    """

    norm: int = 2
    softmax: int = 2
    rope: int = 1
    activation: int = 1
    multiply: int = 1
    add: int = 1
    requantise: int = 1
    topk: int = 1

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            integer(f"vector.passes.{name}", getattr(self, name), 1, 8)


@dataclass(frozen=True)
class Vector:
    """The engine of everything that is no matrix product; simulated only, without RTL yet.

    Parameters
    ----------
    lanes : int
        Elements a cycle and pass, 1 to 65536.
    latency : int
        Cycles from the last element of a pass to its result, paid once a pass.
    passes : Passes
        Walks over the data by operator.
    """

    lanes: int
    latency: int
    passes: Passes = Passes()

    def __post_init__(self) -> None:
        integer("vector.lanes", self.lanes, 1, 65536)
        integer("vector.latency", self.latency, 1, 10_000)


@dataclass(frozen=True)
class Silicon:
    """What the design is made in; both may be absent, one of them may be given.

    Parameters
    ----------
    process : str or None
        Name in ``designs/technology/process``: energy and area.
    device : str or None
        Name in ``designs/devices``: an FPGA whose resources it must fit.
    """

    process: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        for name in ("process", "device"):
            if getattr(self, name) is not None:
                text(f"silicon.{name}", getattr(self, name))
        if self.process is not None and self.device is not None:
            allowed = "no device when silicon.process is given"
            raise InputError("design", "silicon.device", self.device, allowed)


@dataclass(frozen=True)
class Cores:
    """Equal cores (or dies), each with its own unit, buffers and memory channels.

    A layer is cut over the cores along its output features, attention along its heads; after
    each product but the scores of attention the cores exchange results and meet at a barrier.

    Parameters
    ----------
    count : int
        1 to 1024.
    barrier_cycles : int
        Cycles of one barrier.
    link_bytes_per_second : int
        What one core receives from all others together; needed when ``count`` is above 1.
    """

    count: int = 1
    barrier_cycles: int = 0
    link_bytes_per_second: int = 0

    def __post_init__(self) -> None:
        integer("cores.count", self.count, 1, 1024)
        integer("cores.barrier_cycles", self.barrier_cycles, 0, 1_000_000)
        integer("cores.link_bytes_per_second", self.link_bytes_per_second, 0, 10**14)
        if self.count > 1 and not self.link_bytes_per_second:
            raise InputError("design", "cores.link_bytes_per_second", 0, "at least 1 with cores")


@dataclass(frozen=True)
class Flash:
    """The level below DRAM: weights that do not fit DRAM are read from here in every pass.

    Parameters
    ----------
    technology : str
        What it is, for reports (e.g. ``nvme-gen4-x4``).
    bandwidth_bytes_per_second : int
        Sustained sequential reads.
    latency_us : float
        Of the first byte of a read.
    capacity_bytes : int
        Size.
    read_pj_per_bit : float
        Energy of a read, from a source the design file names.
    """

    technology: str
    bandwidth_bytes_per_second: int
    latency_us: float
    capacity_bytes: int
    read_pj_per_bit: float

    def __post_init__(self) -> None:
        text("flash.technology", self.technology)
        integer("flash.bandwidth_bytes_per_second", self.bandwidth_bytes_per_second, 1, 10**13)
        _number("flash.latency_us", self.latency_us, 0, 100_000)
        integer("flash.capacity_bytes", self.capacity_bytes, 1 << 20, 1 << 50)
        _number("flash.read_pj_per_bit", self.read_pj_per_bit, 0, 1_000_000)


@dataclass(frozen=True)
class Sram:
    """How the on-chip buffers are built, for arrays that are simulated only.

    Parameters
    ----------
    banks : int
        Banks of each buffer, 1 to 1024; words are dealt to them in turn.
    ports : str
        ``1r1w``: a bank reads and writes in the same cycle, as the generated RTL's do; ``1rw``: it
        does one of the two, and a load that meets a read makes the later one wait.
    double_buffered : bool
        Half of each buffer is filled while the other half is used. Without it an operand may take
        the whole buffer, and loading and computing take turns.
    """

    banks: int = 8
    ports: str = "1r1w"
    double_buffered: bool = True

    def __post_init__(self) -> None:
        integer("sram.banks", self.banks, 1, 1024)
        if self.ports not in ("1r1w", "1rw"):
            raise InputError("design", "sram.ports", self.ports, "1r1w or 1rw")


@dataclass(frozen=True)
class Formats:
    """Number formats that are not chosen on the command line.

    Parameters
    ----------
    activation_bits : int
        Width of an activation in memory and at the unit: 8 (INT8) or 16 (FP16).
    kv_cache_bits : int
        Width of a cached key or value: 4, 8 or 16; narrower ones carry a 16-bit scale a token and
        head.
    weights : str
        The weight format a simulation takes when none is named.
    """

    activation_bits: int = 8
    kv_cache_bits: int = 8
    weights: str = "int8"

    def __post_init__(self) -> None:
        for name, allowed in (("activation_bits", (8, 16)), ("kv_cache_bits", (4, 8, 16))):
            if getattr(self, name) not in allowed:
                words = " or ".join(map(str, allowed))
                raise InputError("design", f"formats.{name}", getattr(self, name), words)
        text("formats.weights", self.weights)

"""SRAM of a process: energy, area and leakage by capacity and port width, from a table."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, isfinite, log, log2

from designs.checks import integer, text
from designs.errors import InputError
from designs.scaling import NODES

__all__ = ["SramFigure", "SramRow", "SramTable"]

_COLUMNS = ("read_picojoules", "write_picojoules", "square_millimetres", "leakage_milliwatts")


@dataclass(frozen=True)
class SramFigure:
    """One memory at one port width.

    Attributes
    ----------
    read_picojoules, write_picojoules : float
        One access of the full port width.
    square_millimetres : float
        All banks.
    leakage_milliwatts : float or None
        All banks, clocked or not; None at a node the figures were carried over to.
    basis : str
        ``point`` of the table, ``interpolated`` between points, or ``extrapolated`` beyond them.
    """

    read_picojoules: float
    write_picojoules: float
    square_millimetres: float
    leakage_milliwatts: float | None
    basis: str


@dataclass(frozen=True)
class SramRow:
    """Memories of one capacity; every tuple has an entry a port width.

    Parameters
    ----------
    capacity_bytes : int
        All banks together.
    port_bits : tuple of int
        Widths of the read and of the write port, ascending; at least two.
    read_picojoules, write_picojoules, square_millimetres, leakage_milliwatts : tuple of float
        See `SramFigure`.
    """

    capacity_bytes: int
    port_bits: tuple[int, ...]
    read_picojoules: tuple[float, ...]
    write_picojoules: tuple[float, ...]
    square_millimetres: tuple[float, ...]
    leakage_milliwatts: tuple[float, ...]

    def __post_init__(self) -> None:
        integer("sram.rows.capacity_bytes", self.capacity_bytes, 16, 1 << 30)
        ports = self.port_bits
        if len(ports) < 2 or list(ports) != sorted(set(ports)) or ports[0] < 1:
            raise InputError(
                "process", "sram.rows.port_bits", list(ports), "two or more, ascending"
            )
        for name in _COLUMNS:
            values = getattr(self, name)
            if len(values) != len(ports):
                allowed = f"{len(ports)} values, one a port width"
                raise InputError("process", f"sram.rows.{name}", len(values), allowed)
            for value in values:
                if not isfinite(value) or not 0 < value <= 1e9:
                    raise InputError("process", f"sram.rows.{name}", value, "above 0, to 1e9")

    def at(self, port_bits: int) -> tuple[tuple[float, ...], str]:
        """The four figures at a port width, piecewise linear, and their basis."""
        ports = self.port_bits
        if port_bits in ports:
            index = ports.index(port_bits)
            return tuple(getattr(self, name)[index] for name in _COLUMNS), "point"
        inside = ports[0] < port_bits < ports[-1]
        wider = [i for i, bits in enumerate(ports) if i and bits > port_bits]
        upper = wider[0] if wider else len(ports) - 1
        share = (port_bits - ports[upper - 1]) / (ports[upper] - ports[upper - 1])
        # Beyond the points: no wider port is cheaper than the widest of the table, and no narrower
        # one cheaper than in proportion to its width.
        floor = 0.0 if inside else min(1.0, port_bits / ports[0])
        figures = []
        for name in _COLUMNS:
            values = getattr(self, name)
            low, high = values[upper - 1], values[upper]
            end = values[-1] if share > 1 else values[0]
            figures.append(max(low + share * (high - low), floor * end))
        return tuple(figures), "interpolated" if inside else "extrapolated"


@dataclass(frozen=True)
class SramTable:
    """Memories with one read and one write port, each built of equal banks that all switch.

    Parameters
    ----------
    nanometres, volts, kelvin : float
        Node, supply of the periphery and temperature of the figures.
    banks : int
        Banks side by side; a bank's port is the memory's divided by this.
    cell : str
        Transistors of cells and periphery.
    source : str
        Where the numbers come from.
    rows : tuple of SramRow
        Ascending capacity, at least two.
    scaled_from : str
        Empty, or the node the figures were carried over from.
    """

    nanometres: float
    volts: float
    kelvin: float
    banks: int
    cell: str
    source: str
    rows: tuple[SramRow, ...]
    scaled_from: str = ""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("nanometres", NODES[0], NODES[-1]),
            ("volts", 0.5, 1.2),
            ("kelvin", 200, 500),
        ):
            if not low <= getattr(self, name) <= high:
                allowed = f"a number from {low} to {high}"
                raise InputError("process", f"sram.{name}", getattr(self, name), allowed)
        integer("sram.banks", self.banks, 1, 1024)
        text("sram.cell", self.cell)
        if not self.source:
            raise InputError("process", "sram.source", self.source, "where the figures come from")
        capacities = [row.capacity_bytes for row in self.rows]
        if len(capacities) < 2 or capacities != sorted(set(capacities)):
            raise InputError("process", "sram.rows", capacities, "two or more, ascending capacity")

    def figure(self, capacity_bytes: int, port_bits: int) -> SramFigure:
        """Energy, area and leakage of a memory.

        Exact at the points of the table, piecewise linear in the port width, and a straight line
        in log-log between two capacities or beyond the last two. A port is never wider than the
        memory. One that is wider than all the table has at such a capacity is that of several
        memories side by side, each with a port as wide as the smallest memory's widest.

        Parameters
        ----------
        capacity_bytes : int
            At least 1.
        port_bits : int
            At least 1.
        """
        if capacity_bytes < 1 or port_bits < 1:
            raise ValueError(f"at least 1 byte and 1 bit, not {capacity_bytes}, {port_bits}")
        port_bits = min(port_bits, 8 * capacity_bytes)
        rows = self.rows
        widest = max((row for row in rows if row.capacity_bytes <= capacity_bytes),
                     default=rows[0], key=lambda row: row.capacity_bytes).port_bits[-1]  # fmt: skip
        if port_bits > widest:
            parts = 1 << ceil(log2(port_bits / rows[0].port_bits[-1]))
            if parts > 1:
                return self._side_by_side(capacity_bytes, port_bits, parts)
        exact = [row for row in rows if row.capacity_bytes == capacity_bytes]
        if exact:
            figures, basis = exact[0].at(port_bits)
            return self._figure(figures, basis)
        sizes = [row.capacity_bytes for row in rows]
        inside = sizes[0] < capacity_bytes < sizes[-1]
        larger = [i for i, size in enumerate(sizes) if i and size > capacity_bytes]
        upper = larger[0] if larger else len(sizes) - 1
        share = log(capacity_bytes / sizes[upper - 1]) / log(sizes[upper] / sizes[upper - 1])
        (below, first), (above, second) = rows[upper - 1].at(port_bits), rows[upper].at(port_bits)
        pairs = zip(below, above, strict=True)
        values = [exp((1 - share) * log(low) + share * log(high)) for low, high in pairs]
        within = inside and "extrapolated" not in (first, second)
        return self._figure(values, "interpolated" if within else "extrapolated")

    def _side_by_side(self, capacity_bytes: int, port_bits: int, parts: int) -> SramFigure:
        part = self.figure(ceil(capacity_bytes / parts), ceil(port_bits / parts))
        leakage = part.leakage_milliwatts
        return SramFigure(
            parts * part.read_picojoules,
            parts * part.write_picojoules,
            parts * part.square_millimetres,
            None if leakage is None else parts * leakage,
            "extrapolated",  # whatever the parts are: no such port was measured
        )

    def _figure(self, values: Sequence[float], basis: str) -> SramFigure:
        read, write, area, leakage = values
        return SramFigure(read, write, area, None if self.scaled_from else leakage, basis)

    def scaled(
        self, nanometres: float, volts: float, energy: float, area: float, scaled_from: str
    ) -> "SramTable":
        """The table with its energies and areas multiplied; its figures have no leakage."""
        rows = tuple(
            dataclasses.replace(
                row,
                read_picojoules=tuple(energy * value for value in row.read_picojoules),
                write_picojoules=tuple(energy * value for value in row.write_picojoules),
                square_millimetres=tuple(area * value for value in row.square_millimetres),
            )
            for row in self.rows
        )
        return dataclasses.replace(
            self, nanometres=nanometres, volts=volts, rows=rows, scaled_from=scaled_from
        )

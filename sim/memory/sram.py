"""On-chip memory: usable capacity, ports, banks, and what two streams at once cost.

One stream reads and one writes, each in ascending order; words are dealt to banks in turn, so word
w lies in bank w mod banks. A bank with a read and a write port (``1r1w``, as the RTL's
``silicast_ram``) serves both in a cycle, a bank with one port (``1rw``) serves one of them.
"""

from dataclasses import dataclass

__all__ = ["SramGeometry", "conflict_cycles", "usable_bytes"]

_PORTS = ("1r1w", "1rw")


@dataclass(frozen=True)
class SramGeometry:
    """Shape of one buffer.

    Parameters
    ----------
    banks : int
        Equal banks, at least 1.
    ports : str
        Ports of a bank: ``1r1w`` or ``1rw``.
    """

    banks: int
    ports: str

    def __post_init__(self) -> None:
        if self.ports not in _PORTS:
            raise ValueError(f"ports must be one of {', '.join(_PORTS)}, not {self.ports!r}")
        if self.banks < 1:
            raise ValueError(f"banks must be at least 1, not {self.banks!r}")


def usable_bytes(capacity_bytes: int, double_buffered: bool) -> int:
    """Bytes one tile may take: all of a buffer, or half of it when the next one loads meanwhile.

    Parameters
    ----------
    capacity_bytes : int
        Of the buffer.
    double_buffered : bool
        One half is filled while the other is read.
    """
    if capacity_bytes < 0:
        raise ValueError(f"capacity_bytes must be at least 0, not {capacity_bytes!r}")
    return capacity_bytes // 2 if double_buffered else capacity_bytes


def conflict_cycles(
    reads: int,
    writes: int,
    geometry: SramGeometry,
    double_buffered: bool = False,
    write_interval: int = 1,
    bank_offset: int = 0,
) -> int:
    """Cycles by which conflicts delay the later of a reading and a writing stream.

    The reader asks for a word every cycle from cycle 0, the writer brings word k in cycle
    ``k * write_interval``; without conflicts the two end after
    ``max(reads, (writes - 1) * write_interval + 1)`` cycles. In a bank with one port the write
    goes first if there is only that bank, otherwise the read: the write then finds its bank free a
    cycle later.

    Parameters
    ----------
    reads, writes : int
        Words of each stream, at least 0.
    geometry : SramGeometry
        Banks and ports.
    double_buffered : bool
        The streams work on halves of the buffer. With two banks or more the halves are different
        banks and never meet; a single bank is shared all the same.
    write_interval : int
        Cycles from one write to the next, at least 1: memory is often slower than the buffer.
    bank_offset : int
        Bank of the first write less bank of the first read; 0 is the worst case.

    Returns
    -------
    int
        At least 0.

    Notes
    -----
    One bank: its port never rests while there is work, so the end is
    ``max(reads + writes, last + 1)`` with ``last = (writes - 1) * write_interval``.

    Several banks, a write every cycle: the streams step from bank to bank together, so they meet
    in all cycles or in none; after one cycle of waiting they are a bank apart and never meet
    again. Only a writer that is the last to end makes that cycle show.

    Several banks, writes further apart: a write that meets the read waits one cycle, in which the
    reader moves on, and is done before the next write comes. Only the last write can end later
    than it would have, when it comes in the reader's last cycle and meets it.

    Examples
    --------
    >>> conflict_cycles(100, 40, SramGeometry(1, "1rw"))
    40
    >>> conflict_cycles(100, 40, SramGeometry(4, "1rw"))
    0
    """
    if reads < 0 or writes < 0 or write_interval < 1:
        raise ValueError(
            "reads and writes of at least 0 and a write_interval of at least 1, not "
            f"{reads!r}, {writes!r}, {write_interval!r}"
        )
    if geometry.ports == "1r1w" or not reads or not writes:
        return 0
    last = (writes - 1) * write_interval
    if geometry.banks == 1:
        return max(reads + writes, last + 1) - max(reads, last + 1)
    if double_buffered:
        return 0
    if write_interval == 1:
        return int(bank_offset % geometry.banks == 0 and writes >= reads)
    meets = (bank_offset + writes - 1 - last) % geometry.banks == 0
    return int(last == reads - 1 and meets)

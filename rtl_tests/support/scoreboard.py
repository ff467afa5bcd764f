"""Expected against found, in order."""

from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Scoreboard", "lanes"]


def lanes(value: int, bits: int, count: int, *, signed: bool = True) -> list[int]:
    """``count`` lanes of ``bits`` bits, lowest first."""
    found = []
    for _ in range(count):
        lane = value & (1 << bits) - 1
        found.append(lane - (1 << bits) if signed and lane >> (bits - 1) else lane)
        value >>= bits
    return found


class Scoreboard:
    """Compares what arrives with a queue that the reference model fills.

    Parameters
    ----------
    name : str
        For messages.
    lane_bits : int, optional
        Width of a lane: a mismatch of integers then names the first wrong lane.
    decode : callable, optional
        Turns a value into something readable for a mismatch.
    """

    def __init__(
        self,
        name: str,
        *,
        lane_bits: int | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name
        self.lane_bits = lane_bits
        self.decode = decode
        self.expected: deque[Any] = deque()
        self.compared = 0

    def expect(self, value: Any) -> None:
        """Queue the next value."""
        self.expected.append(value)

    def found(self, value: Any) -> None:
        """Compare the next value; AssertionError when it is not the one expected."""
        assert self.expected, f"{self.name} {self.compared}: {self._show(value)} was not expected"
        wanted = self.expected.popleft()
        if value != wanted:
            raise AssertionError(f"{self.name} {self.compared}: {self._difference(value, wanted)}")
        self.compared += 1

    def finish(self) -> None:
        """Nothing is missing, and something was compared."""
        assert not self.expected, f"{self.name}: {len(self.expected)} did not arrive"
        assert self.compared, f"{self.name}: nothing was compared"

    def _difference(self, found: Any, wanted: Any) -> str:
        if self.lane_bits and isinstance(found, int) and isinstance(wanted, int):
            count = -(-max(found.bit_length(), wanted.bit_length()) // self.lane_bits)
            pairs = zip(
                lanes(found, self.lane_bits, count),
                lanes(wanted, self.lane_bits, count),
                strict=True,
            )
            mask = (1 << self.lane_bits) - 1
            for lane, (got, want) in enumerate(pairs):
                if got != want:
                    return (
                        f"lane {lane}: found {got & mask:#x} = {got}, "
                        f"expected {want & mask:#x} = {want}"
                    )
        return f"found {self._show(found)}, expected {self._show(wanted)}"

    def _show(self, value: Any) -> str:
        shown = f"{value:#x}" if isinstance(value, int) else str(value)
        return f"{shown} = {self.decode(value)}" if self.decode else shown

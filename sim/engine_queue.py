"""The queue between dispatch and one engine of the timeline."""

from collections import deque
from dataclasses import dataclass, field

from mapping.instruction import Instruction

__all__ = ["EngineQueue"]


@dataclass(slots=True)
class EngineQueue:
    """When the instructions of one engine are visible to it, and were accepted by it.

    Attributes
    ----------
    depth : int
        Instructions the queue holds.
    visible : deque of int
        Cycle from which each waiting instruction is seen by the engine.
    waiting : deque of Instruction
        Dispatched and not yet accepted.
    accepted : list of int
        Cycle in which each instruction was accepted.
    dispatched : int
        Instructions put into the queue so far.
    """

    depth: int
    visible: deque[int] = field(default_factory=deque)
    waiting: deque[Instruction] = field(default_factory=deque)
    accepted: list[int] = field(default_factory=list)
    dispatched: int = 0

    def room(self) -> int | None:
        """First cycle with room for one more instruction, None while that is not known."""
        index = self.dispatched - self.depth
        if index < 0:
            return 0
        return self.accepted[index] + 1 if index < len(self.accepted) else None

    def push(self, instruction: Instruction, cycle: int) -> None:
        """Dispatch an instruction in a cycle."""
        self.waiting.append(instruction)
        self.visible.append(cycle + 1)
        self.dispatched += 1

    def pop(self, cycle: int) -> Instruction:
        """Accept the first instruction in a cycle."""
        self.accepted.append(cycle)
        self.visible.popleft()
        return self.waiting.popleft()

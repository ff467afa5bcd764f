"""Registers of a pipeline that holds as a whole: a value in every stage, or one an enable."""

from itertools import pairwise
from typing import Any

from amaranth.hdl import Module, Signal, Value

__all__ = ["Stages"]


class Stages:
    """Chains of registers in a module.

    Parameters
    ----------
    module : Module
        Gets the registers, in its domain ``sync``.
    advance : Signal
        The pipeline moves in this cycle.
    """

    def __init__(self, module: Module, advance: Signal) -> None:
        self._m, self._advance = module, advance

    def travelling(
        self,
        name: str,
        value: Any,
        last: int,
        first: int = 0,
        *,
        data: bool = True,
        shape: Any = 1,
    ) -> dict[int, Any]:
        """Registers of stages ``first`` to ``last``, by stage; each follows the one before.

        Those that say whether something is there (no ``data``) are reset.
        """
        stages = range(first, last + 1)
        chain = {i: Signal(shape, name=f"{name}_{i}", reset_less=data) for i in stages}
        with self._m.If(self._advance):
            self._m.d.sync += chain[first].eq(value)
            self._m.d.sync += [chain[new].eq(chain[old]) for old, new in pairwise(stages)]
        return chain

    def held(self, name: str, value: Value, enables: list, first: int = 0) -> list[Signal]:
        """Registers that follow each other, each when its enable is set; from stage ``first``."""
        chain = []
        for stage, enable in enumerate(enables, first):
            register = Signal(len(value), name=f"{name}_{stage}", reset_less=True)
            with self._m.If(enable):
                self._m.d.sync += register.eq(value)
            chain.append(value := register)
        return chain

"""Components that a design has many of, written to the Verilog once.

Amaranth makes a module of every instance of a component. A unit of 32 columns has 32 equal ones
then, which makes its Verilog long to write, to read and to compile. `shared` puts an instance of
one module in the place of each; `hwgen.verilog` adds the module's text.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from amaranth.hdl import ClockSignal, Elaboratable, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["Collection", "collecting", "shared"]

_MODULE = re.compile(r"^module\s+(\w+)", re.MULTILINE)


class Collection:
    """Shared modules of a design, by what they were made from.

    Parameters
    ----------
    prefix : str
        In front of the modules' names.
    convert : callable
        Verilog of a component under a module name.
    ports : callable
        Names of the ports of a module in its text.

    Attributes
    ----------
    texts : list of str
        Verilog of each shared module, in the order they were first finished.
    """

    def __init__(
        self,
        prefix: str,
        convert: Callable[[Elaboratable, str], str],
        ports: Callable[[str, str], set[str]],
    ) -> None:
        self._prefix, self._convert, self._ports = prefix, convert, ports
        self._components: dict[tuple, wiring.Component] = {}
        self._made: dict[tuple, tuple[str, set[str]]] = {}
        self.texts: list[str] = []

    def component(self, key: tuple) -> wiring.Component:
        """The one component that stands for all that are made from the same."""
        if key not in self._components:
            self._components[key] = _made(key)
        return self._components[key]

    def module(self, key: tuple) -> tuple[str, set[str]]:
        """Name and ports of the module of a component; its text is written at the first call."""
        if key not in self._made:
            kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in key[0].__name__)
            # the name alone tells modules apart: classes of equal names are numbered together
            same = sum(other[0].__name__ == key[0].__name__ for other in self._made)
            name = f"{self._prefix}{kind}" + (f"_{same + 1}" if same else "")
            self._made[key] = name, set()  # the name is taken, whatever the component shares
            text = self._convert(self.component(key), name)
            self._made[key] = name, self._ports(text, name)
            self.texts.append(text)
        return self._made[key]

    def whole(self, top: str) -> list[str]:
        """The texts of a design: that of the top, then those of the shared modules.

        Raises
        ------
        AssertionError
            Two of them define a module of the same name.
        """
        texts = [top, *self.texts]
        found = Counter(name for text in texts for name in _MODULE.findall(text))
        twice = sorted(name for name, count in found.items() if count > 1)
        assert not twice, f"modules defined more than once: {', '.join(twice)}"
        return texts


def _made(key: tuple) -> wiring.Component:
    kind, arguments, named = key
    return kind(*arguments, **dict(named))


_CURRENT: ContextVar[Collection | None] = ContextVar("_CURRENT", default=None)


@contextmanager
def collecting(collection: Collection) -> Iterator[Collection]:
    """While active, shared components become instances of modules in ``collection``."""
    token = _CURRENT.set(collection)
    try:
        yield collection
    finally:
        _CURRENT.reset(token)


class _Shared(Elaboratable):
    """The place of a shared component: its ports, and an instance behind them."""

    def __init__(self, key: tuple, component: wiring.Component) -> None:
        self._key, self._component = key, component
        ports = component.signature.create()
        for name in component.signature.members:
            setattr(self, name, getattr(ports, name))

    def __getattr__(self, name: str) -> Any:
        # ports are attributes of the place itself; everything else is asked of the component
        return getattr(self.__dict__["_component"], name)

    def elaborate(self, platform):
        component, signature = self._component, self._component.signature
        places = {_port(path): value for path, _, value in signature.flatten(self)}
        flows = {_port(path): member.flow for path, member, _ in signature.flatten(self)}
        collection = _CURRENT.get()
        if collection is None:  # an Amaranth simulation: the component itself
            m = Module()
            m.submodules.component = component
            for path, _, pin in signature.flatten(component):
                ends = Value.cast(pin), Value.cast(places[_port(path)])
                target, source = ends if flows[_port(path)] == In else ends[::-1]
                m.d.comb += target.eq(source)
            return m
        module, ports = collection.module(self._key)
        pins: dict[str, Any] = {}
        for name in ports & places.keys():
            way = "i" if flows[name] == In else "o"
            pins[f"{way}_{name}"] = Value.cast(places[name])
        if "clk" in ports:
            pins["i_clk"] = ClockSignal()
        if "rst" in ports:
            pins["i_rst"] = ResetSignal()
        return Instance(module, **dict(sorted(pins.items())))


def _port(path: tuple[str | int, ...]) -> str:
    return "__".join(map(str, path))


def shared(kind: type[wiring.Component], *arguments: Any, **named: Any) -> Any:
    """A component that many equal ones share a Verilog module with.

    Parameters
    ----------
    kind : type of Component
    *arguments, **named : hashable
        What the component is made from; those of equal arguments are equal.

    Returns
    -------
    Elaboratable
        With the ports and the attributes of ``kind(*arguments, **named)``.
    """
    key = kind, arguments, tuple(sorted(named.items()))
    collection = _CURRENT.get()
    return _Shared(key, _made(key) if collection is None else collection.component(key))

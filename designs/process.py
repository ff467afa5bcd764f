"""Logic processes: energy and area of processing elements, SRAM and links, each with its source.

A file of designs/technology/process gives figures as they were published, each at its own node and
supply; what is needed at another node is carried over by the rule of `designs.scaling` and marked.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from designs.elements import Constant, Element, Link, LogicLeakage, carried, node, number
from designs.errors import InputError
from designs.scaling import NODES, NOMINAL_VOLTS, area_factor, energy_factor
from designs.sram import SramTable
from designs.tables import named_file, parse_toml, structure

__all__ = [
    "Constant",
    "Element",
    "Link",
    "LogicLeakage",
    "Process",
    "load_process",
    "process_names",
    "scaled",
]

_LIBRARY = Path(__file__).parent / "technology" / "process"

_LEAKAGE_UNSCALED = "the scaling rule has none; figures with leakage are those of 28nm and 45nm"


@dataclass(frozen=True)
class _File:
    """A process file: whole, or a node whose elements are those of another file."""

    description: str
    nanometres: float
    volts: float
    elements: tuple[Element, ...] = ()
    sram: SramTable | None = None
    leakage: LogicLeakage | None = None
    link: Link | None = None
    not_modelled: dict[str, str] = field(default_factory=dict)
    elements_of: str | None = None
    scaled_from: str | None = None

    def __post_init__(self) -> None:
        node("", self.nanometres, self.volts)
        if self.scaled_from is not None and (self.sram or self.elements or self.elements_of):
            allowed = "no elements and no sram beside it"
            raise InputError("process", "scaled_from", self.scaled_from, allowed)
        if self.scaled_from is None and self.sram is None:
            raise InputError("process", "sram", None, "a table, or scaled_from")


@dataclass(frozen=True)
class Process:
    """A node: what its elements, memories and links cost.

    Attributes
    ----------
    name, description : str
    nanometres, volts : float
        Node and supply of the logic.
    elements : tuple of Element
        As published; `element` carries them over to the node.
    sram : SramTable
    leakage : LogicLeakage or None
        None: neither logic nor SRAM leakage is modelled.
    link : Link or None
    not_modelled : mapping of str to str
        What the figures leave out, and why.
    """

    name: str
    description: str
    nanometres: float
    volts: float
    elements: tuple[Element, ...]
    sram: SramTable
    leakage: LogicLeakage | None
    link: Link | None
    not_modelled: dict[str, str]

    def element(self, name: str, field: str = "unit.pe") -> Element:
        """An element at this node.

        Parameters
        ----------
        name : str
            As in the process file.
        field : str
            What an error calls it: the field of the design file that names it.

        Raises
        ------
        InputError
            There is no such element.
        """
        for element in self.elements:
            if element.name == name:
                return element.at(self.nanometres, self.volts)
        names = ", ".join(sorted(element.name for element in self.elements))
        raise InputError("design", field, name, f"an element of process {self.name}: {names}")

    def provenance(
        self,
        elements: Iterable[str] | None = None,
        srams: Iterable[tuple[int, int]] | None = None,
    ) -> list[Constant]:
        """Every number behind a result, or those of some elements and memories.

        Parameters
        ----------
        elements : iterable of str, optional
            Names; all elements when left out.
        srams : iterable of (int, int), optional
            Capacity in bytes and port width in bits; every point of the table when left out.
        """
        names = [element.name for element in self.elements] if elements is None else list(elements)
        constants = [c for name in names for c in self._element_constants(self.element(name))]
        if srams is None:
            srams = [(row.capacity_bytes, bits) for row in self.sram.rows for bits in row.port_bits]
        for capacity, bits in srams:
            constants += self._sram_constants(capacity, bits)
        if self.leakage is not None:
            same = self.leakage.nanometres == self.nanometres
            constants.append(
                Constant(
                    "leakage.logic",
                    self.leakage.milliwatts_per_square_millimetre,
                    "mW/mm2",
                    self.leakage.nanometres,
                    None,
                    self.leakage.source,
                    "" if same else f"used unchanged at {self.nanometres:g} nm",
                )
            )
        if self.link is not None:
            constants.append(
                Constant(
                    "link.energy",
                    self.link.picojoules_per_bit,
                    "pJ/bit",
                    self.link.nanometres,
                    None,
                    self.link.source,
                )
            )
        return constants

    @staticmethod
    def _element_constants(element: Element) -> list[Constant]:
        where = (element.nanometres, element.volts, element.source, element.scaled_from)
        return [
            Constant(f"element.{element.name}.energy", element.picojoules, "pJ/cycle", *where),
            Constant(f"element.{element.name}.area", element.square_micrometres, "um2", *where),
        ]

    def _sram_constants(self, capacity: int, bits: int) -> list[Constant]:
        figure = self.sram.figure(capacity, bits)
        notes = [f"from {self.sram.scaled_from}"] if self.sram.scaled_from else []
        notes += [f"{figure.basis} in the table"] if figure.basis != "point" else []
        where = (self.sram.nanometres, self.sram.volts, self.sram.source, "; ".join(notes))
        name = f"sram.{capacity}B.{bits}b"
        constants = [
            Constant(f"{name}.read", figure.read_picojoules, "pJ/access", *where),
            Constant(f"{name}.write", figure.write_picojoules, "pJ/access", *where),
            Constant(f"{name}.area", figure.square_millimetres, "mm2", *where),
        ]
        if self.leakage is not None and figure.leakage_milliwatts is not None:
            constants.append(Constant(f"{name}.leakage", figure.leakage_milliwatts, "mW", *where))
        return constants


def scaled(
    process: Process, nanometres: float, volts: float | None = None, name: str | None = None
) -> Process:
    """A process carried over to another node by the rule of `designs.scaling`.

    Elements are carried over from the node they were published at; SRAM with the factors of logic,
    although bit cells shrink less than logic does. Leakage has no rule and is left out.

    Parameters
    ----------
    process : Process
    nanometres : float
        7 to 90.
    volts : float, optional
        Supply; that of the rule's transistor models where it is left out (`NOMINAL_VOLTS`).
    name : str, optional
        ``16nm`` and so on where it is left out.

    Raises
    ------
    InputError
        The node is outside the rule, or the supply is needed.
    """
    number("nanometres", nanometres, NODES[0], NODES[-1])
    if volts is None:
        if nanometres not in NOMINAL_VOLTS:
            known = ", ".join(str(node) for node in NOMINAL_VOLTS)
            raise InputError("process", "volts", None, f"a supply, except at {known} nm")
        volts = NOMINAL_VOLTS[int(nanometres)]
    node("", nanometres, volts)
    sram = process.sram
    energy = energy_factor(sram.nanometres, sram.volts, nanometres, volts)
    area = area_factor(sram.nanometres, nanometres)
    origin = carried(sram.nanometres, sram.volts, energy, area)
    return Process(
        name=name or f"{nanometres:g}nm",
        description=f"{process.name} carried over to {nanometres:g} nm, {volts:g} V",
        nanometres=nanometres,
        volts=volts,
        elements=process.elements,
        sram=sram.scaled(nanometres, volts, energy, area, origin),
        leakage=None,
        link=process.link,
        not_modelled={**process.not_modelled, "leakage": _LEAKAGE_UNSCALED},
    )


def process_names() -> list[str]:
    """Names of the processes that ship with silicast, sorted."""
    return sorted(path.stem for path in _LIBRARY.glob("*.toml"))


def load_process(name: str) -> Process:
    """A process by name, or a TOML file by path.

    Raises
    ------
    InputError
        There is no such process, or its file is wrong.
    """
    return _process(*named_file(_LIBRARY, str(name), "silicon.process"), 0)


@cache
def _process(content: str, where: str, depth: int) -> Process:
    file = structure(parse_toml(content, where), _File, where)
    stem = Path(where).stem
    if depth > 4:
        raise InputError(where, "elements_of", stem, "files that do not name each other")
    if file.scaled_from is not None:
        base = _base(file.scaled_from, "scaled_from", depth)
        made = scaled(base, file.nanometres, file.volts, stem)
        return dataclasses.replace(made, description=file.description)
    elements, link = file.elements, file.link
    left_out = dict(file.not_modelled)
    if file.elements_of is not None:
        base = _base(file.elements_of, "elements_of", depth)
        own = {element.name for element in elements}
        elements += tuple(element for element in base.elements if element.name not in own)
        left_out = {**base.not_modelled, **left_out}
        link = link or base.link
    names = [element.name for element in elements]
    twice = sorted(name for name in set(names) if names.count(name) > 1)
    if twice:
        raise InputError(where, "elements.name", twice[0], "every name once")
    for element in elements:
        if element.encoder and element.encoder not in names:
            field = f"elements.{element.name}.encoder"
            raise InputError(where, field, element.encoder, f"one of: {', '.join(sorted(names))}")
    assert file.sram is not None  # checked by _File
    if file.leakage is None:
        left_out.setdefault("leakage", "the process file gives none")
    return Process(
        name=stem,
        description=file.description,
        nanometres=file.nanometres,
        volts=file.volts,
        elements=elements,
        sram=file.sram,
        leakage=file.leakage,
        link=link,
        not_modelled=left_out,
    )


def _base(name: str, field: str, depth: int) -> Process:
    content, where = named_file(_LIBRARY, name, f"process {field}")
    return _process(content, where, depth + 1)

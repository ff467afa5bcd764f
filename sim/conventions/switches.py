"""Switches between silicast's physical defaults and the way a publication counted."""

from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import cattrs

from designs.checks import text
from designs.errors import InputError
from designs.spec import Design
from designs.tables import WrongType, converter, named_file, parse_toml, structure

__all__ = ["PHYSICAL", "Conventions", "list_conventions", "load_conventions"]

_FOLDER = Path(__file__).parent
_CHOICES = {
    "lm_head_rows": ("last", "all"),
    "decode_context": ("growing", "fixed"),
    "overlap": ("double_buffered", "perfect"),
    "memory": ("technology", "peak"),
    "buffer_share": ("half", "whole"),
    "buffers_hold": ("product", "operator"),
    "array_shape": ("fastest", "phase"),
    "port_width": ("code", "stored"),
    "products": ("program", "array"),
}


@dataclass(frozen=True)
class Conventions:
    """How cycles, traffic and energy are counted; the defaults are the physical ones.

    Parameters
    ----------
    name, description : str
        What reports call it; where it is taken from.
    lm_head_rows : str
        ``last``: a prefill computes the logits of the last position of each sequence; ``all``:
        of every token.
    decode_context : str
        ``growing``: each decode pass sees one position more; ``fixed``: every pass sees exactly
        the context before the first one.
    causal : bool
        A token of a prefill attends to itself and what is before it; else to the whole prompt.
    sliding_windows : bool
        A layer with a sliding window attends to its window; else to the whole context.
    vector_operators : bool
        Norms, softmax, RoPE, activation functions, adds, multiplies, embedding and appending to
        the cache cost cycles, traffic and energy; else nothing.
    scores_on_chip : bool
        Scores stay in the activation buffer where a block of rows fits; else they are written to
        DRAM and read back.
    mixed_sequences : bool
        Tokens of different sequences of a batch share tiles in a prefill.
    overlap : str
        ``double_buffered``: first load, last store and the unit's latency are exposed;
        ``perfect``: an operator takes the longer of compute and memory.
    memory : str
        ``technology``: refresh, rows and turnaround of the DRAM; ``peak``: every cycle of the bus
        carries data.
    memory_limit : bool
        A model that does not fit the design's DRAM is refused, or its rest read from flash.
    buffer_share : str
        ``half``: of each on-chip buffer, the other half is being filled; ``whole``.
    buffers_hold : str
        What is compared with the buffers to see how often operands are read: those of one
        ``product`` (head, expert), or of the whole ``operator``.
    array_shape : str
        Of an array with two shapes: ``fastest`` for the operator, or the one of the ``phase``.
    port_width : str
        Buffer ports are wide enough for whole nibbles of the ``code``, or of the code and its
        share of the group's scale (``stored``).
    group_bits : int
        Bits a group stores beside its codes; 0: what the number format says.
    channel_scale : bool
        The scale of each output feature is stored.
    output_reads : bool
        Results are read from the on-chip buffer once when they are stored.
    leakage, background, encoder : bool
        Energy of leakage, of DRAM standby and refresh, and of the encoders beside the elements.
    array_overhead : float
        Factor on the energy of the elements.
    dram_pj_per_bit : float
        Energy of DRAM; 0: what the technology says.
    pe_picojoules : dict of str to float
        Energy a cycle of an element, by the name of the design or else of the element; those not
        named keep the process file's.
    products : str
        Products of a unit with RTL whose design has an ``[array]`` table: ``program``: linear
        layers are compiled, and their programs run on the timeline; ``array``: the design has that
        array instead of the unit, in everything.
    """

    name: str = "physical"
    description: str = "silicast's physical defaults"
    lm_head_rows: str = "last"
    decode_context: str = "growing"
    causal: bool = True
    sliding_windows: bool = True
    vector_operators: bool = True
    scores_on_chip: bool = True
    mixed_sequences: bool = True
    overlap: str = "double_buffered"
    memory: str = "technology"
    memory_limit: bool = True
    buffer_share: str = "half"
    buffers_hold: str = "product"
    array_shape: str = "fastest"
    port_width: str = "code"
    group_bits: int = 0
    channel_scale: bool = True
    output_reads: bool = True
    leakage: bool = True
    background: bool = True
    encoder: bool = True
    array_overhead: float = 1.0
    dram_pj_per_bit: float = 0.0
    pe_picojoules: dict[str, float] = field(default_factory=dict)
    products: str = "program"

    def __post_init__(self) -> None:
        text("name", self.name)
        text("description", self.description)
        for switch, allowed in _CHOICES.items():
            if getattr(self, switch) not in allowed:
                raise InputError("conventions", switch, getattr(self, switch), " or ".join(allowed))
        if not 0 <= self.group_bits <= 1024:
            found = self.group_bits
            raise InputError("conventions", "group_bits", found, "an integer from 0 to 1024")
        if not 0 <= self.dram_pj_per_bit <= 1e6:
            value = self.dram_pj_per_bit
            raise InputError("conventions", "dram_pj_per_bit", value, "a number from 0 to 1e6")
        if not 0 < self.array_overhead <= 1e6:
            raise InputError(
                "conventions", "array_overhead", self.array_overhead, "above 0, to 1e6"
            )
        for name, value in self.pe_picojoules.items():
            if not 0 < value <= 1e6:
                raise InputError("conventions", f"pe_picojoules.{name}", value, "above 0, to 1e6")

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.pe_picojoules.items()))))

    def element_picojoules(self, design: str, element: str) -> float | None:
        """Energy of an element a cycle; None: what the process file says."""
        return self.pe_picojoules.get(design, self.pe_picojoules.get(element))

    def seen(self, design: Design) -> Design:
        """The design that is simulated: with its published array where ``products`` says so."""
        return design.as_published() if self.products == "array" else design

    def changed(self) -> tuple[str, ...]:
        """Switches that differ from the physical defaults, in the order of the fields."""
        names = (f.name for f in fields(self) if f.name not in ("name", "description"))
        return tuple(n for n in names if getattr(self, n) != getattr(PHYSICAL, n))


PHYSICAL = Conventions()
"""What holds without ``--conventions``."""


@cache
def _reader() -> cattrs.Converter:
    def numbers(value: Any, _: Any) -> dict[str, float]:
        if not isinstance(value, dict):
            raise WrongType(value, "a table of numbers")
        for item in value.values():
            if isinstance(item, bool) or not isinstance(item, int | float):
                raise WrongType(item, "a number")
        return {key: float(item) for key, item in value.items()}

    made = converter()
    made.register_structure_hook_func(lambda cls: cls == dict[str, float], numbers)
    return made


def list_conventions() -> tuple[str, ...]:
    """Names of the files that ship with silicast, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_conventions(name: str) -> Conventions:
    """A file of switches by name, or by path when it ends in ``.toml``.

    Raises
    ------
    InputError
        There is no such file, or a switch is unknown or has another type or range.
    """
    content, where = named_file(_FOLDER, name, "--conventions")
    table = parse_toml(content, where)
    for required in ("name", "description"):
        if required not in table:
            raise InputError(where, required, None, "a value; the field is required")
    made = structure(table, Conventions, where, _reader())
    if made.name == PHYSICAL.name:
        allowed = "another name; this one stands for counting without --conventions"
        raise InputError(where, "name", made.name, allowed)
    return made

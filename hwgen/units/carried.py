"""Numbers in two parts, ``value + carry``: the carry is the 1 that ends a negation.

Negating is inverting and adding 1; the 1 is left to the next adder, whose carry input is free. A
tree of n numbers has one adder less than carries: the last one goes on beside the sum, fills the
places that a shift vacates, and enters the adder of an accumulator, where the two amount to it,
shifted.
"""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Mux, Signal, Value, signed

from designs.units.lut import tree_stages

__all__ = ["Carried", "adder_tree", "carried_sum", "registered", "shifted"]


class Carried(NamedTuple):
    """``value + carry``; a carry of no bits is 0."""

    value: Value
    carry: Value


def carried_sum(value, term: Carried):
    """``value + term`` with the carry on the adder's carry input: a place below the lowest."""
    if not len(term.carry):
        return value + term.value
    left = Cat(Const(1, 1), value).as_signed()
    right = Cat(term.carry, term.value).as_signed()
    return (left + right)[1:].as_signed()


def registered(m, name: str, term: Carried, enable) -> Carried:
    """The term in registers ``name`` and ``name_carry``."""
    value = Signal(signed(len(term.value)), name=name, reset_less=True)
    with m.If(enable):
        m.d.sync += value.eq(term.value)
    if not len(term.carry):
        return Carried(value, term.carry)
    carry = Signal(name=f"{name}_carry", reset_less=True)
    with m.If(enable):
        m.d.sync += carry.eq(term.carry)
    return Carried(value, carry)


def adder_tree(m, name: str, terms: list[Carried], enables) -> Carried:
    """Sum of a power of two of terms, registered after every two levels, and at least once.

    Parameters
    ----------
    m : Module
        Takes the registers.
    name : str
        Of the registers: ``tree_NAME_STAGE_INDEX``.
    terms : list of Carried
    enables : sequence of amaranth Value, or None
        One for each of ``tree_stages(len(terms))`` stages; None: no registers.
    """
    for stage in range(tree_stages(len(terms))):
        for _ in range(2):
            if len(terms) > 1:
                pairs = zip(terms[::2], terms[1::2], strict=True)
                terms = [Carried(carried_sum(a.value, b), a.carry) for a, b in pairs]
        if enables is not None:
            terms = [
                registered(m, f"tree_{name}_{stage}_{i}", term, enables[stage])
                for i, term in enumerate(terms)
            ]
    return terms[0]


def shifted(m, name: str, term: Carried, shift, bits: int) -> Carried:
    """The term times ``2^shift`` in at most ``bits`` bits, the carry in the vacated places too."""
    value = term.value
    fill = term.carry if len(term.carry) else Const(0, 1)
    for bit in range(len(shift)):
        moved = Cat(fill.replicate(1 << bit), value).as_signed()
        level = Signal(signed(min(len(moved), bits)), name=f"shift_{name}_{bit}")
        m.d.comb += level.eq(Mux(shift[bit], moved, value))
        value = level
    return Carried(value, term.carry)

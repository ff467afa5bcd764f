"""Costs of the ``lut`` unit, counted from the structure of its RTL (hwgen/units/lut.py)."""

from designs.units import LutSpec, UnitSpec
from designs.units.lut import TABLE_GROUP, tree_stages
from sim.units.parts import (
    Part,
    register_bits,
    scaler,
    times,
)
from sim.units.silicon import PartCosts

__all__ = ["LutCosts", "structure", "unit_registers"]

_HALF_BITS = 16
_EXPONENT_BITS = 5
_CONTROL_BITS = 8
"""What of the word's control travels beside the data (hwgen/units/lut.py)."""


class _Stages:
    """Register stages by number, operands 0, as the RTL counts them."""

    def __init__(self, spec: LutSpec) -> None:
        self.tables = spec.table_latency
        self.shift = self.tables + tree_stages(spec.groups) + 1
        self.planes = self.shift + 1
        self.group = self.planes + 1
        self.scaled = self.group + 1


def _control(spec: LutSpec) -> list[Part]:
    """Valid bits and controls beside the data, each up to the last stage that reads it."""
    at = _Stages(spec)
    both = spec.has_half and "int8" in spec.activations
    last = {"valid": at.scaled, "word": at.planes - 1, "bipolar": at.group - 1}
    last |= {"group_last": at.scaled, "pass_last": at.scaled, "scaled": at.group}
    last["half"] = at.group if both else -1
    bits = sum((stage + 1) * (3 if name == "word" else 1) for name, stage in last.items())
    first_flags, sums_valid = 2, 1
    # An enable a stage and one of a step's stages, three of groups, four streams, their transfers.
    enables = (at.scaled + 2) + (at.tables + 1) + 3 + 4 + 3
    return [
        Part("control", "control-register", bits + first_flags + sums_valid),
        Part("control", "gate", enables),
    ]


def _align(spec: LutSpec) -> list[Part]:
    """hwgen/units/half_align.py: largest exponent, shift, round, sign; for one token."""
    count, bits = spec.lanes_k, spec.aligned_bits
    magnitude = bits - 1
    parts = [
        Part("align: operands", "register", _HALF_BITS, count, "step"),
        Part("align: largest exponent", "comparison", _EXPONENT_BITS, count, "step"),
        Part("align: largest exponent", "register", _EXPONENT_BITS, 1, "step"),
        Part("align: distance", "adder", _EXPONENT_BITS, count, "step"),
        Part("align: shift", "rounding-shifter", magnitude * _EXPONENT_BITS, count, "step"),
        Part("align: sign", "rounding-negation", bits, count, "step"),
        Part("align: aligned", "register", bits, count, "step"),
        Part("align: base", "register", _EXPONENT_BITS, 2, "step"),
    ]
    if "int8" in spec.activations:
        parts.append(Part("align: INT8", "selector-2", bits, count, "step"))
    return parts


def _table(spec: LutSpec) -> list[Part]:
    """hwgen/units/lut_table.py: the tables of one token's step."""
    groups, bits, entries = spec.groups, spec.aligned_bits, 8 * spec.groups
    parts = [
        Part("table: sums", "table", spec.sum_bits, groups, "step"),
        Part("table: entries", "register", spec.sum_bits, entries, "step"),
    ]
    if not spec.table_bits:
        return parts
    exponent = (spec.sum_bits - (spec.table_bits - 1)).bit_length()
    parts += [
        Part("table: magnitudes", "magnitude", bits, 4 * groups, "step"),
        Part("table: peak", "four-adder", spec.sum_bits, groups, "step"),
        Part("table: peak", "register", spec.sum_bits - (spec.table_bits - 1), 1, "step"),
        Part("quantise: shift", "rounding-shifter", spec.sum_bits * exponent, entries, "step"),
        Part("quantise: round", "adder", spec.table_bits, entries, "step"),
        Part("quantise: entries", "register", spec.table_bits, entries, "step"),
        Part("quantise: exponent", "register", exponent, 1, "step"),
    ]
    if spec.has_half:
        amount = (spec.most_base).bit_length()
        parts += [
            Part("quantise: base", "register", _EXPONENT_BITS, 1, "step"),
            Part("quantise: exponent", "adder", amount, 1, "step"),
        ]
    return parts


def _tree(name: str, terms: int, bits: int) -> tuple[list[Part], int]:
    """Adder tree with a register after every two levels, and the width it ends with."""
    parts = []
    for _ in range(tree_stages(terms)):
        for _level in range(2):
            if terms > 1:
                terms, bits = terms // 2, bits + 1
                parts.append(Part(name, "adder", bits, terms))
        parts.append(Part(name, "register", bits, terms))
    return parts, bits


def _carries(spec: LutSpec) -> int:
    """Registers of one lane for the 1 that ends a negation: beside each term, and shifted.

    They depend on weights only, so that the rows of all tokens share them.
    """
    tree, _ = _tree("", spec.groups, 1)
    return sum(part.count for part in tree if part.kind == "register") + 1


def _shift(name: str, bits: int, most: int) -> list[Part]:
    """A shift by up to ``most`` places; none is no part."""
    return [Part(name, f"shift-{most.bit_length()}", bits + most)] if most else []


def _lane(spec: LutSpec) -> list[Part]:
    """One lane of one token: hwgen/units/lut_row.py, and the last stages of hwgen/units/lut.py."""
    tree, bits = _tree("lane: tree", spec.groups, spec.entry_bits)
    if spec.groups > 1:  # the first adders absorb a part of the lookups
        lookups = Part("lane: lookup", "lookup-pair", spec.entry_bits, spec.groups // 2)
        tree = tree[1:]
    else:
        lookups = Part("lane: lookup", "lookup", spec.entry_bits)
    both = spec.has_half and "int8" in spec.activations
    group, total = spec.group_sum_bits, spec.accumulator_bits
    return [
        lookups,
        *tree,
        *_shift("lane: shift", bits, spec.most_shift),
        Part("lane: shift", "register", bits + spec.most_shift),
        Part("lane: plane sum", "accumulator", spec.plane_sum_bits),
        Part("lane: plane sum", "register", spec.plane_sum_bits),
        Part("lane: group", "half-difference", group),
        Part("lane: group", "register", group),
        scaler("lane: scale", group, spec.scale_bits, rounded=spec.has_half),
        Part("lane: unscaled", "selector-3" if both else "selector-2", total, 1, "group"),
        Part("lane: scaled", "register", total),
        Part("lane: total", "running-total", total, 1, "group"),
        Part("lane: total", "register", total),
    ]


def _token(spec: LutSpec) -> list[Part]:
    """One token: its operands, tables, lanes and its own sum."""
    at = _Stages(spec)
    element = _HALF_BITS if spec.has_half else 8
    parts = [Part("operands", "register", element, spec.lanes_k, "step")]
    if spec.has_half:
        if "int8" in spec.activations:
            parts.append(Part("operands: INT8", "selector-2", 8, spec.lanes_k, "step"))
        parts += [*_align(spec)]
    parts += _table(spec)
    if spec.most_base:
        amount = spec.most_shift.bit_length()
        parts += [
            Part("shift amount", "adder", amount),
            Part("shift amount", "register", amount, at.shift - at.tables - 1),
        ]
    own, bits = _tree("token: tree", spec.groups, spec.entry_bits)
    if spec.most_base:
        own += _shift("token: shift", bits, spec.most_shift)
        bits += spec.most_shift
    own += [
        Part("token: shift", "register", bits),
        Part("token: sum", "accumulator", spec.token_sum_bits),
        Part("token: sum", "register", spec.token_sum_bits),
    ]
    return [*parts, *own, *times(_lane(spec), spec.lanes_n)]


def structure(spec: LutSpec) -> tuple[Part, ...]:
    """Everything the unit is made of."""
    at = _Stages(spec)
    scales = Part(
        "scales", "delay-line", 8 * spec.scale_word_bytes * (at.group + 1), length=at.group + 1
    )
    return (
        *_control(spec),
        Part("weights", "register", 8 * spec.weight_word_bytes, at.tables + 1),
        scales,
        Part("negations", "register", _carries(spec), spec.lanes_n),
        *times(_token(spec), spec.lanes_m),
    )


def unit_registers(spec: LutSpec) -> int:
    """Register bits of the whole unit as generated.

    Equal to the widths of the registers in the netlist (tests/test_resources.py): controls are
    carried to the last stage there, read or not, as are the low bits of the tables' peak, and every
    row has the negations of its own.
    """
    stages = _Stages(spec).scaled + 1
    unread = stages * (1 + _CONTROL_BITS) + 3 - register_bits(_control(spec))
    unread += spec.lanes_m * max(0, spec.table_bits - 1)
    repeated = (spec.lanes_m - 1) * spec.lanes_n * _carries(spec)
    return register_bits(structure(spec)) + unread + repeated


class LutCosts(PartCosts):
    """Costs of a lookup unit; an element of a process is one lookup of four activations."""

    multiplies = True

    def parts(self, spec: UnitSpec) -> tuple[Part, ...]:
        assert isinstance(spec, LutSpec)
        return structure(spec)

    def registers(self, spec: UnitSpec) -> int:
        assert isinstance(spec, LutSpec)
        return unit_registers(spec)

    def element_count(self, spec: UnitSpec) -> int:
        assert isinstance(spec, LutSpec)
        return spec.macs // TABLE_GROUP

    def not_modelled(self, spec: UnitSpec) -> dict[str, str]:
        return {
            "lookups and shifts": "multiplexers and XORs have no energy figure in the process: "
            "their area counts, their energy does not",
            "group scaling": "multiplier and adders that work once a group: their area counts, "
            "their energy does not",
            "table reuse": "adders that build tables are charged in every cycle, also where codes "
            "of several bits let a table stand for several cycles",
            "area of lookups and shifts": "multiplexers and XORs have no area in the process "
            "either: they take as many adder bits as in the cells of SkyWater's 130 nm",
        }

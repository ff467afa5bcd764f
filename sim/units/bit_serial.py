"""Costs of the ``bit_serial`` unit, counted from the structure of its RTL.

The RTL is hwgen/units/bit_serial.py; parts are named as its modules.
"""

from designs.units import UnitSpec
from designs.units.bit_serial import BitSerialSpec
from designs.units.lut import tree_stages
from sim.units.parts import Part, register_bits, times
from sim.units.silicon import PartCosts

__all__ = ["BitSerialCosts", "structure", "unit_registers"]

_HALF_BITS = 16
_EXPONENT_BITS = 5
_BYTE = 8  # of a scale, of the numbers of special values, of a special value
_SPECIAL_BITS = 32
_FLAGS = 4
_DECODE_BITS = 6
_SHORTEST_LINE = 3
"""Registers one behind another that Yosys makes a shift register of on an FPGA."""

_TERM = 2  # the stage of the terms, and of the aligned activations


class _Stages:
    """Register stages by number, words 0, as the RTL counts them; of the first tile."""

    def __init__(self, spec: BitSerialSpec) -> None:
        self.shift = _TERM + tree_stages(spec.lanes_k) + 1
        self.sum = self.shift + 1
        self.product = self.sum + 1 + spec.scale_beats
        self.last = self.product + spec.hops


def _odd(spec: BitSerialSpec) -> bool:
    return any(bits % 2 for bits in spec.weight_bits)


def _term_register(spec: BitSerialSpec) -> int:
    """Bits of a term: is there one, its exponent, its sign."""
    return 2 + (2 if spec.has_float else 1)


def _chain(name: str, bits: int, first: int, read: set[int], works: str = "cycle") -> list[Part]:
    """Registers from stage ``first`` to the last that is read, without a reset, one enable.

    On an FPGA those between two that are read are shift registers where they are long enough.
    """
    parts = []
    for stage in sorted(stage for stage in read if stage >= first):
        length = stage - first + 1
        if length >= _SHORTEST_LINE:
            parts.append(Part(name, "delay-line", bits * length, 1, works, length))
        else:
            parts.append(Part(name, "register", bits * length, 1, works))
        first = stage + 1
    return parts


def _control(spec: BitSerialSpec) -> list[Part]:
    """What travels beside the data, each up to the last stage that reads it."""
    at, hops, columns = _Stages(spec), spec.hops, spec.tiles_n
    odd, floating = _odd(spec), spec.has_float
    behind = range(hops + 1)  # hops a tile may be behind the first
    # Valid, new step, end of group, terms present; three flags that start new sums, and valid sums.
    reset = (columns + 1) + (hops + 2) + (at.last + 1) + (at.sum - _TERM + hops) + 3
    ends = {at.product + hop for hop in behind}
    held = {at.sum + hop for hop in behind}
    starts = {at.sum + 1 + hop for hop in behind} | ends if spec.has_half else set()
    aligned = {row + 1 for row in range(spec.tiles_m)}
    aligned = aligned if spec.has_half and "int8" in spec.activations else set()
    # First beat of a step; the last one, odd widths and their second steps; floating and flint.
    decode = 1 + 2 * odd + floating + (odd and not floating)
    later = 2 * floating  # floating, last
    weight = min(spec.most_shift.bit_length(), 3) if not spec.has_half else 3
    weight = max(0, weight - (not floating))  # digits of integers count even powers of two
    shifts = {_TERM + row for row in range(spec.tiles_m)}
    shifts = shifts if spec.has_half else {at.shift - 1 + hop for hop in behind}
    enables = (at.sum - _TERM + hops) + (hops + 2) + columns
    return [
        Part("control", "control-register", reset),
        *_chain("control: first of a pass", 1, 0, ends),
        *_chain("control: last of a pass", 1, 0, {at.last}),
        *_chain("control: scaled", 1, 0, held | starts),
        *_chain("control: FP16", 1, 0, starts | aligned),
        *_chain("control: new group", 1, _TERM, {at.sum - 1 + hop for hop in behind}),
        Part("control: decoding", "register", decode * columns + later * (columns + 1)),
        Part("control: beat", "register", 4 if weight else 0),
        *_chain("control: digit", weight, _TERM, shifts),
        Part("control", "gate", enables + 3 * (hops + 1) + 2 * (hops + 1) + 8),
    ]


def _align(spec: BitSerialSpec) -> list[Part]:
    """hwgen/units/half_align.py: largest exponent, shift, round, sign; for one token."""
    count, bits = spec.lanes_k, spec.aligned_bits
    amount = spec.most_shift.bit_length()
    at = _Stages(spec)
    parts = [
        Part("align: operands", "register", _HALF_BITS, count, "step"),
        Part("align: largest exponent", "comparison", _EXPONENT_BITS, count, "step"),
        Part("align: largest exponent", "register", _EXPONENT_BITS, 1, "step"),
        Part("align: distance", "adder", _EXPONENT_BITS, count, "step"),
        Part("align: shift", "rounding-shifter", (bits - 1) * _EXPONENT_BITS, count, "step"),
        Part("align: sign", "rounding-negation", bits, count, "step"),
        Part("align: aligned", "register", bits, count, "step"),
        Part("align: base", "register", _EXPONENT_BITS, 1, "step"),
        Part("shift amount", "adder", amount),
        *_chain("shift amount", amount, 0, {at.shift - 4 + c for c in range(spec.tiles_n)}),
    ]
    if "int8" in spec.activations:
        parts.append(Part("align: INT8", "selector-2", bits, count, "step"))
        parts.append(Part("operands: INT8", "selector-2", _BYTE, count, "step"))
    return parts


def _tokens(spec: BitSerialSpec) -> list[Part]:
    """Activations of all tokens: operands, alignment, hops to the tiles on the right."""
    element = _HALF_BITS if spec.has_half else _BYTE
    row = spec.lanes_m // spec.tiles_m * spec.lanes_k
    waits = spec.tiles_m * (spec.tiles_m + 1) // 2  # a row of tiles waits as long as it is behind
    parts = [Part("operands", "register", element, row * waits, "step")]
    if spec.has_half:
        parts += times(_align(spec), spec.lanes_m)
    else:
        parts.append(Part("operands", "register", _BYTE, 2 * row * spec.tiles_m, "step"))
    hops = (spec.tiles_n - 1) * spec.lanes_m * spec.lanes_k
    if hops:
        parts.append(Part("hops: activations", "register", spec.aligned_bits, hops, "step"))
    return parts


def _features(spec: BitSerialSpec) -> list[Part]:
    """Words, terms, special values and scales of all output features."""
    at, columns, tile = _Stages(spec), spec.tiles_n, spec.lanes_n // spec.tiles_n
    codes, term = spec.lanes_n * spec.lanes_k, _term_register(spec)
    waits = columns * (columns + 1) // 2
    odd, floating = _odd(spec), spec.has_float
    kind = f"{'float' if floating else 'booth'}-terms{'-odd' if odd else ''}"
    # Two bits and two terms a code; without floating codes a bit is not read and a sign is there.
    own = 2 + 2 * term + odd - (0 if floating else 2)
    every = spec.least_group_beats
    scales = sum(1 + (at.sum + c + spec.tiles_m - 1) // every for c in range(columns))
    parts = [
        Part("words", "register", 2, waits * tile * spec.lanes_k),
        Part("terms: generator", kind, spec.lanes_k, spec.lanes_n),
        Part("terms: generator", "register", own, codes),
        Part("scales", "register", _BYTE, scales * tile, "group"),
    ]
    if spec.tiles_m > 1:
        parts.append(Part("hops: terms", "register", term, (spec.tiles_m - 1) * codes))
    if floating:
        arriving = columns * (columns - 1) // 2
        parts += [
            Part("special values", "register", _SPECIAL_BITS, columns, "group"),
            Part("special values: numbers", "control-register", _BYTE, spec.lanes_n, "group"),
            Part("special values: numbers", "selector-2", _BYTE, spec.lanes_n, "group"),
            Part("special values: choice", "selector-4", _BYTE, spec.lanes_n, "group"),
        ]
        if arriving:
            parts += [
                Part("special values: arriving", "register", _BYTE, arriving * tile, "group"),
                Part("special values: arriving", "control-register", columns - 1),
            ]
    return parts


def _carries(spec: BitSerialSpec) -> int:
    """Registers of one column for the 1 that ends a negation, the same for all its tokens."""
    terms, found = spec.lanes_k, 0
    for _ in range(tree_stages(spec.lanes_k)):
        terms = max(1, terms // 4)
        found += terms
    return found + 1


def _element(spec: BitSerialSpec) -> list[Part]:
    """One token and one feature: lanes, group sum, bit-serial scaling, total."""
    terms, bits, exponent = spec.lanes_k, spec.term_bits, spec.most_exponent
    group, total = spec.group_sum_bits, spec.accumulator_bits
    parts = []
    if terms == 1:
        parts.append(Part("element: term", f"term-{exponent}", bits))
    for stage in range(tree_stages(spec.lanes_k)):
        for level in range(2):
            if terms > 1:
                terms, bits = terms // 2, bits + 1
                kind = "adder" if stage or level else f"term-pair-{exponent}"
                parts.append(Part("element: tree", kind, bits, terms))
        parts.append(Part("element: tree", "register", bits, terms))
    shifted = min(bits + spec.most_shift, group)
    if spec.most_shift:
        # Digits of integers count even powers of two: without others a level less.
        levels = spec.most_shift.bit_length() - (not spec.has_half and not spec.has_float)
        parts.append(Part("element: shift", f"shift-{levels}", shifted))
    kind = "shortened-total" if spec.has_half else "running-total"
    return [
        *parts,
        Part("element: shift", "register", shifted),
        Part("element: group sum", "accumulator", group),
        Part("element: group sum", "register", group),
        Part("element: held sum", "register", group, 1, "group"),
        Part("element: scaling", f"serial-scaler-{spec.scale_bits_per_beat}", group),
        Part("element: scaling", "register", group + _BYTE),
        Part("element: total", kind, total, 1, "group"),
        Part("element: total", "register", total),
    ]


def _columns(spec: BitSerialSpec) -> list[Part]:
    """All elements, and what those of one feature in one tile have in common."""
    digits = [
        Part("scaling: digits", "register", _BYTE),
        Part("scaling: digits", "selector-3", _BYTE),
        Part("negations", "register", _carries(spec)),
    ]
    return [
        *times(digits, spec.lanes_n * spec.tiles_m),
        *times(_element(spec), spec.lanes_m * spec.lanes_n),
    ]


def structure(spec: BitSerialSpec) -> tuple[Part, ...]:
    """Everything the unit is made of."""
    return (*_control(spec), *_tokens(spec), *_features(spec), *_columns(spec))


def unit_registers(spec: BitSerialSpec) -> int:
    """Register bits of the whole unit as generated.

    Equal to the widths of the registers in the netlist (tests/test_resources.py): all flags travel
    to the last stage there, read or not, columns of tiles have equal registers of their own, and
    so has every token for the ends of negations.
    """
    at, columns, hops = _Stages(spec), spec.tiles_n, spec.hops
    weights = spec.tiles_m if spec.has_half else at.shift - _TERM + hops
    control = _FLAGS * (at.last + 1) + _DECODE_BITS * (columns + 1) + 4
    control += (at.sum - _TERM + hops) + 3 * weights
    kept = sum(p.all_bits for p in _control(spec) if p.kind in ("register", "delay-line"))
    unread = control - kept + (0 if spec.has_float else 2 * spec.lanes_n * spec.lanes_k)
    chains = columns * (columns - 1) // 2 if spec.has_float else 0
    repeated = chains * _SPECIAL_BITS + (chains - (columns - 1) if chains else 0)
    repeated += (spec.lanes_m - spec.tiles_m) * spec.lanes_n * _carries(spec)
    return register_bits(structure(spec)) + unread + repeated


class BitSerialCosts(PartCosts):
    """Costs of a bit-serial unit; an element of a process has ``lanes_k`` lanes."""

    def parts(self, spec: UnitSpec) -> tuple[Part, ...]:
        assert isinstance(spec, BitSerialSpec)
        return structure(spec)

    def registers(self, spec: UnitSpec) -> int:
        assert isinstance(spec, BitSerialSpec)
        return unit_registers(spec)

    def element_count(self, spec: UnitSpec) -> int:
        assert isinstance(spec, BitSerialSpec)
        return spec.lanes_m * spec.lanes_n

    def not_modelled(self, spec: UnitSpec) -> dict[str, str]:
        return {
            "terms and shifts": "multiplexers and XORs have no energy figure in the process: "
            "their area counts, their energy does not",
            "area of terms and shifts": "multiplexers and XORs have no area in the process "
            "either: they take as many adder bits as in the cells of SkyWater's 130 nm",
            "bit-serial scaling": "its adder is charged in every cycle, also in those of long "
            "groups in which nothing is being scaled",
        }

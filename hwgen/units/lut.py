"""``lut``: sums of four activations are looked up instead of multiplied; output stationary.

::

    activations -> operands -> [align, 2 stages] -> tables -> [quantise] -+
                                                                          v
    weights, control -> operands ---------------------------> lookup, adder tree, shift
                                                              1 stage each two levels, 1 stage
                                                                          v
    sums <- total <- scaled group <- group value <-------- plane sums, token sum

A word of weights is one bit plane. A step's activations arrive with its first plane; tables stay in
their registers until the next step's replace them, one stage behind another, so that planes follow
each other without a gap whatever their number. Parts in brackets exist only in units that have
FP16 activations or quantised tables.
"""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data

from designs.units.base import CODE_TYPES
from designs.units.lut import LutSpec, tree_stages
from hwgen.units.base import MatrixUnit
from hwgen.units.half_align import HalfAlign
from hwgen.units.lut_row import LutRow
from hwgen.units.lut_table import LutTable

__all__ = ["LutUnit"]

_CONTROL = data.StructLayout(
    {"bipolar": 1, "half": 1, "beat": 3, "group_last": 1, "pass_last": 1, "scaled": 1}
)
"""What of the word's control travels beside the data."""


class LutUnit(MatrixUnit):
    """The lookup unit; see :class:`MatrixUnit` for its ports and the module for its stages.

    Initiation interval 1 word, that is one plane, a cycle; latency ``LutSpec.latency``. The whole
    pipeline holds while ``sums`` is blocked.
    """

    spec: LutSpec

    def __init__(self, spec: LutSpec) -> None:
        super().__init__(spec)
        # Register stages by number, operands 0; a stage reads the registers of the one before.
        self._tables = spec.table_latency  # the stage with the tables, quantised if they are
        self._shift = self._tables + tree_stages(spec.groups) + 1
        self._planes = self._shift + 1
        self._group = self._planes + 1
        self._scaled = self._group + 1  # the last that carries control; the total follows

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        word = self.control.payload
        advance = Signal()
        take = Signal()
        take_step = Signal()
        take_scales = Signal()
        m.d.comb += [
            advance.eq(~self.sums.valid | self.sums.ready),
            take.eq(
                advance
                & self.control.valid
                & self.weights.valid
                & (self.activations.valid | (word.beat != 0))
                & (self.scales.valid | ~(word.scaled & word.group_last))
            ),
            take_step.eq(take & (word.beat == 0)),
            take_scales.eq(take & word.scaled & word.group_last),
            self.control.ready.eq(take),
            self.weights.ready.eq(take),
            self.activations.ready.eq(take_step),
            self.scales.ready.eq(take_scales),
        ]

        # Valid bits and controls travel beside the data; so do weights up to the lookup, and
        # scales up to the multiplication.
        valid = [Signal(name=f"valid_{i}") for i in range(self._scaled + 1)]
        control = [Signal(_CONTROL, name=f"control_{i}") for i in range(self._scaled + 1)]
        weights = self._travelling("weights", 8 * spec.weight_word_bytes, self._tables)
        scales = self._travelling("scales", 8 * spec.scale_word_bytes, self._group)
        with m.If(advance):
            m.d.sync += [valid[0].eq(take), scales[0].eq(self.scales.payload)]
            m.d.sync += [
                getattr(control[0], n).eq(getattr(word, n)) for n, _ in _CONTROL if n != "bipolar"
            ]
            m.d.sync += control[0].bipolar.eq(word.code_type == CODE_TYPES.index("bipolar"))
            for registers in (valid, control, scales):
                m.d.sync += [new.eq(old) for old, new in pairwise(registers)]
            m.d.sync += self.sums.valid.eq(valid[-1] & control[-1].pass_last)
        self._valid, self._control, self._scales = valid, control, scales
        self._enable = Signal(len(valid) + 1)  # by stage: something enters its registers
        m.d.comb += self._enable.eq(advance.replicate(len(valid) + 1) & Cat(take, valid))
        for stage, (old, new) in enumerate(pairwise([self.weights.payload, *weights])):
            with m.If(self._enable[stage]):
                m.d.sync += new.eq(old)
        self._new_step = Signal(self._tables + 1)
        new = [word.beat == 0, *(c.beat == 0 for c in control[: self._tables])]
        m.d.comb += self._new_step.eq(self._enable[: self._tables + 1] & Cat(new))

        first = self._first_flags(m)
        elements = self._operands(m)
        for row in range(spec.lanes_m):
            entries, base = self._tabulated(m, row, elements)
            self._summed(m, row, entries, base, weights[-1], first)
        return m

    @staticmethod
    def _travelling(name: str, bits: int, last: int) -> list[Signal]:
        """Registers of stages 0 to ``last``."""
        return [Signal(bits, name=f"{name}_{i}", reset_less=True) for i in range(last + 1)]

    def _first_flags(self, m) -> tuple[Signal, Signal]:
        """Whether the plane sum starts anew, and whether the total does."""
        group_first = Signal(init=1)
        pass_first = Signal(init=1)
        add_plane, add_group = self._control[self._planes - 1], self._control[self._scaled]
        with m.If(self._enable[self._planes]):
            m.d.sync += group_first.eq(add_plane.group_last)
        with m.If(self._enable[self._scaled + 1] & add_group.group_last):
            m.d.sync += pass_first.eq(add_group.pass_last)
        return group_first, pass_first

    def _operands(self, m) -> Signal:
        """Operand registers: 8 bits an element, or 16 where FP16 occurs, with INT8 extended."""
        payload = self.activations.payload
        elements = Signal(len(payload), name="activations_0", reset_less=True)
        if self.spec.activations == ("fp16",) or not self.spec.has_half:
            operand = payload
        else:
            count = self.spec.lanes_m * self.spec.lanes_k
            codes = (payload.word_select(i, 8) for i in range(count))
            integers = Cat(Cat(code, code[7].replicate(8)) for code in codes)
            operand = Mux(self.control.payload.half, payload, integers)
        with m.If(self._new_step[0]):
            m.d.sync += elements.eq(operand)
        return elements

    def _tabulated(self, m, row: int, elements):
        """Tables of one token, and the exponent they share."""
        spec = self.spec
        stage = 1
        width = len(elements) // spec.lanes_m
        activations = elements.word_select(row, width)
        base: Signal | Const = Const(0, 0)
        if spec.has_half:
            int8 = "int8" in spec.activations
            m.submodules[f"align_{row}"] = align = HalfAlign(spec.lanes_k, int8=int8)
            m.d.comb += [
                align.enable.eq(self._new_step[stage : stage + align.stages]),
                align.elements.eq(activations),
            ]
            if int8:
                m.d.comb += align.half.eq(self._control[stage].half)
            stage += align.stages
            activations = align.aligned
            base = self._delayed(m, f"base_{row}", align.base, stage)
        m.submodules[f"table_{row}"] = table = LutTable(
            spec.groups, spec.aligned_bits, spec.table_bits
        )
        m.d.comb += [
            table.enable.eq(self._new_step[stage : stage + table.stages]),
            table.activations.eq(activations),
        ]
        if spec.table_bits:
            if len(base):
                base = self._delayed(m, f"table_base_{row}", base, stage + 1)
            total = Signal(range(spec.most_base + 1), name=f"exponent_{row}")
            m.d.comb += total.eq(base + table.exponent)
            base = total
        return table.entries, base

    def _delayed(self, m, name: str, value, stage: int) -> Signal:
        """A step's value in the registers of a further stage before the lookup."""
        register = Signal(len(value), name=name, reset_less=True)
        with m.If(self._new_step[stage]):
            m.d.sync += register.eq(value)
        return register

    def _summed(self, m, row: int, entries, base, indices, first) -> None:
        """Lookups of one token's lanes, their group values, scaled sums and totals."""
        spec = self.spec
        m.submodules[f"row_{row}"] = lanes = LutRow(
            spec.lanes_n,
            spec.groups,
            spec.entry_bits,
            spec.most_shift,
            spec.plane_sum_bits,
            token_sum_bits=spec.token_sum_bits,
            most_base=spec.most_base,
        )
        group_first, pass_first = first
        m.d.comb += [
            lanes.enable.eq(self._enable[self._tables + 1 : self._planes + 1]),
            lanes.entries.eq(entries),
            lanes.indices.eq(indices),
            lanes.first.eq(group_first),
            lanes.plane_first.eq(self._control[self._planes - 1].beat == 0),
        ]
        if spec.most_shift:
            m.d.comb += lanes.shift.eq(self._shift_amount(m, row, base))
        control, last = self._control, self._scaled
        scale_word, scaled_control = self._scales[-1], control[self._group]
        take_group = self._enable[self._group] & control[self._group - 1].group_last
        take_scaled = self._enable[self._scaled] & scaled_control.group_last
        take_total = self._enable[last + 1] & control[last].group_last
        for n in range(spec.lanes_n):
            planes = lanes.sums.word_select(n, spec.plane_sum_bits).as_signed()
            group = Signal(signed(spec.group_sum_bits), name=f"group_{row}_{n}", reset_less=True)
            bipolar = control[self._group - 1].bipolar
            codes = (planes - lanes.token_sum.as_signed()) >> 1
            with m.If(take_group):
                m.d.sync += group.eq(Mux(bipolar, planes, codes))
            sum_shape = signed(spec.accumulator_bits)
            scaled = Signal(sum_shape, name=f"scaled_{row}_{n}", reset_less=True)
            scale = scale_word.word_select(n, 8)
            product = Signal(signed(spec.group_sum_bits + 9), name=f"product_{row}_{n}")
            m.d.comb += product.eq(group * scale)
            with m.If(take_scaled):
                m.d.sync += scaled.eq(self._scaled_sum(scaled_control, group, product))
            total = Signal(sum_shape, name=f"total_{row}_{n}", reset_less=True)
            with m.If(take_total):
                m.d.sync += total.eq(Mux(pass_first, 0, total) + scaled)
            index = row * spec.lanes_n + n
            m.d.comb += self.sums.payload.word_select(index, spec.accumulator_bits).eq(total)

    def _shift_amount(self, m, row: int, base):
        """Plane plus exponent, registered up to the shift stage."""
        plane = self._control[self._shift - 1].beat
        if not len(base):
            return plane
        amount = base + self._control[self._tables].beat
        for stage in range(self._tables + 1, self._shift):
            register = Signal(
                range(self.spec.most_shift + 1), name=f"shift_{row}_{stage}", reset_less=True
            )
            with m.If(self._enable[stage]):
                m.d.sync += register.eq(amount)
            amount = register
        return amount

    def _scaled_sum(self, control, group, product):
        """Group sum times scale; that of FP16 loses 8 bits again, rounded."""
        if not self.spec.has_half:
            return Mux(control.scaled, product, group)
        rounded = (product + 128) >> 8
        if "int8" in self.spec.activations:
            rounded = Mux(control.half, rounded, product)
        return Mux(control.scaled, rounded, group)

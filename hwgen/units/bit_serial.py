"""``bit_serial``: elements that multiply by one signed power of two a cycle; output stationary.

::

    activations -> operands -> align, 2 stages -----------+
                                                          v
    weights, control -> words -> term generators ------> columns -> sums
                                 2 stages                 ^
    scales -> special values' numbers, scales ------------+

After BitMoD (Chen et al., HPCA'25, arXiv 2411.11745, section IV). The README of the paper's
repository states that a patent application covers the work.

A word of weights is two bits of every code of a step. A step's activations arrive with its first
word and stay in their registers until the next step's replace them. Terms of beat b of a step of
integers enter the columns three cycles after its word was taken, both terms of a floating code two
and three cycles after its last one: in either case while the step's own activations are there.

Stages are numbered by the registers that hold a beat, 0 next to the streams. Tiles are joined by
registers: what a tile does, the tile to its right (more features) and the one below (more tokens)
do a cycle later. Words, numbers of special values and activations enter late by as much, as in a
systolic array, and one control pipeline serves all tiles, read so many stages later.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from designs.units.base import CODE_TYPES
from designs.units.bit_serial import BitSerialSpec
from designs.units.lut import tree_stages
from hwgen.shared import shared
from hwgen.units.base import MatrixUnit
from hwgen.units.bit_serial_column import BitSerialColumn, GroupControl
from hwgen.units.half_align import HalfAlign
from hwgen.units.stages import Stages
from hwgen.units.term_generator import DecodeControl, TermGenerator

__all__ = ["BitSerialUnit"]

_ALIGN_STAGES = HalfAlign.stages
_TERM = 2  # the stage of the terms, and of the aligned activations
_DIGIT_BITS = 2  # of the number of a beat: four at most
_NUMBER_BITS = 2  # of the number of a special value


class _Flags(data.StructLayout):
    """What of a beat's control travels to the end."""

    def __init__(self) -> None:
        super().__init__({"half": 1, "scaled": 1, "pass_first": 1, "pass_last": 1})


class BitSerialUnit(MatrixUnit):
    """The bit-serial unit; see :class:`MatrixUnit` for its ports and the module for its stages.

    Initiation interval 1 word, that is two bits of a step's codes, a cycle; latency
    ``BitSerialSpec.latency``, the same for all codes. The whole pipeline holds while ``sums`` is
    blocked. Scale groups must be ``least_group_beats`` beats long at least; shorter ones would meet
    in the dequantiser.
    """

    spec: BitSerialSpec

    def __init__(self, spec: BitSerialSpec) -> None:
        super().__init__(spec)
        # Stages of the first tile; a tile h hops away has h more.
        self._shift = _TERM + tree_stages(spec.lanes_k) + 1
        self._sum = self._shift + 1
        self._product = self._sum + 1 + spec.scale_beats  # after the held sum; the total follows
        self._tile_m, self._tile_n = spec.lanes_m // spec.tiles_m, spec.lanes_n // spec.tiles_n
        self._odd = any(bits % 2 for bits in spec.weight_bits)

    def elaborate(self, platform):
        self._m = m = Module()
        spec = self.spec
        self._streams()
        self._beats()
        self._term_control()
        self._group_control()
        self._totals: dict[tuple[int, int], Value] = {}  # by token and feature
        activations = [self._activations(row) for row in range(spec.tiles_m)]
        for column in range(spec.tiles_n):
            terms = self._terms(column)
            scales = self._scales(column)
            for row in range(spec.tiles_m):
                self._tile(row, column, activations[row][column], terms[row], scales)
        # One assignment: one for each total would take Amaranth minutes.
        m.d.comb += self.sums.payload.eq(
            Cat(total for _, total in sorted(self._totals.items(), key=lambda item: item[0]))
        )
        return m

    # Streams and control ---------------------------------------------------------------------

    def _streams(self) -> None:
        """Which streams a beat takes a transfer of."""
        m, beat = self._m, self.control.payload
        self._advance = advance = Signal()
        self._stages = Stages(m, advance)
        self._take = take = Signal()
        self._take_step, self._take_word = Signal(), Signal()
        self._take_scale, self._take_numbers = Signal(), Signal()
        word, scale, numbers = Signal(), Signal(), Signal()
        m.d.comb += [
            word.eq(~(beat.second & beat.step_last) if self._odd else 1),
            scale.eq(beat.scaled & beat.group_last),
            numbers.eq(beat.identify if self.spec.has_float else 0),
            advance.eq(~self.sums.valid | self.sums.ready),
            take.eq(
                advance
                & self.control.valid
                & (self.activations.valid | (beat.beat != 0))
                & (self.weights.valid | ~word)
                & (self.scales.valid | ~(scale | numbers))
            ),
            self._take_step.eq(take & (beat.beat == 0)),
            self._take_word.eq(take & word),
            self._take_scale.eq(take & scale),
            self._take_numbers.eq(take & numbers),
            self.control.ready.eq(take),
            self.activations.ready.eq(self._take_step),
            self.weights.ready.eq(self._take_word),
            self.scales.ready.eq(self._take_scale | self._take_numbers),
        ]

    def _beats(self) -> None:
        """What travels with beats up to the term generators, and with ends of groups further."""
        m, spec, beat = self._m, self.spec, self.control.payload
        hops, columns = spec.hops, spec.tiles_n
        new_pass = Signal(init=1)
        with m.If(self._take & beat.group_last):
            m.d.sync += new_pass.eq(beat.pass_last)
        control = Signal(DecodeControl(), name="decode")
        m.d.comb += [
            control.first.eq(beat.beat == 0),
            control.last.eq(beat.step_last),
            control.second.eq(beat.second),
        ]
        if self._odd:
            m.d.comb += control.odd.eq(beat.weight_bits[0])
        if spec.has_float:
            flint = beat.code_type == CODE_TYPES.index("flint")
            m.d.comb += [
                control.flint.eq(flint),
                control.floating.eq(flint | (beat.code_type == CODE_TYPES.index("float"))),
            ]
        flags = Signal(_Flags(), name="flags")
        m.d.comb += [
            flags.half.eq(beat.half),
            flags.scaled.eq(beat.scaled),
            flags.pass_first.eq(new_pass),
            flags.pass_last.eq(beat.pass_last),
        ]
        last = self._product + hops
        self._valid = self._stages.travelling("valid", self._take, columns, data=False)
        self._new_step = self._stages.travelling("new_step", self._take_step, hops + 1, data=False)
        end = self._take & beat.group_last
        self._group_end = self._stages.travelling("group_end", end, last, data=False)
        self._flags = self._stages.travelling("flags", flags, last, shape=_Flags())
        self._decode = self._stages.travelling("decode", control, columns, shape=DecodeControl())
        with m.If(self._advance):
            m.d.sync += self.sums.valid.eq(self._group_end[last] & self._flags[last].pass_last)

    def _emitted(self, column: int) -> tuple[Value, Value]:
        """Whether a column of tiles emits first terms of floating codes, or other terms."""
        later = self._decode[column + 1]
        if not self.spec.has_float:
            return Const(0, 1), self._valid[column + 1]
        now = self._decode[column]
        return (
            self._valid[column] & now.floating & now.last,
            self._valid[column + 1] & (~later.floating | later.last),
        )

    def _term_control(self) -> None:
        """What travels with terms: that they are there, begin a group, and what they count."""
        m, spec = self._m, self.spec
        last = self._sum - 1 + spec.hops
        now, later = self._emitted(0)
        new_group = Signal(init=1)
        with m.If(self._advance & (now | later)):
            m.d.sync += new_group.eq(self._group_end[1])
        present = self._stages.travelling("term", now | later, last, _TERM, data=False)
        self._group_first = self._stages.travelling("group_first", new_group, last, _TERM)
        self._enable = {}
        for stage, is_present in present.items():
            self._enable[stage] = enable = Signal(name=f"enable_{stage}")
            m.d.comb += enable.eq(self._advance & is_present)
        digits = self._stages.travelling(
            "digit", self.control.payload.beat[:_DIGIT_BITS], 1, shape=2
        )
        weight = Cat(Const(0, 1), digits[1])  # digit i of an integer counts 2^(2i)
        if spec.has_float:
            weight = Mux(now, 1, Mux(self._decode[1].floating, 0, weight))
        # FP16 adds a token's exponent in its own row; INT8 has the same shift everywhere.
        last = _TERM + spec.tiles_m - 1 if spec.has_half else self._shift - 1 + spec.hops
        self._weight = self._stages.travelling("weight", weight, last, _TERM, shape=3)

    def _group_control(self) -> None:
        """Control of the dequantisers, by hops."""
        m = self._m
        self._group = []
        for hop in range(self.spec.hops + 1):
            group = Signal(GroupControl(), name=f"group_{hop}")
            self._group.append(group)
            ends = {i: self._group_end[i + hop] for i in range(self._sum, self._product + 1)}
            start, add = self._flags[self._sum + 1 + hop], self._flags[self._product + hop]
            running = Cat(ends[i] for i in range(self._sum + 1, self._product))
            m.d.comb += [
                group.load.eq(self._advance & ends[self._sum]),
                group.start.eq(ends[self._sum + 1]),
                group.step.eq(self._advance & running.any()),
                group.add.eq(self._advance & ends[self._product]),
                group.first.eq(add.pass_first),
                group.rounded.eq(start.half & start.scaled),
                group.shortened.eq(add.half & add.scaled),
            ]

    # Operands --------------------------------------------------------------------------------

    def _activations(self, row: int) -> list[tuple[Value, Value]]:
        """Aligned activations of a row of tiles and the shifts of their terms, by column."""
        spec = self.spec
        payload = self.activations.payload
        count = self._tile_m * spec.lanes_k
        width = 16 if spec.has_half else 8
        part = payload[row * count * width : (row + 1) * count * width]
        if spec.has_half and "int8" in spec.activations:
            codes = payload[row * count * 8 : (row + 1) * count * 8]
            bytes_ = (codes.word_select(i, 8) for i in range(count))
            part = Mux(
                self.control.payload.half,
                part,
                Cat(Cat(code, code[7].replicate(8)) for code in bytes_),
            )
        steps = [self._advance & new for new in self._new_step.values()]
        entered = self._stages.held(f"operands_{row}", part, [self._take_step, *steps[:row]])[-1]
        steps = steps[row:]
        if spec.has_half:
            elements, bases = self._aligned(row, entered, steps)
        else:
            delays = steps[:_ALIGN_STAGES]
            elements = self._stages.held(f"delayed_{row}", entered, delays, row + 1)[-1]
        hops = steps[_ALIGN_STAGES : _ALIGN_STAGES + spec.tiles_n - 1]
        columns = [elements, *self._stages.held(f"hop_{row}", elements, hops, row + _TERM + 1)]
        shifts = []
        if spec.has_half:
            amounts = [
                self._stages.travelling(
                    f"shift_{row * self._tile_m + token}",
                    base + self._weight[_TERM + row],
                    self._shift - 1 + row + spec.tiles_n - 1,
                    _TERM + row + 1,
                    shape=range(spec.most_shift + 1),
                )
                for token, base in enumerate(bases)
            ]
            for column in range(spec.tiles_n):
                stage = self._shift - 1 + row + column
                shifts.append(Cat(amount[stage] for amount in amounts))
        else:
            width = spec.most_shift.bit_length()
            for column in range(spec.tiles_n):
                weight = self._weight[self._shift - 1 + row + column]
                shifts.append(weight[:width].replicate(self._tile_m))
        return list(zip(columns, shifts, strict=True))

    def _aligned(self, row: int, operands, steps: list) -> tuple[Value, list[Value]]:
        """FP16 activations of a row of tiles as integers, and the exponent of each token."""
        m, spec = self._m, self.spec
        int8 = "int8" in spec.activations
        width = 16 * spec.lanes_k
        elements, bases = [], []
        for token in range(self._tile_m):
            align = shared(HalfAlign, spec.lanes_k, int8=int8)
            m.submodules[f"align_{row * self._tile_m + token}"] = align
            m.d.comb += [
                align.enable.eq(Cat(steps[:_ALIGN_STAGES])),
                align.elements.eq(operands.word_select(token, width)),
            ]
            if int8:
                m.d.comb += align.half.eq(self._flags[row + 1].half)
            elements.append(align.aligned)
            bases.append(align.base)
        return Cat(elements), bases

    def _terms(self, column: int) -> list[list[Value]]:
        """Terms of a column of tiles, by row of tiles and feature."""
        m, spec = self._m, self.spec
        width = 2 * spec.lanes_k
        first = column * self._tile_n
        part = self.weights.payload[first * width : (first + self._tile_n) * width]
        moves = [self._advance & self._valid[i] for i in range(column)]
        words = self._stages.held(f"words_{column}", part, [self._take_word, *moves])[-1]
        now, later = self._emitted(column)
        special = self._special_values(column) if spec.has_float else []
        generated = []
        for j in range(self._tile_n):
            generator = shared(TermGenerator, spec.lanes_k, odd=self._odd, floating=spec.has_float)
            m.submodules[f"generator_{first + j}"] = generator
            m.d.comb += [
                generator.decode.eq(self._advance & self._valid[column]),
                generator.emit.eq(self._advance & (now | later)),
                generator.control.eq(self._decode[column]),
                generator.word.eq(words.word_select(j, width)),
            ]
            if special:
                m.d.comb += generator.special.eq(special[j])
            generated.append(generator.terms.as_value())
        hops = [self._enable[_TERM + column + row] for row in range(spec.tiles_m - 1)]
        below = [
            self._stages.held(f"terms_{first + j}", terms, hops, _TERM + column + 1)
            for j, terms in enumerate(generated)
        ]
        rows = [generated, *zip(*below, strict=True)]
        return [list(terms) for terms in rows]

    def _special_values(self, column: int) -> list[Value]:
        """The special value of each feature's group, for a column of tiles; 8 bits each.

        Numbers of four groups arrive with the first beat of the first of them, and are used two
        bits at a time: the next two follow the group's last beat.
        """
        m = self._m
        part = self.scales.payload[column * self._tile_n * 8 : (column + 1) * self._tile_n * 8]
        load = self._take_numbers
        if column:
            taken = self._stages.travelling(f"identify_{column}", load, column - 1, data=False)
            moves = [load, *(self._advance & taken[i] for i in range(column - 1))]
            part = self._stages.held(f"arriving_{column}", part, moves)[-1]
            load = self._advance & taken[column - 1]
        special = self.control.payload.special.as_value()
        width = len(special)
        arrived = self._stages.travelling(f"special_{column}", special, column, shape=width)
        values = arrived[column]
        found = []
        for j in range(self._tile_n):
            numbers = Signal(8, name=f"numbers_{column * self._tile_n + j}")
            with m.If(load):
                m.d.sync += numbers.eq(part.word_select(j, 8))
            with m.Elif(self._advance & self._group_end[column]):
                m.d.sync += numbers.eq(numbers >> _NUMBER_BITS)
            choice = Signal(8, name=f"special_value_{column * self._tile_n + j}")
            m.d.comb += choice.eq(values.word_select(numbers[:_NUMBER_BITS], 8))
            found.append(choice)
        return found

    def _scales(self, column: int) -> list[Value]:
        """Scales of a column of tiles for each row: those of the group that ends there.

        Ends of groups are ``least_group_beats`` apart, so a register every so many stages will do.
        """
        spec = self.spec
        part = self.scales.payload[column * self._tile_n * 8 : (column + 1) * self._tile_n * 8]
        every = spec.least_group_beats
        read = [self._sum + column + row for row in range(spec.tiles_m)]
        moves = [self._advance & self._group_end[i - 1] for i in range(every, read[-1] + 1, every)]
        registers = self._stages.held(f"scales_{column}", part, [self._take_scale, *moves])
        return [registers[stage // every] for stage in read]

    # Tiles -----------------------------------------------------------------------------------

    def _tile(self, row: int, column: int, operands, terms: list[Value], scales) -> None:
        """The columns of one tile, and their place among the sums."""
        m, spec = self._m, self.spec
        elements, shifts = operands
        hop = row + column
        scaled = self._flags[self._sum + hop].scaled
        for j in range(self._tile_n):
            feature = column * self._tile_n + j
            array = shared(BitSerialColumn, spec, self._tile_m)
            m.submodules[f"column_{feature}_{row}"] = array
            enables = [self._enable[_TERM + hop + stage] for stage in range(array.stages)]
            m.d.comb += [
                array.enable.eq(Cat(enables)),
                array.activations.eq(elements),
                array.terms.eq(terms[j]),
                array.first.eq(self._group_first[self._sum - 1 + hop]),
                array.group.eq(self._group[hop]),
                array.scale.eq(Mux(scaled, scales[row].word_select(j, 8), 1)),
            ]
            if array.shift_bits:
                m.d.comb += array.shifts.eq(shifts)
            for token in range(self._tile_m):
                total = array.totals.word_select(token, spec.accumulator_bits)
                self._totals[row * self._tile_m + token, feature] = total

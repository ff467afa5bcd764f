"""Compute engine: walks a MATMUL's loops and feeds the matrix unit."""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from designs.spec import Design
from designs.units.base import IDENTIFIED_GROUPS, SPECIAL_VALUES
from hwgen.control.fields import instruction_layout
from hwgen.units.base import StepControl
from mapping.isa import INSTRUCTION_BITS, Opcode

__all__ = ["ComputeEngine", "PassDescriptor"]


class PassDescriptor(data.StructLayout):
    """Where the sums of one pass go.

    Members
    -------
    tile, partial_tile : 16 bits
        Tile of the output buffer, tile of the partial-sum memory.
    accumulate, emit : 1 bit
        As in the instruction.
    signal : 1 bit
        Last pass of an instruction that gives the store engine a token.
    """

    def __init__(self) -> None:
        super().__init__({"tile": 16, "partial_tile": 16, "accumulate": 1, "emit": 1, "signal": 1})


class _Place(NamedTuple):
    """Place of a beat in its step: its number, whether it is the last one, whether the step is the
    second of a pair, and whether the beat reads a word of weights."""

    beat: Value
    last: Value
    second: Value
    word: Value


class ComputeEngine(wiring.Component):
    """Reads one weight word a cycle from the buffers; n outer, m middle, k inner.

    A step is a beat or several, as the unit's spec says: a word of weights, half a word, or several
    words one after the other. Two steps of codes of odd width share words of two bits: the last
    beat of the second step reads none.

    Timing: an instruction accepted in cycle t reads its first word in t + 1 and offers it to the
    unit in t + 2; the next instruction is accepted in the cycle of the last read, so words follow
    each other without a gap. The load engine gets its token with the last read.

    Members
    -------
    instruction : In(stream of 256 bits)
    load_tokens, store_tokens : In(1)
    take_load_token, take_store_token : Out(1)
    give_load_token : Out(1)
    weight_enable, activation_enable, scale_enable : Out(1)
        Read a word of that buffer: with every beat that has one, with the first beat of a step,
        with the last one of a scaled group and the first one of four groups with special values.
    weight_address, activation_address, scale_address : Out(24)
    control : Out(stream of StepControl)
        Together with the words on the buffers' outputs.
    weight_word : Out(1)
        The beat has a word of weights.
    upper_weights, upper_activations : Out(1)
        The step's codes, or activations, are the upper half of their word.
    passes : Out(stream of PassDescriptor)
        One a pass, offered when its last word is read.
    busy, wait_load, wait_store : Out(1)
        A word is read; held by a missing token of that neighbour.
    idle : Out(1)
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(
            {
                "instruction": In(stream.Signature(INSTRUCTION_BITS)),
                "load_tokens": In(1),
                "store_tokens": In(1),
                "take_load_token": Out(1),
                "take_store_token": Out(1),
                "give_load_token": Out(1),
                "weight_enable": Out(1),
                "activation_enable": Out(1),
                "scale_enable": Out(1),
                "weight_address": Out(24),
                "activation_address": Out(24),
                "scale_address": Out(24),
                "control": Out(stream.Signature(StepControl())),
                "weight_word": Out(1),
                "upper_weights": Out(1),
                "upper_activations": Out(1),
                "passes": Out(stream.Signature(PassDescriptor())),
                "busy": Out(1),
                "wait_load": Out(1),
                "wait_store": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        unit = self.design.unit
        layout = instruction_layout(Opcode.MATMUL)
        word = data.View(layout, self.instruction.payload)
        held = Signal(layout)  # the instruction being executed
        active = Signal()

        # Step register: the read of the cycle before, offered to the unit.
        offered = Signal()
        advance = Signal()
        pass_last, read = Signal(), Signal()
        first_word, group_last = Signal(), Signal()
        place = self._place(m, held, read, pass_last)
        identify = self._identify(m, held, read, group_last, pass_last)
        m.d.comb += [
            advance.eq(~offered | self.control.ready),
            read.eq(active & advance & (~pass_last | self.passes.ready)),
            self.weight_enable.eq(read & place.word),
            self.activation_enable.eq(read & first_word),
            self.scale_enable.eq(read & ((group_last & held.scaled) | identify)),
            self.busy.eq(read),
            self.control.valid.eq(offered),
        ]

        # Loop counters count down; addresses count up.
        k_left = Signal(16)
        group_left = Signal(16)
        m_left = Signal(16)
        n_left = Signal(16)
        weights = Signal(25)  # words, or half words when codes are half as wide as the word's
        tile_start = Signal(25)  # first word of the current feature tile
        activation = Signal(25)  # steps
        row_start = Signal(25)
        scale = Signal(24)
        scale_start = Signal(24)
        tile = Signal(16)
        partial_tile = Signal(16)
        step_last, tile_last, last = place.last, Signal(), Signal()
        restart, group_start = self._replay(m, held, read, group_last, pass_last, activation)
        next_weights = Signal(25)
        m.d.comb += next_weights.eq(weights + place.word)
        narrow, narrow_in = Const(0), Const(0)
        if min(unit.weight_bits) < unit.weight_word_bits:
            narrow = held.weight_bits == unit.weight_word_bits // 2
            narrow_in = word.weight_bits == unit.weight_word_bits // 2
        paired = Const(0)  # two INT8 steps a word that is sized for FP16
        if len(unit.activation_formats) > 1:
            paired = ~held.half
        m.d.comb += [
            first_word.eq(place.beat == 0),
            group_last.eq(step_last & ((group_left == 1) | (k_left == 1))),
            pass_last.eq(step_last & (k_left == 1)),
            tile_last.eq(pass_last & (m_left == 1)),
            last.eq(tile_last & (n_left == 1)),
            self.weight_address.eq(Mux(narrow, weights >> 1, weights)),
            self.activation_address.eq(Mux(paired, activation >> 1, activation)),
            self.scale_address.eq(scale),
            self.give_load_token.eq(read & last & held.signal_upstream),
            self.passes.valid.eq(active & advance & pass_last),
            self.passes.payload.tile.eq(tile),
            self.passes.payload.partial_tile.eq(partial_tile),
            self.passes.payload.accumulate.eq(held.accumulate),
            self.passes.payload.emit.eq(held.emit),
            self.passes.payload.signal.eq(last & held.signal_downstream),
        ]

        with m.If(advance):
            m.d.sync += offered.eq(read)
        with m.If(read):
            m.d.sync += [
                self.control.payload.weight_bits.eq(held.weight_bits),
                self.control.payload.code_type.eq(held.code_type),
                self.control.payload.half.eq(held.half),
                self.control.payload.beat.eq(place.beat),
                self.control.payload.step_last.eq(step_last),
                self.control.payload.group_last.eq(group_last),
                self.control.payload.pass_last.eq(pass_last),
                self.control.payload.scaled.eq(held.scaled),
                self.upper_weights.eq(narrow & weights[0]),
                weights.eq(next_weights),
            ]
            with m.If(first_word):
                m.d.sync += self.upper_activations.eq(paired & activation[0])
            with m.If(step_last):
                m.d.sync += [
                    k_left.eq(k_left - 1),
                    group_left.eq(group_left - 1),
                    activation.eq(activation + 1),
                ]
            with m.If(group_last):
                m.d.sync += group_left.eq(held.group_steps)
            with m.If(group_last | identify):
                m.d.sync += scale.eq(scale + 1)
            with m.If(restart):
                m.d.sync += activation.eq(group_start)
            with m.If(pass_last):
                m.d.sync += [
                    k_left.eq(held.k_steps),
                    m_left.eq(m_left - 1),
                    tile.eq(tile + 1),
                    partial_tile.eq(partial_tile + 1),
                    row_start.eq(row_start + held.activation_stride),
                    activation.eq(row_start + held.activation_stride),
                    weights.eq(tile_start),
                    scale.eq(scale_start),
                ]
            with m.If(tile_last):
                m.d.sync += [
                    m_left.eq(held.m_tiles),
                    n_left.eq(n_left - 1),
                    row_start.eq(held.activation_step),
                    activation.eq(held.activation_step),
                    weights.eq(next_weights),
                    tile_start.eq(next_weights),
                    scale.eq(scale + 1),
                    scale_start.eq(scale + 1),
                ]
            with m.If(last):
                m.d.sync += active.eq(0)

        self._offer_codes(m, held, read, place, identify)
        self._accept(m, word, held, active, read & last)
        with m.If(self.instruction.valid & self.instruction.ready):
            first = Signal(25)
            m.d.comb += first.eq(Mux(narrow_in, word.weight_word << 1, word.weight_word))
            m.d.sync += [
                k_left.eq(word.k_steps),
                group_left.eq(word.group_steps),
                m_left.eq(word.m_tiles),
                n_left.eq(word.n_tiles),
                weights.eq(first),
                tile_start.eq(first),
                activation.eq(word.activation_step),
                row_start.eq(word.activation_step),
                scale.eq(word.scale_word),
                scale_start.eq(word.scale_word),
                tile.eq(word.tile),
                partial_tile.eq(word.partial_tile),
            ]
        m.d.comb += self.idle.eq(~active & ~offered & ~self.instruction.valid)
        return m

    def _place(self, m, held, read, pass_last) -> _Place:
        """Where the beat being read is in its step."""
        unit = self.design.unit
        if unit.step_words(max(unit.weight_bits)) <= 1:
            return _Place(Const(0), Const(1), Const(0), Const(1))
        assert unit.weight_word_bits <= 2, "words of a step are one or two bits of each code"
        beat, last = Signal(3), Signal()
        beats = held.weight_bits if unit.weight_word_bits == 1 else (held.weight_bits + 1)[1:]
        m.d.comb += last.eq(beat == beats - 1)
        with m.If(read):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        if all(unit.step_grain(bits) == 1 for bits in unit.weight_bits):
            return _Place(beat, last, Const(0), Const(1))
        second, word = Signal(), Signal()
        m.d.comb += word.eq(~(last & second))
        with m.If(read & last):
            m.d.sync += second.eq(held.weight_bits[0] & ~second & ~pass_last)
        return _Place(beat, last, second, word)

    def _identify(self, m, held, read, group_last, pass_last) -> Value:
        """Whether the beat being read begins four groups of special values."""
        if not self.design.unit.has_special_values:
            return Const(0)
        group = Signal(range(IDENTIFIED_GROUPS))
        begins = self._begins(m, read, group_last)
        identify = Signal()
        m.d.comb += identify.eq(held.special & begins & (group == 0))
        with m.If(read & group_last):
            m.d.sync += group.eq(Mux(pass_last, 0, group + 1))
        return identify

    @staticmethod
    def _begins(m, read, group_last) -> Signal:
        """Whether the beat being read is the first one of a group."""
        begins = Signal(init=1)
        with m.If(read):
            m.d.sync += begins.eq(group_last)
        return begins

    def _offer_codes(self, m, held, read, place, identify) -> None:
        """What units with words of two bits, and with special values, are told besides."""
        step = self.control.payload
        if isinstance(place.second, Const):
            m.d.comb += self.weight_word.eq(1)
        else:
            with m.If(read):
                m.d.sync += [step.second.eq(place.second), self.weight_word.eq(place.word)]
        if isinstance(identify, Const):
            return
        with m.If(read):
            m.d.sync += step.identify.eq(identify)
            for index in range(SPECIAL_VALUES):
                value = getattr(held, f"special_{index}")
                m.d.sync += step.special[index].eq(Mux(held.special, value, 0))

    def _replay(self, m, held, read, group_last, pass_last, activation):
        """Whether the group just read is read again, and its first step of activations."""
        if "bipolar" not in self.design.unit.weight_types:
            return Const(0), Const(0)
        planes_read = Signal(4)
        begins = self._begins(m, read, group_last)
        first = Signal(25)  # step the current group began with
        group_start = Signal(25)
        restart = Signal()
        m.d.comb += [
            group_start.eq(Mux(begins, activation, first)),
            restart.eq(group_last & (planes_read != held.planes - 1)),
        ]
        with m.If(read):
            m.d.sync += first.eq(group_start)
            with m.If(group_last):
                m.d.sync += planes_read.eq(Mux(restart & ~pass_last, planes_read + 1, 0))
        return restart, group_start

    def _accept(self, m, word, held, active, finishing):
        """Take the next instruction when its tokens are there and the steps have ended."""
        free, have_load, have_store, accept = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(~active | finishing),
            have_load.eq(~word.wait_upstream | self.load_tokens),
            have_store.eq(~word.wait_downstream | self.store_tokens),
            self.instruction.ready.eq(free & have_load & have_store),
            accept.eq(self.instruction.valid & self.instruction.ready),
            self.take_load_token.eq(accept & word.wait_upstream),
            self.take_store_token.eq(accept & word.wait_downstream),
            self.wait_load.eq(self.instruction.valid & ~active & ~have_load),
            self.wait_store.eq(self.instruction.valid & ~active & have_load & ~have_store),
        ]
        with m.If(accept):
            m.d.sync += [active.eq(1), Cat(held.as_value()).eq(self.instruction.payload)]

"""``dense``: an INT8 multiply-accumulate array, output stationary.

::

    activations -+                              scales -+
                 v                                      v
    weights -> operands -> products -> adder tree -> group sum -> scaled sum -> accumulator -> sums
               1 stage     1 stage     1 stage each  1 stage      1 stage       1 stage
                                       two levels
"""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from designs.units import DenseSpec
from hwgen.units.base import MatrixUnit

__all__ = ["DenseRow", "DenseUnit"]

_ENDS = data.StructLayout({"group_last": 1, "pass_last": 1, "scaled": 1})
"""What of the step control travels beside the data."""


class DenseRow(wiring.Component):
    """``lanes_n`` dot products of one token: a row of the array as one component.

    Members
    -------
    enable : In(1 + tree_stages)
        Enables of the product stage (bit 0) and of each adder stage.
    activations : In(8 * lanes_k)
        One token's ``lanes_k`` INT8 activations.
    weights : In(8 * lanes_n * lanes_k)
        Unpacked INT8 weights, ``[lanes_n][lanes_k]``.
    dots : Out(lanes_n * dot_bits)
        Signed dot products, ``1 + tree_stages`` cycles after the operands.
    """

    def __init__(self, spec: DenseSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "enable": In(1 + spec.tree_stages),
                "activations": In(8 * spec.lanes_k),
                "weights": In(8 * spec.lanes_n * spec.lanes_k),
                "dots": Out(spec.lanes_n * spec.dot_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes_k, dot_bits = self.spec.lanes_k, self.spec.dot_bits
        for n in range(self.spec.lanes_n):
            terms = []
            for k in range(lanes_k):
                product = Signal(signed(16), name=f"product_{n}_{k}", reset_less=True)
                activation = self.activations.word_select(k, 8).as_signed()
                weight = self.weights.word_select(n * lanes_k + k, 8).as_signed()
                with m.If(self.enable[0]):
                    m.d.sync += product.eq(activation * weight)
                terms.append(product)
            for stage in range(self.spec.tree_stages):
                sums = []
                for index in range(0, len(terms), 4):
                    part = terms[index : index + 4]  # a power of two: one, two or four terms
                    total = (part[0] + part[1]) if len(part) > 1 else part[0]
                    total = total + (part[2] + part[3]) if len(part) > 2 else total
                    name = f"tree_{n}_{stage}_{index // 4}"
                    register = Signal(Shape.cast(total.shape()), name=name, reset_less=True)
                    with m.If(self.enable[1 + stage]):
                        m.d.sync += register.eq(total)
                    sums.append(register)
                terms = sums
            m.d.comb += self.dots.word_select(n, dot_bits).eq(terms[0])
        return m


class DenseUnit(MatrixUnit):
    """The dense unit; see :class:`MatrixUnit` for its ports and the module for its stages.

    Initiation interval 1 step a cycle at every code width; latency ``DenseSpec.latency``.
    The whole pipeline holds while ``sums`` is blocked.
    """

    spec: DenseSpec

    def __init__(self, spec: DenseSpec) -> None:
        super().__init__(spec)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        step = self.control.payload
        advance = Signal()
        take = Signal()
        scale_ready = Signal()
        m.d.comb += [
            advance.eq(~self.sums.valid | self.sums.ready),
            scale_ready.eq(self.scales.valid | ~(step.scaled & step.group_last)),
            take.eq(
                advance
                & self.control.valid
                & self.activations.valid
                & self.weights.valid
                & scale_ready
            ),
            self.control.ready.eq(take),
            self.activations.ready.eq(take),
            self.weights.ready.eq(take),
            self.scales.ready.eq(take & step.scaled & step.group_last),
        ]

        # Valid bits, controls and scales travel beside the data; index 0 is the operand stage.
        before_group = 2 + spec.tree_stages  # operands, products, adder stages
        stages = before_group + 2  # group sum, scaled sum
        valid = [Signal(name=f"valid_{i}") for i in range(stages)]
        control = [Signal(_ENDS, name=f"control_{i}") for i in range(stages)]
        scale_bits = 8 * spec.scale_word_bytes
        scales = [
            Signal(scale_bits, name=f"scales_{i}", reset_less=True) for i in range(before_group + 1)
        ]
        activations = Signal(8 * spec.activation_word_bytes, name="activations_0", reset_less=True)
        weights = Signal(8 * spec.weight_word_bytes, name="weights_0", reset_less=True)
        with m.If(advance):
            m.d.sync += [valid[0].eq(take), scales[0].eq(self.scales.payload)]
            m.d.sync += [getattr(control[0], name).eq(getattr(step, name)) for name, _ in _ENDS]
            m.d.sync += [new.eq(old) for old, new in pairwise(valid)]
            m.d.sync += [new.eq(old) for old, new in pairwise(control)]
            m.d.sync += [new.eq(old) for old, new in pairwise(scales)]
        with m.If(take):
            m.d.sync += [
                activations.eq(self.activations.payload),
                weights.eq(self._unpacked(step)),
            ]
        word = 8 * spec.lanes_k
        for row in range(spec.lanes_m):
            m.submodules[f"row_{row}"] = array = DenseRow(spec)
            m.d.comb += [
                array.enable.eq(advance.replicate(len(array.enable)) & Cat(valid[:-3])),
                array.activations.eq(activations.word_select(row, word)),
                array.weights.eq(weights),
            ]
            self._accumulate(m, row, array.dots, advance, valid, control, scales[-1])

        with m.If(advance):
            m.d.sync += self.sums.valid.eq(valid[-1] & control[-1].pass_last)
        return m

    def _unpacked(self, step):
        """Codes of one step as INT8, whichever width they are packed at."""
        packed = self.weights.payload
        lanes = self.spec.weight_word_bytes
        if 4 not in self.spec.weight_bits:
            return packed
        narrow = Cat(
            Cat(nibble, nibble[3].replicate(4))
            for nibble in (packed.word_select(i, 4) for i in range(lanes))
        )
        if 8 not in self.spec.weight_bits:
            return narrow
        return Mux(step.weight_bits == 4, narrow, packed)

    def _accumulate(self, m, row, dots, advance, valid, control, scales):
        """The last three stages of one token's ``lanes_n`` sums."""
        spec = self.spec
        group_first = Signal(init=1, name=f"group_first_{row}")
        pass_first = Signal(init=1, name=f"pass_first_{row}")
        add_dot = Signal(name=f"add_dot_{row}")
        scale_group = Signal(name=f"scale_group_{row}")
        add_group = Signal(name=f"add_group_{row}")
        m.d.comb += [
            add_dot.eq(advance & valid[-3]),
            scale_group.eq(advance & valid[-2] & control[-2].group_last),
            add_group.eq(advance & valid[-1] & control[-1].group_last),
        ]
        with m.If(add_dot):
            m.d.sync += group_first.eq(control[-3].group_last)
        with m.If(add_group):
            m.d.sync += pass_first.eq(control[-1].pass_last)
        for n in range(spec.lanes_n):
            dot = dots.word_select(n, spec.dot_bits).as_signed()
            group = Signal(signed(spec.group_sum_bits), name=f"group_{row}_{n}", reset_less=True)
            with m.If(add_dot):
                m.d.sync += group.eq(Mux(group_first, 0, group) + dot)
            sum_shape = signed(spec.accumulator_bits)
            scaled = Signal(sum_shape, name=f"scaled_{row}_{n}", reset_less=True)
            scale = Mux(control[-2].scaled, scales.word_select(n, 8), 1)
            with m.If(scale_group):
                m.d.sync += scaled.eq(group * scale)
            total = Signal(sum_shape, name=f"total_{row}_{n}", reset_less=True)
            with m.If(add_group):
                m.d.sync += total.eq(Mux(pass_first, 0, total) + scaled)
            index = row * spec.lanes_n + n
            m.d.comb += self.sums.payload.word_select(index, spec.accumulator_bits).eq(total)

"""``dense``: an INT8 multiply-accumulate array, output stationary, four stages deep.

::

    activations --+                     scales --+
                  v                              v
    weights -> products -> adder tree -> group sum -> scaled accumulator -> sums
               stage 1     stage 2       stage 3      stage 4
"""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from designs.units import DenseSpec, UnitSpec
from hwgen.units.base import MatrixUnit, StepControl

__all__ = ["DenseRow", "DenseUnit"]


def _balanced_sum(terms):
    """Sum of ``terms`` as a balanced adder tree."""
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
    return terms[0]


class DenseRow(wiring.Component):
    """``lanes_n`` dot products of one token: a row of the array as one component.

    Members
    -------
    multiply, add : In(1)
        Enables of stage 1 and stage 2.
    activations : In(8 * lanes_k)
        One token's ``lanes_k`` INT8 activations.
    weights : In(8 * lanes_n * lanes_k)
        Unpacked INT8 weights, ``[lanes_n][lanes_k]``.
    dots : Out(lanes_n * dot_bits)
        Signed dot products, two cycles after the operands.
    """

    def __init__(self, spec: UnitSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "multiply": In(1),
                "add": In(1),
                "activations": In(8 * spec.lanes_k),
                "weights": In(8 * spec.lanes_n * spec.lanes_k),
                "dots": Out(spec.lanes_n * spec.dot_bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes_k, dot_bits = self.spec.lanes_k, self.spec.dot_bits
        for n in range(self.spec.lanes_n):
            products = []
            for k in range(lanes_k):
                product = Signal(signed(16), name=f"product_{n}_{k}", reset_less=True)
                activation = self.activations.word_select(k, 8).as_signed()
                weight = self.weights.word_select(n * lanes_k + k, 8).as_signed()
                with m.If(self.multiply):
                    m.d.sync += product.eq(activation * weight)
                products.append(product)
            dot = Signal(signed(dot_bits), name=f"dot_{n}", reset_less=True)
            with m.If(self.add):
                m.d.sync += dot.eq(_balanced_sum(products))
            m.d.comb += self.dots.word_select(n, dot_bits).eq(dot)
        return m


class DenseUnit(MatrixUnit):
    """The dense unit; see :class:`MatrixUnit` for its ports and the module for its stages.

    Initiation interval 1 step a cycle at every code width; latency ``DenseSpec.latency``.
    The whole pipeline holds while ``sums`` is blocked.
    """

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

        # Valid bits, controls and scales travel beside the data.
        valid = [Signal(name=f"valid_{i}") for i in range(1, 4)]
        control = [Signal(StepControl(), name=f"control_{i}") for i in range(1, 4)]
        scale_bits = 8 * spec.scale_word_bytes
        scales = [Signal(scale_bits, name=f"scales_{i}", reset_less=True) for i in range(1, 4)]
        with m.If(advance):
            m.d.sync += [valid[0].eq(take), control[0].eq(step), scales[0].eq(self.scales.payload)]
            for i in range(2):
                m.d.sync += [
                    valid[i + 1].eq(valid[i]),
                    control[i + 1].eq(control[i]),
                    scales[i + 1].eq(scales[i]),
                ]

        weights = self._unpacked(step)
        for row in range(spec.lanes_m):
            m.submodules[f"row_{row}"] = array = DenseRow(spec)
            word = 8 * spec.lanes_k
            m.d.comb += [
                array.multiply.eq(take),
                array.add.eq(advance & valid[0]),
                array.activations.eq(self.activations.payload.word_select(row, word)),
                array.weights.eq(weights),
            ]
            self._accumulate(m, row, array.dots, advance, valid, control, scales[2])

        group_done = Signal()  # the group sum in stage 3 ends a pass
        m.d.comb += group_done.eq(valid[2] & control[2].pass_last)
        with m.If(advance):
            m.d.sync += self.sums.valid.eq(group_done)
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
        return Mux(step.narrow, narrow, packed)

    def _accumulate(self, m, row, dots, advance, valid, control, scales):
        """Stages 3 and 4 of one token's ``lanes_n`` sums."""
        spec = self.spec
        group_first = Signal(init=1, name=f"group_first_{row}")
        pass_first = Signal(init=1, name=f"pass_first_{row}")
        add_dot = Signal(name=f"add_dot_{row}")
        add_group = Signal(name=f"add_group_{row}")
        m.d.comb += [
            add_dot.eq(advance & valid[1]),
            add_group.eq(advance & valid[2] & control[2].group_last),
        ]
        with m.If(add_dot):
            m.d.sync += group_first.eq(control[1].group_last)
        with m.If(add_group):
            m.d.sync += pass_first.eq(control[2].pass_last)
        for n in range(spec.lanes_n):
            dot = dots.word_select(n, spec.dot_bits).as_signed()
            group = Signal(signed(spec.group_sum_bits), name=f"group_{row}_{n}", reset_less=True)
            with m.If(add_dot):
                m.d.sync += group.eq(Mux(group_first, 0, group) + dot)
            total = Signal(
                Shape(spec.accumulator_bits, signed=True), name=f"total_{row}_{n}", reset_less=True
            )
            scale = Mux(control[2].scaled, scales.word_select(n, 8), 1)
            with m.If(add_group):
                m.d.sync += total.eq(Mux(pass_first, 0, total) + group * scale)
            index = row * spec.lanes_n + n
            m.d.comb += self.sums.payload.word_select(index, spec.accumulator_bits).eq(total)

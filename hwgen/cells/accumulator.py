"""The end that all integer cells share: shifter of a plane, negation, accumulator."""

from amaranth.hdl import Cat, Const, Mux, Signal, Value

__all__ = ["accumulate", "negated_in_place", "plane_bits", "shifted"]


def accumulate(m, cell, value: Value, bits: int, carry: Value | None = None) -> None:
    """Add ``value + carry`` to the cell's accumulator and drive its output ``total``.

    ``cell.first`` starts a new sum, ``cell.enable`` takes the value. The register has no reset:
    ``first`` is its only way to a known state.

    Parameters
    ----------
    m : amaranth.hdl.Module
    cell : amaranth.lib.wiring.Component
        Has members ``enable`` In(1), ``first`` In(1), ``total`` Out(signed(bits)).
    value : Value
        Signed addend.
    bits : int
        Width of the accumulator; sums are modulo this width.
    carry : Value, optional
        Carry into the lowest bit; it completes a negation that only inverted.
    """
    register = Signal(bits, name="accumulator", reset_less=True)
    before = register & (~cell.first).replicate(bits)
    addend = _extended(value, bits)
    if carry is None:
        total = before + addend
    else:
        # One position below the lowest bit, 1 + carry, makes the carry: one adder does both.
        total = (Cat(Const(1, 1), before) + Cat(carry, addend))[1:]
    with m.If(cell.enable):
        m.d.sync += register.eq(total[:bits])
    m.d.comb += cell.total.eq(register)


def plane_bits(weight_bits: int) -> int:
    """Width of a plane number; 0 if there is only one plane."""
    return (weight_bits - 1).bit_length()


def negated_in_place(value: Value, negative: Value) -> Value:
    """``value`` inverted where ``negative``: minus ``value`` less 1, the carry's to add."""
    return value.as_signed() ^ negative.replicate(len(value)).as_signed()


def shifted(value: Value, plane: Value, weight_bits: int, fill: Value | None = None) -> Value:
    """Signed ``value * 2**plane`` for ``plane`` below ``weight_bits``.

    Parameters
    ----------
    value : Value
    plane : Value
        :func:`plane_bits` wide; unused for one plane.
    weight_bits : int
    fill : Value, optional
        The bit that moves in from below, 0 if not given: an inverted value takes ones.
    """
    fill = Const(0, 1) if fill is None else fill
    result = _extended(value, len(value) + weight_bits - 1)
    for stage in range(plane_bits(weight_bits)):
        moved = Cat(fill.replicate(1 << stage), result)[: len(result)]
        result = Mux(plane[stage], moved, result)
    return result.as_signed()


def _extended(value: Value, bits: int) -> Value:
    """The low ``bits`` bits of a signed value, its sign repeated above."""
    value = value[:bits]
    return Cat(value, value[-1].replicate(bits - len(value)))

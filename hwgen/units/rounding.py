"""Right shifts that round to nearest, ties to even."""

from amaranth.hdl import Const, Mux, Signal

__all__ = ["halved_to_even"]


def halved_to_even(m, name, value, amount):
    """``value / 2^amount`` as its floor and the 1 that rounding adds, or not.

    A logarithmic shifter that carries a guard bit (the highest bit shifted out) and a sticky bit
    (any bit below it), as IEEE 754 rounding does. Two's complement values round the same way as
    magnitudes do: to nearest even is symmetric.

    Parameters
    ----------
    m : Module
        Takes the shifter's signals.
    name : str
        Of those signals.
    value : amaranth Value
        Signed or unsigned.
    amount : amaranth Value
        Unsigned shift.

    Returns
    -------
    floor : amaranth Value
        ``floor(value / 2^amount)``, as wide as ``value``.
    up : amaranth Value
        1 bit: add it to ``floor`` for the rounded quotient.
    """
    shape = value.shape()
    guard = sticky = Const(0, 1)
    for bit in range(len(amount)):
        step = 1 << bit
        if step > len(value):  # past the highest bit: only signs are left, or zeros
            lost, below = value[-1] if shape.signed else Const(0, 1), value.any()
        else:
            lost, below = value[step - 1], value[: step - 1].any()
        shifted = Signal(shape, name=f"{name}_shifted_{bit}")
        next_guard = Signal(name=f"{name}_guard_{bit}")
        next_sticky = Signal(name=f"{name}_sticky_{bit}")
        m.d.comb += [
            shifted.eq(Mux(amount[bit], value >> step, value)),
            next_guard.eq(Mux(amount[bit], lost, guard)),
            next_sticky.eq(Mux(amount[bit], below | guard | sticky, sticky)),
        ]
        value, guard, sticky = shifted, next_guard, next_sticky
    return value, guard & (sticky | value[0])

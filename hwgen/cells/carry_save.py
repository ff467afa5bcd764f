"""Sum of many rows of bits with one carry-propagating addition at the end."""

from amaranth.hdl import Cat, Const, Module, Signal, Value

__all__ = ["carry_save_sum"]


def carry_save_sum(m: Module, columns: list[list[Value]]) -> Value:
    """Sum of single bits by column, modulo ``2**len(columns)``.

    Full and half adders bring every column down to two bits in the order of L. Dadda, "Some
    schemes for parallel multipliers", Alta Frequenza 34, 1965: as late as the height of the tree
    allows. What is left are two words, and they are added.

    Parameters
    ----------
    m : Module
        Takes the signals of the adders.
    columns : list of list of Value
        Bits of weight ``2**i`` in column ``i``.

    Returns
    -------
    Value
        Unsigned, ``len(columns)`` bits.
    """
    columns = [list(column) for column in columns]
    for height in reversed(_heights(max(len(column) for column in columns))):
        for index, column in enumerate(columns):
            while len(column) > height:
                taken = 3 if len(column) > height + 1 else 2
                total, carry = _adder(m, *(column.pop(0) for _ in range(taken)))
                column.append(total)
                if index + 1 < len(columns):
                    columns[index + 1].append(carry)
    rows = [
        Cat(column[row] if row < len(column) else Const(0, 1) for column in columns)
        for row in range(2)
    ]
    return (rows[0] + rows[1])[: len(columns)]


def _heights(highest: int) -> list[int]:
    """Dadda's heights below the highest column: 2, 3, 4, 6, 9, 13, ..."""
    heights = [2]
    while heights[-1] * 3 // 2 < highest:
        heights.append(heights[-1] * 3 // 2)
    return heights


def _adder(m: Module, a: Value, b: Value, c: Value | None = None) -> tuple[Value, Value]:
    """Sum and carry of two or three bits, as signals: an expression would be written out twice."""
    total, carry = Signal(name="total"), Signal(name="carry")
    if c is None:
        m.d.comb += [total.eq(a ^ b), carry.eq(a & b)]
    else:
        either = Signal(name="either")
        m.d.comb += [either.eq(a ^ b), total.eq(either ^ c), carry.eq((a & b) | (c & either))]
    return total, carry

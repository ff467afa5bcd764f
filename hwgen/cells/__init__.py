"""Elements of one dot product, synthesised one by one to compare ways of multiplying.

None of them is part of an accelerator: they are the other sides of the comparison in
docs/lut-area.md. The lookup row and the table generator of the accelerator itself are
``hwgen.units.lut_row`` and ``hwgen.units.lut_table``.

All cells end in the same accumulator (:func:`hwgen.cells.accumulator.accumulate`), have no input
registers, and are as long as one combinational path from operands to accumulator.
"""

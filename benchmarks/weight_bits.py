"""Cycles by the width of weights: T-MAC's claim that cost is linear in bits, on a lookup unit.

T-MAC (Wei et al., EuroSys'25, arXiv 2407.00088, section 3) computes one bit plane of the weights at
a time, so that time follows their width. The same products are simulated, and run on the generated
RTL, with weights of 1 to 8 bits; beside them on a multiplier array.
"""

from benchmarks.markdown import markdown_table
from silicast.verification import verify

__all__ = ["table"]

_SHAPES = {"compute-bound": (64, 512, 1024), "memory-bound": (1, 2048, 640)}
_FORMATS = {
    "lut-tiny": ("int1", "int2", "ternary", "int3", "int4", "int8"),
    "dense-int8-tiny": ("int4", "int8"),
}
_COLUMNS = ("bound", "M x N x K", "design", "weights", "simulated", "RTL", "RTL over int1")
_TITLE = """## Cycles by weight bits

A lookup unit takes a cycle a bit plane, as T-MAC does on processors. Every sum is compared with the
golden model's.
"""


def table() -> str:
    """Cycles of each product by width, simulated and on the RTL.

    Raises
    ------
    RuntimeError
        A product differs from the golden model or its cycles from the simulation.
    """
    rows = []
    for bound, (m, n, k) in _SHAPES.items():
        one = 0
        for design, formats in _FORMATS.items():
            for name in formats:
                result = verify(design, m, n, k, name)
                if not result.passed:
                    raise RuntimeError(f"{name} {result.gemm} on {design} is wrong")
                one = one or result.cycles_rtl
                cycles = (f"{result.cycles_simulated:,}", f"{result.cycles_rtl:,}")
                share = f"{result.cycles_rtl / one:.3f}"
                rows.append((bound, result.gemm, design, name, *cycles, share))
    return _TITLE + "\n" + markdown_table(_COLUMNS, rows, (0, 1, 2, 3))

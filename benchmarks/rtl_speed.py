"""How fast the fast runner simulates the generated RTL."""

import time

import numpy as np

from benchmarks.markdown import markdown_table
from designs.files import library_names, load_design
from hwgen.verilated.runner import VerilatedAccelerator
from mapping.formats import parse_format
from mapping.program import compile_gemm
from mapping.tiling import GemmShape
from sim.timeline import simulate_program

__all__ = ["table"]

_PRODUCTS = (
    ("decode, gate of Gemma-3-270M", GemmShape(1, 2048, 640)),
    ("decode, 4096 x 4096", GemmShape(1, 4096, 4096)),
    ("prefill of 64, 2048 x 640", GemmShape(64, 2048, 640)),
)


def table() -> str:
    """Cycles a second of every library design, INT8 and INT4, random weights and activations."""
    random = np.random.default_rng(0)
    rows = []
    for name in library_names():
        design = load_design(name)
        if design.unit.simulated_only:
            continue
        memory = np.zeros(((64 << 20) // design.line_bytes, design.line_bytes), np.uint8)
        with VerilatedAccelerator(design, memory) as accelerator:
            for label, shape in _PRODUCTS:
                for fmt in ("int8", "int4_g128"):
                    program = compile_gemm(design, shape, parse_format(fmt))
                    memory[:] = random.integers(0, 256, memory.shape, np.uint8)
                    first, code = program.placement.program_line, program.binary
                    lines = np.frombuffer(code, np.uint8).reshape(-1, design.line_bytes)
                    memory[first : first + len(lines)] = lines
                    start = time.perf_counter()
                    cycles = accelerator.run(first, program.blocks).cycles
                    seconds = time.perf_counter() - start
                    simulated = simulate_program(design, program).cycles
                    row = (name, label, fmt, cycles, simulated, f"{seconds:.2f}")
                    rows.append((*row, f"{cycles / seconds:,.0f}"))
    columns = ("design", "product", "weights", "RTL cycles", "simulated", "s", "cycles/s")
    return "## Fast runner (Verilator, no Python per cycle)\n\n" + markdown_table(
        columns, rows, (0, 1, 2)
    )


if __name__ == "__main__":
    print(table())

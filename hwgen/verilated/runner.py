"""Fast runner: programs on the Verilated design, no Python per cycle."""

import ctypes
from dataclasses import astuple, dataclass, fields

import numpy as np

from designs.memory_timing import MemoryTiming, memory_timing
from designs.registers import COUNTERS, STATUS, register_offset
from designs.spec import Design
from hwgen.verilated.build import BuildError, build_shared_library
from hwgen.verilog import design_verilog, top_name
from templates import render

__all__ = ["Counters", "HardwareError", "VerilatedAccelerator"]


_FAILURES = ("memory_error", "bad_program", "aborted")
_ABORT_CYCLES = 1 << 20


# In the order of ``Violation`` in templates/verilated.cpp.jinja.
_VIOLATIONS = (
    "a burst crosses a 4 KB boundary",
    "a burst is not INCR, of whole words, and aligned",
    "a write with strobes missing",
    "WLAST not with the last beat",
    "write data before its address",
)


class HardwareError(RuntimeError):
    """The simulated hardware reported an error or did not finish."""


@dataclass(frozen=True)
class Counters:
    """The hardware's own counters after a program; cycles and lines, see designs/registers.py."""

    cycles: int
    compute_busy: int
    compute_wait_load: int
    compute_wait_store: int
    load_wait_compute: int
    read_lines: int
    write_lines: int
    weight_lines: int
    weight_window: int
    weight_window_lines: int


class VerilatedAccelerator:
    """One accelerator with its memory.

    Parameters
    ----------
    design : Design
        Built on first use; the build is cached by content.
    memory : ndarray of uint8, shape (lines, line_bytes), C order
        External memory, shared with the hardware: it reads and writes this very array.

    Raises
    ------
    BuildError
        Verilator or the compiler failed.
    ValueError
        ``memory`` has another shape or type.
    """

    def __init__(self, design: Design, memory: np.ndarray) -> None:
        if (
            memory.dtype != np.uint8
            or memory.ndim != 2
            or memory.shape[1] != design.line_bytes
            or not memory.flags.c_contiguous
        ):
            raise ValueError(f"memory must be uint8 (lines, {design.line_bytes}) in C order")
        top = top_name(design)
        harness = render(
            "verilated.cpp.jinja",
            design=design,
            top=top,
            status_offset=register_offset("status"),
            control_offset=register_offset("control"),
            timing_fields=[field.name for field in fields(MemoryTiming)],
        )
        library = build_shared_library(design_verilog(design), top, harness)
        self.design = design
        self.memory = memory
        try:
            self._library = _bind(ctypes.CDLL(str(library)))
        except OSError as error:
            raise BuildError(f"{library.name} cannot be loaded: {error}") from None
        timing = astuple(memory_timing(design))
        self._runner = self._library.silicast_create(
            memory.ctypes.data, memory.shape[0], (ctypes.c_int64 * len(timing))(*timing)
        )

    def close(self) -> None:
        """Free the simulation; further runs are not allowed."""
        if self._runner:
            self._library.silicast_destroy(self._runner)
            self._runner = None

    def __enter__(self) -> "VerilatedAccelerator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_runner", None):
            self.close()

    @property
    def simulated_cycles(self) -> int:
        """Clock cycles since creation, host accesses included."""
        return self._library.silicast_cycle(self._runner)

    def run(self, program_line: int, blocks: int, max_cycles: int = 1 << 32) -> Counters:
        """Run a program that is in memory, and return the hardware's counters.

        Parameters
        ----------
        program_line : int
            First line of the program.
        blocks : int
            Its length in fetch blocks.
        max_cycles : int
            Abort the program after so many cycles.

        Raises
        ------
        HardwareError
            The hardware reported an error, or did not finish in time.
        """
        library, runner = self._library, self._runner
        library.silicast_write(runner, register_offset("program_line"), program_line)
        library.silicast_write(runner, register_offset("program_blocks"), blocks)
        library.silicast_write(runner, register_offset("control"), 1)
        status = ctypes.c_uint32()
        done = library.silicast_wait(runner, max_cycles, ctypes.byref(status))
        violation = library.silicast_violation(runner)
        if violation:
            told = _VIOLATIONS[violation - 1]
            raise HardwareError(f"{self.design.name}: AXI4 violation on a memory port: {told}")
        if not done:
            library.silicast_write(runner, register_offset("control"), 0b10)
            library.silicast_wait(runner, _ABORT_CYCLES, ctypes.byref(status))
            told = self._status(status.value)
            raise HardwareError(
                f"{self.design.name}: program not done after {max_cycles} cycles ({told})"
            )
        if any(status.value >> STATUS[name] & 1 for name in _FAILURES):
            raise HardwareError(f"{self.design.name}: {self._status(status.value)}")
        return self.counters()

    @staticmethod
    def _status(value: int) -> str:
        names = [name for name, bit in STATUS.items() if value >> bit & 1]
        return f"status {value:#x}: {', '.join(names)}"

    def counters(self) -> Counters:
        """Read all counters over the control port."""
        values = {}
        for counter in COUNTERS:
            offset = register_offset(counter.name)
            low = self._library.silicast_read(self._runner, offset)
            high = self._library.silicast_read(self._runner, offset + 4)
            values[counter.name] = low | high << 32
        return Counters(**values)


def _bind(library: ctypes.CDLL) -> ctypes.CDLL:
    """Argument and result types of the harness."""
    handle, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    library.silicast_create.argtypes = [
        ctypes.c_void_p,
        u64,
        ctypes.POINTER(ctypes.c_int64),
    ]
    library.silicast_create.restype = handle
    library.silicast_destroy.argtypes = [handle]
    library.silicast_destroy.restype = None
    library.silicast_write.argtypes = [handle, ctypes.c_uint, u32]
    library.silicast_write.restype = None
    library.silicast_read.argtypes = [handle, ctypes.c_uint]
    library.silicast_read.restype = u32
    library.silicast_wait.argtypes = [handle, u64, ctypes.POINTER(u32)]
    library.silicast_wait.restype = ctypes.c_int
    library.silicast_violation.argtypes = [handle]
    library.silicast_violation.restype = ctypes.c_int
    library.silicast_cycle.argtypes = [handle]
    library.silicast_cycle.restype = u64
    return library

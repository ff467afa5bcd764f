"""The linear layers of a running model, on the RTL and on the golden model at once.

The two executors own a memory each and share nothing but the file their weights come from: what
one writes, the other cannot see. They run at the same time, on a processor each.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.half_precision import half_scale, to_half
from mapping.instruction import Instruction, decode
from mapping.model import LinearShape
from mapping.program import GemmProgram
from mapping.quantise import quantise_activations, scale_sums
from mapping.tiling import GemmShape
from silicast.errors import hardware_failures, program_failures
from silicast.memory import clear_outputs, read_sums, write_activations, write_instructions
from silicast.progress import Progress
from silicast.verification import cycle_limit
from silicast.weights import MOST_ROWS, PreparedModel
from sim.golden import run_program
from sim.model import simulate_gemm

__all__ = ["LinearLayers", "OperatorRun"]

Float = NDArray[np.float32]


@dataclass
class OperatorRun:
    """Executions of linear layers of one kind and size so far.

    Attributes
    ----------
    name : str
        ``layers.*.q`` and so on, or ``lm_head``.
    phase : str
        ``prefill`` or ``decode``.
    kind : str
        ``q``, ``k``, ... ``lm_head``.
    m, n, k : int
        Size of one execution.
    count : int
        Executions.
    cycles_simulated : int
        Of one execution.
    cycles_rtl : int or None
        Of one execution, the one furthest from the simulated cycles; None without RTL.
    total_cycles_rtl : int or None
        Of all executions.
    outputs, mismatched_outputs : int
        Sums compared between RTL and golden model, and those that differ.
    cycles_ok : bool
        Simulated and RTL cycles are within the limit in every execution.
    """

    name: str
    phase: str
    kind: str
    m: int
    n: int
    k: int
    count: int
    cycles_simulated: int
    cycles_rtl: int | None
    total_cycles_rtl: int | None
    outputs: int
    mismatched_outputs: int
    cycles_ok: bool


class LinearLayers:
    """``linear(name, activations)`` of a decoder; use as a context manager.

    Parameters
    ----------
    prepared : PreparedModel
        The model's memory image.
    shapes : mapping of str to LinearShape
        The layers by name.
    backend : str
        ``rtl``: the RTL computes and the golden model checks; ``golden``: it computes alone.
    progress : Progress
        Told of the build and of each execution.

    Raises
    ------
    FailedCheck
        The build failed; from calls, the hardware did not finish.
    """

    def __init__(
        self,
        prepared: PreparedModel,
        shapes: Mapping[str, LinearShape],
        backend: str,
        progress: Progress,
    ) -> None:
        self.operators: dict[tuple[str, str, GemmShape], OperatorRun] = {}
        self.pass_cycles: list[int] = []
        self.rtl_seconds = 0.0
        self._prepared, self._shapes, self._progress = prepared, shapes, progress
        self._programs: dict[tuple[str, int], tuple[GemmProgram, list[Instruction]]] = {}
        self._cycles = 0
        self._memory = prepared.memory()
        self._accelerator = None
        if backend == "rtl":
            self._hardware_memory = prepared.memory()
            design = prepared.program.design
            progress.stage(f"building {design.name} with Verilator, about 40 s, cached")
            with hardware_failures():
                from hwgen.verilated.runner import VerilatedAccelerator

                self._accelerator = VerilatedAccelerator(design, self._hardware_memory)
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> "LinearLayers":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        if self._accelerator is not None:
            self._accelerator.close()

    def __call__(self, name: str, activations: Float) -> Float:
        """Outputs of a layer, float32 (M, K) to float32 (M, N), `MOST_ROWS` rows at a time."""
        parts = [
            self._multiply(name, activations[first : first + MOST_ROWS])
            for first in range(0, len(activations), MOST_ROWS)
        ]
        if name == "lm_head":  # the last layer of a pass
            self.pass_cycles.append(self._cycles)
            self._cycles = 0
        self._progress.advance()
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _program(self, name: str, m: int) -> tuple[GemmProgram, list[Instruction]]:
        if (name, m) not in self._programs:
            program = self._prepared.program.operator(name, m)
            self._programs[name, m] = program, decode(program.binary)
        return self._programs[name, m]

    def _multiply(self, name: str, activations: Float) -> Float:
        codes, scale = self._activations(activations)
        program, instructions = self._program(name, len(codes))
        hardware = None
        if self._accelerator is not None:
            hardware = self._thread.submit(self._on_hardware, program, codes)
        write_activations(self._memory, program, codes)
        clear_outputs(self._memory, program)
        with program_failures():
            run_program(program.design, instructions, self._memory)
        sums = read_sums(self._memory, program)
        if hardware is None:
            self._record(name, program)
        else:
            golden = sums
            sums, cycles = hardware.result()
            self._record(name, program, cycles, int((sums != golden).sum()))
        return scale_sums(sums, self._prepared.channel_scale[name], scale)

    def _activations(self, values: Float) -> tuple[NDArray, NDArray[np.float32]]:
        """What the hardware multiplies, INT8 or FP16, and the real value of 1 of a token's sums."""
        program = self._prepared.program
        if program.design.activations == "int8":
            return quantise_activations(values)
        return to_half(values), np.full(len(values), half_scale(program.fmt), np.float32)

    def _on_hardware(self, program: GemmProgram, codes: NDArray) -> tuple[NDArray[np.int64], int]:
        """Sums and cycles of the RTL, in the hardware's own memory."""
        assert self._accelerator is not None
        memory, place = self._hardware_memory, program.placement
        write_instructions(memory, program)
        write_activations(memory, program, codes)
        clear_outputs(memory, program)
        cost = simulate_gemm(program.design, program.shape, program.fmt, whole=True)
        begin = time.perf_counter()
        with hardware_failures():
            limit = 2 * cost.cycles + 100_000
            counters = self._accelerator.run(place.program_line, program.blocks, limit)
        self.rtl_seconds += time.perf_counter() - begin
        return read_sums(memory, program), counters.cycles

    def _record(
        self, name: str, program: GemmProgram, cycles_rtl: int | None = None, mismatched: int = 0
    ) -> None:
        shape, linear = program.shape, self._shapes[name]
        cycles = simulate_gemm(program.design, shape, program.fmt, whole=True).cycles
        self._cycles += cycles
        phase = "decode" if self.pass_cycles else "prefill"
        key = phase, linear.kind, shape
        if key not in self.operators:
            shown = f"layers.*.{linear.kind}" if name.startswith("layers.") else name
            self.operators[key] = OperatorRun(
                name=shown,
                phase=phase,
                kind=linear.kind,
                m=shape.m,
                n=shape.n,
                k=shape.k,
                count=0,
                cycles_simulated=cycles,
                cycles_rtl=None,
                total_cycles_rtl=None,
                outputs=0,
                mismatched_outputs=0,
                cycles_ok=True,
            )
        run = self.operators[key]
        run.count += 1
        if cycles_rtl is None:
            return
        run.outputs += shape.m * shape.n
        run.mismatched_outputs += mismatched
        run.total_cycles_rtl = (run.total_cycles_rtl or 0) + cycles_rtl
        worst = run.cycles_rtl
        if worst is None or abs(cycles_rtl - cycles) > abs(worst - cycles):
            run.cycles_rtl = cycles_rtl
        run.cycles_ok &= abs(cycles_rtl - cycles) <= cycle_limit(cycles_rtl)

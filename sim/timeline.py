"""Timeline simulator: a program's cycles, from the same design file as the RTL.

Events are instructions and bursts, never single cycles. The rules below are those of the RTL
(the "Timing" paragraph of each engine in hwgen/engines and hwgen/control/fetch.py); cycle 0 is the
first cycle in which the hardware's cycle counter counts.

- Fetch asks for block b when fewer than ``fetch_blocks`` are held. An instruction whose last byte
  arrives in cycle t is dispatched in t + 2 at the earliest, one a cycle, when its queue has room,
  and is visible to its engine a cycle later. A place in a full queue is free the cycle after the
  engine accepts.
- A burst is picked one a cycle, fetch first, while fewer than ``max_outstanding_reads`` are in
  flight, and reaches memory a cycle later.
- Load accepts in t, offers bursts from t + 1, and accepts the next in the cycle of the last one.
- Compute accepts in t, reads steps from t + 1, and accepts the next in the cycle of the last read.
- Store accepts in t and offers bursts from t + 1, one a cycle, while fewer than
  ``max_outstanding_writes`` are unacknowledged. Lines of a burst picked in p are read from p + 1
  on, one a cycle, and reach memory two cycles later. It is finished the cycle after its last read,
  and accepts the next a cycle later.
- A token given in cycle t is seen in t + 1.
"""

from collections import deque
from collections.abc import Sequence
from math import ceil

from designs.spec import INSTRUCTION_BYTES, Design
from mapping.instruction import Instruction
from mapping.isa import Buffer, Opcode
from mapping.program import GemmProgram
from sim.engine_queue import EngineQueue
from sim.memory.channel import MemoryBus
from sim.records import Span, Timeline

__all__ = ["simulate_program"]

_NEVER = 1 << 62
_KINDS = {Buffer.ACTIVATION: "activation", Buffer.WEIGHT: "weight", Buffer.SCALE: "weight"}


class _Simulation:
    """State of one program's run; see the module for the rules."""

    def __init__(self, design: Design, program: GemmProgram) -> None:
        self.design = design
        instructions: Sequence[Instruction] = program.instructions
        self.program_line = program.placement.program_line
        self.instructions = instructions
        self.bus = MemoryBus(design)
        depth = design.control.queue_depth
        self.load, self.compute, self.store = (
            EngineQueue(depth),
            EngineQueue(depth),
            EngineQueue(depth),
        )
        self.engine_of = {
            Opcode.LOAD: self.load,
            Opcode.MATMUL: self.compute,
            Opcode.STORE: self.store,
        }
        self.load_to_compute: deque[int] = deque()
        self.compute_to_load: deque[int] = deque()
        self.compute_to_store: deque[int] = deque()
        self.store_to_compute: deque[int] = deque()
        self.memory_spans: list[Span] = []
        self.overhead_spans: list[Span] = []
        self.compute_spans: list[Span] = []
        self.read_lines = self.write_lines = self.weight_lines = 0
        self.first_weight = self.last_weight = -1
        self.end_cycle = 0

        # Fetch and dispatch.
        self.blocks = program.blocks
        self.block_size = design.fetch_block_instructions
        self.requested = 0
        self.fetch_ready: int | None = 0
        self.arrival: list[int] = []
        self.block_done: list[int] = []
        self.next_dispatch = 0
        self.last_dispatch = -1

        # Read arbiter.
        self.next_pick = 0
        self.burst_ends: deque[int] = deque()

        # Load engine: the instruction whose bursts are being issued.
        self.load_line = self.load_left = 0
        self.load_ready: int | None = None
        self.load_instruction: Instruction | None = None
        self.load_last_pick = -1
        self.receive_ends: list[int] = []

        # Compute and store engines.
        self.compute_free = -1
        self.store_free = 0
        self.write_events: deque[tuple[int, int, int]] = deque()
        self.store_instruction: Instruction | None = None
        self.store_line = self.store_left = 0
        self.store_ready = 0
        self.store_last_read = -1
        self.write_bursts = 0
        self.acknowledged: list[int] = []

    # What is determined without a new memory event ---------------------------------------------

    def settle(self) -> None:
        """Advance everything that waits only for times already known."""
        moved = True
        while moved:
            moved = self._dispatch() | self._accept_load() | self._accept_compute()
            moved |= self._accept_store() | self._issue_writes()

    def _dispatch(self) -> bool:
        moved = False
        count = len(self.instructions)
        total = self.blocks * self.block_size
        while self.next_dispatch < min(total, len(self.arrival)):
            index = self.next_dispatch
            cycle = max(self.arrival[index] + 2, self.last_dispatch + 1)
            instruction = self.instructions[index] if index < count else None
            if instruction is not None and instruction.opcode in self.engine_of:
                engine = self.engine_of[instruction.opcode]
                room = engine.room()
                if room is None:
                    break
                cycle = max(cycle, room)
                engine.push(instruction, cycle)
            self.last_dispatch = cycle
            self.next_dispatch += 1
            moved = True
            if self.next_dispatch % self.block_size == 0:
                self.block_done.append(cycle)
                self._fetch_more()
        return moved

    def _fetch_more(self) -> None:
        """When the next block is asked for, if that is known."""
        if self.fetch_ready is not None or self.requested == self.blocks:
            return
        index = self.requested - self.design.control.fetch_blocks
        if index < 0:
            self.fetch_ready = self.next_pick
        elif index < len(self.block_done):
            self.fetch_ready = self.block_done[index] + 1

    def _accept_load(self) -> bool:
        if self.load_instruction is not None or not self.load.waiting:
            return False
        instruction = self.load.waiting[0]
        cycle = max(self.load.visible[0], self.load_last_pick)
        index = len(self.load.accepted) - self.design.control.loads_in_flight
        if index >= 0:
            if index >= len(self.receive_ends):
                return False
            cycle = max(cycle, self.receive_ends[index] + 1)
        if instruction.wait_downstream:
            if not self.compute_to_load:
                return False
            cycle = max(cycle, self.compute_to_load.popleft() + 1)
        self.load_instruction = self.load.pop(cycle)
        self.load_line = instruction.dram_line
        self.load_left = instruction.lines
        self.load_ready = cycle + 1
        return True

    def _accept_compute(self) -> bool:
        moved = False
        unit = self.design.unit
        while self.compute.waiting:
            instruction = self.compute.waiting[0]
            if instruction.wait_upstream and not self.load_to_compute:
                break
            if instruction.wait_downstream and not self.store_to_compute:
                break
            cycle, held_by = self.compute_free, "none"
            if self.compute.visible[0] > cycle:
                cycle, held_by = self.compute.visible[0], "dispatch"
            if instruction.wait_upstream:
                token = self.load_to_compute.popleft() + 1
                if token > cycle:
                    cycle, held_by = token, "load"
            if instruction.wait_downstream:
                token = self.store_to_compute.popleft() + 1
                if token > cycle:
                    cycle, held_by = token, "store"
            self.compute.pop(cycle)
            steps = instruction.n_tiles * instruction.m_tiles * instruction.k_steps
            beats = unit.beats(instruction.weight_bits)
            words = max(1, ceil(unit.step_words(instruction.weight_bits)))
            last_read = cycle + steps * beats - beats + words
            # A unit that is slower than its words holds the next instruction's first step back.
            self.compute_free = last_read + beats - words
            self.compute_spans.append(Span(cycle + 1, self.compute_free + 1, held_by))
            if instruction.signal_upstream:
                self.compute_to_load.append(last_read)
            # Offered a cycle after its read, through the unit, then accumulated and written.
            written = last_read + 1 + unit.latency + 1
            if instruction.signal_downstream:
                self.compute_to_store.append(written)
            self.end_cycle = max(self.end_cycle, written + 1)
            moved = True
        return moved

    def _accept_store(self) -> bool:
        if self.store_instruction is not None or not self.store.waiting:
            return False
        instruction = self.store.waiting[0]
        cycle = max(self.store.visible[0], self.store_free)
        if instruction.wait_upstream:
            if not self.compute_to_store:
                return False
            cycle = max(cycle, self.compute_to_store.popleft() + 1)
        self.store_instruction = self.store.pop(cycle)
        self.store_line = instruction.dram_line
        self.store_left = instruction.tiles * instruction.lines_per_tile
        self.write_lines += self.store_left
        self.store_ready = cycle + 1
        return True

    def _issue_writes(self) -> bool:
        """Bursts of the store instruction whose acknowledgement window is known to be open."""
        instruction = self.store_instruction
        if instruction is None:
            return False
        dram = self.design.dram
        moved = False
        while self.store_left:
            index = self.write_bursts - dram.max_outstanding_writes
            if index >= len(self.acknowledged):
                return moved
            pick = self.store_ready
            if index >= 0:
                pick = max(pick, self.acknowledged[index] + 1)
            line = self.store_line % dram.max_burst_beats
            beats = min(self.store_left, dram.max_burst_beats - line)
            self.store_last_read = max(pick, self.store_last_read) + beats
            self.write_events.append((self.store_last_read + 2, self.store_line, beats))
            self.write_bursts += 1
            self.store_line += beats
            self.store_left -= beats
            self.store_ready = pick + 1
            moved = True
        finished = self.store_last_read + 1
        if instruction.signal_upstream:
            self.store_to_compute.append(finished)
        self.store_free = finished + 1
        self.end_cycle = max(self.end_cycle, finished + 1)
        self.store_instruction = None
        return True

    # Memory events, in order of the cycle in which memory sees them -----------------------------

    def run(self) -> Timeline:
        self.settle()
        while True:
            fetch = self.fetch_ready if self.fetch_ready is not None else _NEVER
            load = self.load_ready if self.load_ready is not None else _NEVER
            read = min(fetch, load)
            if read < _NEVER:
                read = self._pick_cycle(read)
            write = self.write_events[0][0] if self.write_events else _NEVER
            if read == write == _NEVER:
                break
            if read + 1 <= write:
                if fetch <= read:
                    self._read_block(read)
                else:
                    self._read_bursts(read, min(fetch, write))
            else:
                self._write_burst()
            self.settle()
        return self._finish()

    def _pick_cycle(self, ready: int) -> int:
        """First cycle in which the arbiter can pick a burst that is ready in ``ready``."""
        cycle = max(ready, self.next_pick)
        if len(self.burst_ends) == self.design.dram.max_outstanding_reads:
            cycle = max(cycle, self.burst_ends[0] + 1)
        return cycle

    def _pick(self, kind: str, cycle: int, line: int, beats: int) -> tuple[int, int]:
        """Send a burst to memory; first and last beat's cycle."""
        if len(self.burst_ends) == self.design.dram.max_outstanding_reads:
            self.burst_ends.popleft()
        first, last = self.bus.read(cycle + 1, line, beats)
        self._reserved(kind)
        self.burst_ends.append(last)
        self.next_pick = cycle + 1
        self.read_lines += beats
        return first, last

    def _reserved(self, kind: str) -> None:
        """Record what was put on the bus: waiting writes, then perhaps a read of ``kind``."""
        for burst in self.bus.take():
            if burst.ready < burst.start:
                self.overhead_spans.append(Span(burst.ready, burst.start, "overhead"))
            self._span("store" if burst.write else kind, burst.start, burst.end, burst.lines)

    def _span(self, kind: str, start: int, end: int, lines: int) -> None:
        spans = self.memory_spans
        if spans and spans[-1].kind == kind and spans[-1].end == start:
            spans[-1] = Span(spans[-1].start, end, kind, spans[-1].lines + lines)
        else:
            spans.append(Span(start, end, kind, lines))

    def _read_block(self, cycle: int) -> None:
        design = self.design
        beats = design.fetch_block_lines
        line = self.program_line + self.requested * beats
        _, last = self._pick("instruction", cycle, line, beats)
        for index in range(self.block_size):
            line = ((index + 1) * INSTRUCTION_BYTES - 1) // design.line_bytes
            self.arrival.append(self.bus.beat_cycle(line))
        self.requested += 1
        self.end_cycle = max(self.end_cycle, last + 1)
        self.fetch_ready = None
        self._fetch_more()
        if self.fetch_ready is not None:
            self.fetch_ready = max(self.fetch_ready, cycle + 1)

    def _read_bursts(self, cycle: int, before: int) -> None:
        """Issue the load instruction's bursts until another event in cycle ``before``."""
        instruction = self.load_instruction
        assert instruction is not None
        limit = self.design.dram.max_burst_beats
        kind = _KINDS[Buffer(instruction.buffer)]
        while True:
            beats = min(self.load_left, limit - self.load_line % limit)
            first, last = self._pick(kind, cycle, self.load_line, beats)
            if kind == "weight":
                if self.first_weight < 0:
                    self.first_weight = first
                self.last_weight = last
                self.weight_lines += beats
            self.load_line += beats
            self.load_left -= beats
            if not self.load_left:
                break
            self.load_ready = cycle + 1
            cycle = self._pick_cycle(cycle + 1)
            # A fetch in the same cycle goes first; a write is seen by memory before this read.
            if before <= cycle:
                return
        self.load_last_pick = cycle
        self.load_ready = None
        self.load_instruction = None
        self.receive_ends.append(last)
        self.end_cycle = max(self.end_cycle, last + 1)
        if instruction.signal_downstream:
            self.load_to_compute.append(last)

    def _write_burst(self) -> None:
        cycle, line, beats = self.write_events.popleft()
        acknowledged = self.bus.write(cycle, line, beats)
        self._reserved("store")
        self.acknowledged.append(acknowledged)
        self.end_cycle = max(self.end_cycle, acknowledged + 1)

    def _finish(self) -> Timeline:
        left = [e for e in (self.load, self.compute, self.store) if e.waiting]
        if left or self.next_dispatch < self.blocks * self.block_size:
            raise ValueError("the program waits for a token that is never given")
        self.bus.drain()
        self._reserved("store")
        window = self.last_weight - self.first_weight + 1 if self.weight_lines else 0
        return Timeline(
            # All engines are at rest in end_cycle; the counter counts that cycle too.
            cycles=max(self.end_cycle, self.last_dispatch + 1) + 1,
            compute=self.compute_spans,
            memory=self.memory_spans,
            read_lines=self.read_lines,
            write_lines=self.write_lines,
            weight_lines=self.weight_lines,
            weight_window=window,
            overhead=self.overhead_spans,
            row_hits=self.bus.row_hits,
            row_misses=self.bus.row_misses,
            turnarounds=self.bus.turnarounds,
            refreshes=self.bus.refreshes,
            table_latency=self.design.unit.table_latency,
        )


def simulate_program(design: Design, program: GemmProgram) -> Timeline:
    """Cycles of a program compiled for ``design``, and what engines and memory bus did in them.

    Raises
    ------
    ValueError
        The program deadlocks.
    """
    return _Simulation(design, program).run()

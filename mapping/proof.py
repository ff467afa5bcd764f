"""Proof on the instruction list that a program is safe, whatever the engines' speed."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from designs.errors import InputError
from designs.spec import Design
from mapping.instruction import Instruction
from mapping.isa import MOST_TOKENS, Buffer, Opcode
from mapping.multiplication import activation_format, activation_steps, check_multiplication
from mapping.tiling import Tiling

__all__ = ["Proof", "prove"]

_ENGINES = ("load", "compute", "store")
_ENGINE = {Opcode.LOAD: 0, Opcode.MATMUL: 1, Opcode.STORE: 2}


@dataclass(frozen=True)
class Proof:
    """What ``prove`` counted on the way.

    Parameters
    ----------
    loads, multiplications, stores : int
        Instructions of each engine.
    peak_tokens : dict of str to int
        Most tokens that can wait in each counter, named ``load->compute`` and so on.
    """

    loads: int
    multiplications: int
    stores: int
    peak_tokens: dict[str, int]


def prove(design: Design, tiling: Tiling, instructions: Sequence[Instruction]) -> Proof:
    """Prove on the instruction list that a program is safe whatever the engines' speed.

    Shown: every token taken was given by an earlier instruction and none is left over (so no
    queue depth deadlocks); no buffer address is out of range; in the order that tokens alone
    enforce, no load overwrites what is still to be read, nothing is read before it is loaded,
    no tile is overwritten before it is stored; every tile sent out is stored.

    Parameters
    ----------
    design : Design
        The accelerator.
    tiling : Tiling
        How the product is cut.
    instructions : sequence of Instruction
        The program, END included.

    Raises
    ------
    InputError
        Naming the first instruction that breaks a rule, and the rule.
    """
    replay = _Replay(design, tiling)
    ended = False
    for index, instruction in enumerate(instructions):
        if instruction.opcode is Opcode.NOP:
            continue
        if ended:
            raise _broken(index, instruction, "follows END", "NOP after END")
        if instruction.opcode is Opcode.END:
            ended = True
        else:
            replay.step(index, instruction)
    if not ended:
        raise InputError("program", "end", None, "an END instruction")
    return replay.finish()


def _broken(index: int, instruction: Instruction, found: str, allowed: str) -> InputError:
    return InputError("program", f"instruction {index} {instruction.opcode.name}", found, allowed)


class _Replay:
    """Token order as a happens-before relation, and who last wrote and read each buffer line.

    A clock holds, for each engine, how many of its instructions are known to be done. Tokens
    carry the clock of the instruction that gave them.
    """

    def __init__(self, design: Design, tiling: Tiling):
        buffers, line = design.buffers, design.line_bytes
        sizes = {
            Buffer.ACTIVATION: buffers.activation_bytes,
            Buffer.WEIGHT: buffers.weight_bytes,
            Buffer.SCALE: buffers.scale_bytes,
        }
        self.design = design
        self.tiling = tiling
        self.clocks = [[0, 0, 0] for _ in _ENGINES]
        self.counts = [0, 0, 0]
        self.tokens: dict[tuple[int, int], deque] = {
            pair: deque() for pair in ((0, 1), (1, 0), (1, 2), (2, 1))
        }
        self.given = dict.fromkeys(self.tokens, 0)
        self.peaks = dict.fromkeys(self.tokens, 0)
        self.waits: dict[tuple[int, int], list[int]] = {pair: [] for pair in self.tokens}
        # positions in the engine's order; -1 is never
        self.written = {b: np.full(size // line, -1) for b, size in sizes.items()}
        self.read = {b: np.full(size // line, -1) for b, size in sizes.items()}
        self.tile_written = np.full(design.output_tiles, -1)
        self.tile_stored = np.full(design.output_tiles, -1)
        self.tile_full = np.zeros(design.output_tiles, bool)
        self.partial = np.zeros(design.partial_tiles, bool)

    def step(self, index: int, i: Instruction) -> None:
        """Replay one instruction."""
        engine = _ENGINE[i.opcode]
        clock = self.clocks[engine]
        for waits, other in ((i.wait_upstream, engine - 1), (i.wait_downstream, engine + 1)):
            if waits:
                self._take(index, i, other, engine)
        try:
            (self._load, self._multiply, self._store)[engine](i, clock)
        except InputError as error:
            found = f"{error.field} {error.found}".strip()
            raise _broken(index, i, found, error.allowed) from None
        clock[engine] += 1
        self.counts[engine] += 1
        for signals, other in ((i.signal_upstream, engine - 1), (i.signal_downstream, engine + 1)):
            if signals:
                self._give(index, i, engine, other)

    def finish(self) -> Proof:
        """What must hold after the last instruction."""
        for (giver, taker), left in self.tokens.items():
            if left:
                name = f"tokens {_ENGINES[giver]}->{_ENGINES[taker]}"
                raise InputError("program", name, len(left), "0 left over at the end")
        if self.tile_full.any():
            tile = int(np.flatnonzero(self.tile_full)[0])
            raise InputError("program", f"output tile {tile}", "never stored", "a STORE of it")
        peaks = {f"{_ENGINES[a]}->{_ENGINES[b]}": n for (a, b), n in self.peaks.items()}
        for name, peak in peaks.items():
            if peak > MOST_TOKENS:
                raise InputError("program", f"tokens {name}", peak, f"at most {MOST_TOKENS}")
        loads, multiplications, stores = self.counts
        return Proof(loads, multiplications, stores, peaks)

    def _take(self, index: int, i: Instruction, giver: int, taker: int) -> None:
        queue = self.tokens.get((giver, taker))
        if not queue:
            allowed = "a token given by an earlier instruction"
            raise _broken(index, i, "waits for a token that is never given before", allowed)
        clock = self.clocks[taker]
        clock[:] = map(max, clock, queue.popleft())
        self.waits[giver, taker].append(self.counts[taker])

    def _give(self, index: int, i: Instruction, giver: int, taker: int) -> None:
        if (giver, taker) not in self.tokens:
            raise _broken(index, i, "signals an engine that does not exist", "no such token")
        self.tokens[giver, taker].append(list(self.clocks[giver]))
        self.given[giver, taker] += 1
        # a token is surely gone when the giver knows that the instruction taking it is done
        done = self.clocks[giver][taker]
        left = self.given[giver, taker] - bisect_left(self.waits[giver, taker], done)
        self.peaks[giver, taker] = max(self.peaks[giver, taker], left)

    def _load(self, i: Instruction, clock: list[int]) -> None:
        buffer = Buffer(i.buffer)
        lines = _range(i.buffer_line, i.lines, len(self.written[buffer]), "lines of the buffer")
        if self.read[buffer][lines].max() >= clock[1]:
            raise InputError("", "", "overwrites lines still to be read", "a wait for the reader")
        self.written[buffer][lines] = clock[0]

    def _multiply(self, i: Instruction, clock: list[int]) -> None:
        unit, line = self.design.unit, self.design.line_bytes
        check_multiplication(unit, i)
        size = i.n_tiles * i.k_steps * unit.weight_step_bytes(i.weight_bits)
        reads = [(Buffer.WEIGHT, i.weight_word * unit.weight_word_bytes, size)]
        step = unit.activation_step_bytes(activation_format(i))
        span = ((i.m_tiles - 1) * i.activation_stride + activation_steps(i)) * step
        reads.append((Buffer.ACTIVATION, i.activation_step * step, span))
        if i.scaled:
            words = unit.scale_words(i.k_steps // i.group_steps, bool(i.special))
            size = i.n_tiles * words * unit.scale_word_bytes
            reads.append((Buffer.SCALE, i.scale_word * unit.scale_word_bytes, size))
        for buffer, start, size in reads:
            first, last = start // line, -(-(start + size) // line)
            written = self.written[buffer]
            lines = _range(first, last - first, len(written), f"lines of {buffer.name}")
            if written[lines].min() < 0 or written[lines].max() >= clock[0]:
                what = f"reads {buffer.name} lines not known to be loaded"
                raise InputError("", "", what, "a wait for their LOAD")
            self.read[buffer][lines] = clock[1]
        tiles = i.n_tiles * i.m_tiles
        if i.accumulate or not i.emit:
            partial = _range(i.partial_tile, tiles, len(self.partial), "partial tiles")
            if i.accumulate and not self.partial[partial].all():
                raise InputError("", "", "adds partial sums never kept", "an earlier MATMUL")
            self.partial[partial] = True
        if i.emit:
            out = _range(i.tile, tiles, len(self.tile_full), "output tiles")
            if self.tile_full[out].any():
                raise InputError("", "", "overwrites tiles never stored", "stored tiles")
            if self.tile_stored[out].max() >= clock[2]:
                raise InputError("", "", "overwrites tiles being stored", "a wait for the STORE")
            self.tile_full[out] = True
            self.tile_written[out] = clock[1]

    def _store(self, i: Instruction, clock: list[int]) -> None:
        tiles = _range(i.tile, i.tiles, len(self.tile_full), "output tiles")
        if not 1 <= i.lines_per_tile <= self.design.tile_lines:
            allowed = f"1 .. {self.design.tile_lines}"
            raise InputError("", "", f"lines_per_tile {i.lines_per_tile}", allowed)
        if not self.tile_full[tiles].all() or self.tile_written[tiles].max() >= clock[1]:
            raise InputError("", "", "reads tiles not known to be written", "a wait for MATMUL")
        self.tile_full[tiles] = False
        self.tile_stored[tiles] = clock[2]


def _range(first: int, count: int, size: int, what: str) -> slice:
    if count < 1 or first < 0 or first + count > size:
        raise InputError("", "", f"{what} {first} .. {first + count - 1}", f"0 .. {size - 1}")
    return slice(first, first + count)

"""Instructions of a product in program order, with the tokens that keep them safe.

Loads run ahead by the slots of the weight ring. Instructions are put in an order in which
everything an instruction waits for comes before it, so the program ends for any queue depth:
the first unfinished instruction never waits for a later one. Lines in memory count from the
start of their region; ``mapping.program`` adds where the regions lie.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from designs.spec import Design
from designs.units.base import CODE_TYPES, SPECIAL_VALUES
from mapping.code_books import encode_special
from mapping.instruction import Instruction, operand_names
from mapping.isa import Buffer, Opcode
from mapping.layout import activation_block_lines, scale_slot_lines, weight_slot_lines
from mapping.tiling import Split, Tiling

__all__ = ["schedule"]

_ENGINES = ("load", "compute", "store")
_ENGINE = {Opcode.LOAD: 0, Opcode.MATMUL: 1, Opcode.STORE: 2}
_NAMES = {opcode: operand_names(opcode) for opcode in Opcode}


@dataclass(slots=True)
class _Node:
    """An instruction before its tokens: what must be done before it may start."""

    opcode: Opcode
    operands: tuple[int, ...]
    needs: tuple["_Node", ...]
    position: int = -1  # in its engine's order, set when the program order is known
    flags: int = 0  # bits as in Instruction: 1 and 2 wait, 4 and 8 signal


def _node(opcode: Opcode, needs: tuple[_Node, ...], **operands: int) -> _Node:
    return _Node(opcode, tuple(int(operands[name]) for name in _NAMES[opcode]), needs)


def schedule(design: Design, tiling: Tiling) -> tuple[Instruction, ...]:
    """All instructions of a product, END last; memory lines count from their region's start.

    Parameters
    ----------
    design : Design
        The accelerator.
    tiling : Tiling
        How the product is cut.

    Returns
    -------
    tuple of Instruction
    """
    order = _Builder(design, tiling).program_order()
    _assign_positions(order)
    for producer, consumer in ((0, 1), (1, 0), (1, 2), (2, 1)):
        _assign_tokens(order, producer, consumer)
    made = [
        Instruction(
            node.opcode,
            node.operands,
            bool(node.flags & 1),
            bool(node.flags & 2),
            bool(node.flags & 4),
            bool(node.flags & 8),
        )
        for node in order
    ]
    return (*made, Instruction(Opcode.END))


def _assign_positions(order: list[_Node]) -> None:
    counts = [0, 0, 0]
    for node in order:
        engine = _ENGINE[node.opcode]
        node.position = counts[engine]
        counts[engine] += 1


def _assign_tokens(order: list[_Node], producer: int, consumer: int) -> None:
    """Tokens from one engine to its neighbour, one for each need that is new.

    Engines finish in order, so a token of instruction j stands for all before j. Needs already
    covered by an earlier token are dropped; the rest rise strictly, so the k-th wait takes
    exactly the token of the k-th signal and all counters end at 0.
    """
    wait, signal = (1, 8) if producer < consumer else (2, 4)
    covered = -1
    for node in order:
        if _ENGINE[node.opcode] != consumer:
            continue
        latest: _Node | None = None
        for need in node.needs:
            newer = latest is None or need.position > latest.position
            if _ENGINE[need.opcode] == producer and newer:
                latest = need
        if latest is not None and latest.position > covered:
            covered = latest.position
            node.flags |= wait
            latest.flags |= signal


class _Builder:
    """Builds the nodes slot by slot and deals them to the program order."""

    def __init__(self, design: Design, tiling: Tiling):
        self.design = design
        self.tiling = tiling
        self.weights = tiling.weights
        self.weight_lines = weight_slot_lines(design, tiling).reshape(-1)
        self.scale_lines = scale_slot_lines(design, tiling).reshape(-1)
        self.block_lines = activation_block_lines(design, tiling)
        self.loads: dict[int, list[_Node]] = defaultdict(list)  # keyed by the slot they follow
        self.work: list[list[_Node]] = []  # multiplications and stores of each slot pass
        self.releases: list[_Node] = []  # the multiplication that releases each slot pass
        self.stores: list[_Node] = []
        self.output_line = 0
        registers = [*tiling.fmt.special_values, *([0] * SPECIAL_VALUES)][:SPECIAL_VALUES]
        self.special = {f"special_{j}": encode_special(v) for j, v in enumerate(registers)}

    def program_order(self) -> list[_Node]:
        """All nodes; every need of a node comes before it."""
        for block in range(self.tiling.blocks.parts):
            self._block(block)
        order = list(self.loads[-1])
        for index, work in enumerate(self.work):
            order += work
            order += self.loads[index]
        return order

    def _block(self, block: int) -> None:
        """One pass of a block of tokens over all weights."""
        weights, slots = self.weights, self.weights.slots
        weight_starts = (np.cumsum(self.weight_lines) - self.weight_lines).tolist()
        scale_starts = (np.cumsum(self.scale_lines) - self.scale_lines).tolist()
        activations = self._load_activations(block)
        for slot in range(weights.slot_count):
            index = len(self.work)
            after = max(-1, index - slots)
            needs = (self.releases[after],) if after >= 0 else ()
            ring = index % slots
            inputs = [activations]
            if weights.fmt.scaled:
                line = ring * weights.scale_slot_bytes // self.design.line_bytes
                lines = int(self.scale_lines[slot])
                inputs.append(self._load(Buffer.SCALE, scale_starts[slot], line, lines, needs))
            line = ring * weights.weight_slot_bytes // self.design.line_bytes
            lines = int(self.weight_lines[slot])
            inputs.append(self._load(Buffer.WEIGHT, weight_starts[slot], line, lines, needs))
            self.loads[after] += inputs[1:]
            self._work(block, slot, ring, tuple(inputs))

    def _load(
        self, buffer: Buffer, start: int, line: int, lines: int, needs: tuple[_Node, ...]
    ) -> _Node:
        return _node(
            Opcode.LOAD, needs, buffer=buffer, dram_line=start, buffer_line=line, lines=lines
        )

    def _load_activations(self, block: int) -> _Node:
        """The block's activations, as early as its slot of the activation buffer is free."""
        per_block = self.weights.slot_count
        first = block * per_block
        reused = (block + 1 - self.tiling.activation_slots) * per_block - 1
        needs = (self.releases[reused],) if reused >= 0 else ()
        ring = block % self.tiling.activation_slots
        node = self._load(
            Buffer.ACTIVATION,
            int(self.block_lines[:block].sum()),
            ring * self.tiling.activation_slot_bytes // self.design.line_bytes,
            int(self.block_lines[block]),
            needs,
        )
        self.loads[max(-1, reused, first - self.weights.slots)].append(node)
        return node

    def _work(self, block: int, slot: int, ring: int, inputs: tuple[_Node, ...]) -> None:
        """Multiplications on one slot, and the stores of what they emit."""
        tiling, weights = self.tiling, self.weights
        column, chunk = divmod(slot, weights.chunks.parts)
        features, tokens = weights.columns.size(column), tiling.blocks.size(block)
        emit = chunk == weights.chunks.parts - 1
        grain = weights.feature_grain  # a cut between feature tiles lies at a whole weight word
        cuts = -(-features // tiling.emit_features) if emit else 1
        feature_parts = Split(-(-features // grain), cuts)
        token_parts = Split(tokens, -(-tokens // tiling.emit_tokens) if emit else 1)
        work: list[_Node] = []
        multiplication: _Node | None = None
        for n_part in range(feature_parts.parts):
            for m_part in range(token_parts.parts):
                n_from = feature_parts.start(n_part) * grain
                n_tiles = min(features - n_from, feature_parts.size(n_part) * grain)
                m_from, m_tiles = token_parts.start(m_part), token_parts.size(m_part)
                tile = len(self.stores) % tiling.output_slots * tiling.output_slot_tiles
                reused = len(self.stores) - tiling.output_slots
                needs = (*inputs, self.stores[reused]) if emit and reused >= 0 else inputs
                multiplication = _node(
                    Opcode.MATMUL,
                    needs,
                    tile=tile if emit else 0,
                    emit=emit,
                    accumulate=chunk > 0,
                    partial_tile=m_from if weights.chunks.parts > 1 else 0,
                    n_tiles=n_tiles,
                    m_tiles=m_tiles,
                    **self._operands(block, chunk, ring, n_from, m_from),
                )
                work.append(multiplication)
                if emit:
                    work.append(self._store(multiplication, tile, n_tiles * m_tiles))
        assert multiplication is not None
        self.releases.append(multiplication)
        self.work.append(work)

    def _operands(
        self, block: int, chunk: int, ring: int, n_from: int, m_from: int
    ) -> dict[str, int]:
        """Buffer addresses and pass geometry of a multiplication."""
        tiling, weights, unit = self.tiling, self.weights, self.design.unit
        k_steps, group_steps = weights.chunk_steps(chunk), weights.group_steps(chunk)
        tile_bytes = k_steps * unit.weight_step_bytes(weights.fmt.bits)
        first_word, rest = divmod(
            ring * weights.weight_slot_bytes + n_from * tile_bytes, unit.weight_word_bytes
        )
        assert rest == 0, "a multiplication must start at a whole weight word"
        activation_slot = block % tiling.activation_slots * tiling.activation_slot_bytes
        scale_word = ring * weights.scale_slot_bytes // unit.scale_word_bytes
        return {
            "weight_bits": weights.fmt.bits,
            "scaled": weights.fmt.scaled,
            "code_type": CODE_TYPES.index(weights.fmt.code_type),
            "half": self.design.activations == "fp16",
            "planes": weights.fmt.planes,
            "special": bool(weights.fmt.special_values),
            **self.special,
            "weight_word": first_word,
            "activation_step": activation_slot // self.design.activation_step_bytes
            + m_from * weights.activation_steps
            + weights.chunk_start(chunk) // weights.fmt.planes,
            "activation_stride": weights.activation_steps,
            "scale_word": scale_word
            + n_from * unit.scale_words(k_steps // group_steps, bool(weights.fmt.special_values)),
            "k_steps": k_steps,
            "group_steps": group_steps,
        }

    def _store(self, multiplication: _Node, tile: int, tiles: int) -> _Node:
        node = _node(
            Opcode.STORE,
            (multiplication,),
            dram_line=self.output_line,
            tile=tile,
            tiles=tiles,
            lines_per_tile=self.tiling.lines_per_tile,
        )
        self.output_line += tiles * self.tiling.lines_per_tile
        self.stores.append(node)
        return node

"""Where every byte of weights, scales, activations and sums lies in memory.

All regions are arrays of memory lines, uint8 (lines, line_bytes), in the order the instructions
read or write them, so that every load and store is one contiguous run of lines. Slots and blocks
are padded to whole lines; tails of N, K and M are padded with zeros to whole tiles.
"""

import numpy as np
from numpy.typing import NDArray

from designs.errors import InputError
from designs.spec import Design
from designs.units.base import IDENTIFIED_GROUPS
from mapping.code_books import encode_values, in_code_book
from mapping.digits import pack_digits
from mapping.half_precision import check_finite
from mapping.planes import pack_planes
from mapping.quantise import QuantisedWeights
from mapping.tiling import Split, Tiling, WeightTiling

__all__ = [
    "ACTIVATION_TYPES",
    "activation_block_lines",
    "output_lines",
    "pack_activations",
    "pack_codes",
    "pack_scales",
    "pack_weights",
    "scale_slot_lines",
    "unpack_codes",
    "unpack_outputs",
    "weight_slot_lines",
]

ACTIVATION_TYPES = {"int8": np.int8, "fp16": np.float16}
"""Numpy type of one activation by format."""

_PIECE_CODES = 1 << 23  # codes transposed at a time: bounds the scratch memory of packing


def _of_weights(tiling: Tiling | WeightTiling) -> WeightTiling:
    return tiling.weights if isinstance(tiling, Tiling) else tiling


def _sizes(split: Split) -> NDArray[np.int64]:
    return np.concatenate([np.full(parts, size) for _, parts, size in split.runs()])


def weight_slot_lines(design: Design, tiling: Tiling | WeightTiling) -> NDArray[np.int64]:
    """Memory lines of every weight slot, int64 (columns, chunks)."""
    weights = _of_weights(tiling)
    step = weights.unit_steps * design.unit.weight_step_bytes(weights.fmt.bits)
    size = np.outer(_sizes(weights.columns), _sizes(weights.chunks)) * step
    return -(-size // design.line_bytes)


def scale_slot_lines(design: Design, tiling: Tiling | WeightTiling) -> NDArray[np.int64]:
    """Memory lines of every scale slot, int64 (columns, chunks); zeros when unscaled."""
    weights = _of_weights(tiling)
    word = weights.fmt.planes * design.unit.scale_word_bytes if weights.fmt.scaled else 0
    groups = _sizes(weights.chunks)
    if weights.fmt.special_values:
        groups = np.array([design.unit.scale_words(int(count), True) for count in groups])
    size = np.outer(_sizes(weights.columns), groups) * word
    return -(-size // design.line_bytes)


def activation_block_lines(design: Design, tiling: Tiling) -> NDArray[np.int64]:
    """Memory lines of every block of activations, int64 (blocks,)."""
    tile = tiling.weights.activation_steps * design.activation_step_bytes
    return -(-_sizes(tiling.blocks) * tile // design.line_bytes)


def output_lines(tiling: Tiling) -> int:
    """Memory lines of all sums: block, feature tile, token tile, row; each row padded."""
    return tiling.blocks.total * tiling.weights.columns.total * tiling.lines_per_tile


def pack_codes(codes: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Codes at their true width: code i of a row at bits i*bits of its bytes, little-endian.

    Parameters
    ----------
    codes : int8 (rows, count)
        Two's complement values of ``bits`` bits; ``count * bits`` is a multiple of 8.
    bits : int
        1 to 8.

    Returns
    -------
    uint8 (rows, count * bits / 8)
    """
    raw = np.ascontiguousarray(codes).view(np.uint8)
    if bits == 8:
        return raw
    raw = raw & np.uint8((1 << bits) - 1)
    if 8 % bits == 0:
        each = 8 // bits
        packed = raw[:, ::each].copy()
        for index in range(1, each):
            packed |= raw[:, index::each] << np.uint8(index * bits)
        return packed
    rows, count = raw.shape
    size = count * bits // 8
    whole = -(-count // 8)
    if count % 8:
        raw = np.pad(raw, ((0, 0), (0, whole * 8 - count)))
    word = np.zeros((rows, whole), "<u8")  # eight codes fill exactly ``bits`` bytes
    for index in range(8):
        word |= raw[:, index::8].astype("<u8") << np.uint64(index * bits)
    packed = word.view(np.uint8).reshape(rows, whole, 8)[:, :, :bits]
    return packed.reshape(rows, whole * bits)[:, :size]


def unpack_codes(packed: NDArray[np.uint8], bits: int) -> NDArray[np.int8]:
    """Signed codes of packed bytes; the inverse of ``pack_codes``.

    Parameters
    ----------
    packed : uint8 (rows, bytes)
        ``bytes * 8`` is a multiple of ``bits``.
    bits : int
        1 to 8.

    Returns
    -------
    int8 (rows, bytes * 8 / bits)
    """
    if bits == 8:
        return np.ascontiguousarray(packed).view(np.int8)
    rows, size = packed.shape
    up = np.uint8(8 - bits)  # shift up, then arithmetic shift down, extends the sign
    if 8 % bits == 0:
        each = 8 // bits
        codes = np.empty((rows, size, each), np.int8)
        for index in range(each):
            codes[:, :, index] = (packed << np.uint8(8 - bits * (index + 1))).view(np.int8)
        codes >>= np.int8(up)
        return codes.reshape(rows, size * each)
    count = size * 8 // bits
    whole = -(-size // bits)
    padded = np.zeros((rows, whole, 8), np.uint8)
    flat = np.zeros((rows, whole * bits), np.uint8)
    flat[:, :size] = packed
    padded[:, :, :bits] = flat.reshape(rows, whole, bits)
    word = padded.view("<u8")[:, :, 0]
    codes = np.empty((rows, whole, 8), np.int8)
    for index in range(8):
        code = (word >> np.uint64(index * bits)).astype(np.uint8)
        codes[:, :, index] = (code << up).view(np.int8) >> np.int8(up)
    return codes.reshape(rows, whole * 8)[:, :count]


def pack_weights(
    design: Design, weights: QuantisedWeights, tiling: Tiling | WeightTiling
) -> NDArray[np.uint8]:
    """Weight codes as memory lines: slot after slot, each step [lanes_n][lanes_k] packed.

    A unit whose weight word is a bit plane gets the codes plane by plane (`mapping.planes`), one
    whose word is two of them two bits of each code at a time (`mapping.digits`).

    Parameters
    ----------
    design : Design
        The accelerator.
    weights : QuantisedWeights
        Codes (N, K) in the format of the tiling.
    tiling : Tiling or WeightTiling
        How the matrix is cut; tokens do not matter.

    Returns
    -------
    uint8 (lines, line_bytes)

    Raises
    ------
    InputError
        Shape or format are not those of the tiling.
    """
    cut = _of_weights(tiling)
    _check_weights(weights, cut)
    lanes_n, lanes_k = design.unit.lanes_n, design.unit.lanes_k
    lines = weight_slot_lines(design, cut)
    memory = np.zeros((int(lines.sum()), design.line_bytes), np.uint8)
    padding = int(cut.fmt.bipolar)  # 0 is no bipolar code
    row_bytes = lines.sum(axis=1) * design.line_bytes
    first_byte = np.cumsum(row_bytes) - row_bytes
    for first, count, tiles in cut.columns.runs():
        if not count:
            continue
        stride = int(row_bytes[first])
        begin = int(first_byte[first])
        columns = memory.reshape(-1)[begin : begin + count * stride].reshape(count, stride)
        piece = max(1, _PIECE_CODES // (tiles * lanes_n * cut.steps * lanes_k))
        for low in range(0, count, piece):
            high = min(count, low + piece)
            feature = (cut.columns.start(first) + low * tiles) * lanes_n
            codes = _rows(weights.codes, feature, (high - low) * tiles * lanes_n, padding)
            codes = _pad_last(codes, cut.steps * lanes_k, padding)
            codes = codes.reshape(high - low, tiles, lanes_n, cut.steps, lanes_k)
            offset = 0
            for chunk in range(cut.chunks.parts):
                steps = slice(cut.chunk_start(chunk), cut.chunk_start(chunk + 1))
                part = codes[:, :, :, steps].transpose(0, 1, 3, 2, 4)
                packed = _packed(cut, part.reshape(high - low, -1, lanes_n, lanes_k))
                columns[low:high, offset : offset + packed.shape[1]] = packed
                offset += int(lines[first, chunk]) * design.line_bytes
    return memory


def _packed(cut: WeightTiling, codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Codes (rows, steps, lanes_n, lanes_k) as the unit reads them, uint8 (rows, bytes)."""
    fmt = cut.fmt
    if cut.word_bits == 1:
        return pack_planes(codes, fmt.bits, fmt.bipolar)
    if cut.word_bits == 2:
        raw = codes.reshape(*codes.shape[:2], -1)
        if fmt.floating:
            return pack_digits(encode_values(raw, fmt.code_type, fmt.bits), fmt.bits)
        return pack_digits(raw.view(np.uint8), fmt.bits)
    return pack_codes(codes.reshape(len(codes), -1), fmt.bits)


def pack_scales(
    design: Design, weights: QuantisedWeights, tiling: Tiling | WeightTiling
) -> NDArray[np.uint8]:
    """Group scales as memory lines: slot after slot, feature tile, group, [lanes_n] bytes.

    Formats with special values have a word of their numbers before the scales of every four groups.

    Parameters and errors as ``pack_weights``; no lines when the format stores no group scale.
    """
    cut = _of_weights(tiling)
    _check_weights(weights, cut)
    lines = scale_slot_lines(design, cut)
    memory = np.zeros((int(lines.sum()), design.line_bytes), np.uint8)
    if weights.scales is None:
        return memory
    lanes_n = design.unit.lanes_n
    row_bytes = lines.sum(axis=1) * design.line_bytes
    first_byte = np.cumsum(row_bytes) - row_bytes
    for first, count, tiles in cut.columns.runs():
        if not count:
            continue
        stride, begin = int(row_bytes[first]), int(first_byte[first])
        columns = memory.reshape(-1)[begin : begin + count * stride].reshape(count, stride)
        feature = cut.columns.start(first) * lanes_n
        scales = _rows(weights.scales, feature, count * tiles * lanes_n)
        scales = scales.reshape(count, tiles, lanes_n, -1)
        special = None
        if weights.special is not None:
            special = _rows(weights.special, feature, count * tiles * lanes_n)
            special = special.reshape(scales.shape)
        offset = 0
        for chunk in range(cut.chunks.parts):
            planes = cut.fmt.planes
            groups = slice(cut.chunks.start(chunk) * planes, cut.chunks.start(chunk + 1) * planes)
            part = scales[:, :, :, groups].transpose(0, 1, 3, 2)
            if special is not None:
                part = _identified(part, special[:, :, :, groups].transpose(0, 1, 3, 2))
            part = part.reshape(count, -1)
            columns[:, offset : offset + part.shape[1]] = part
            offset += int(lines[first, chunk]) * design.line_bytes
    return memory


def _identified(scales: NDArray[np.uint8], special: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Words of scales (count, tiles, groups, lanes_n), and those of numbers among them."""
    words = []
    for first in range(0, scales.shape[2], IDENTIFIED_GROUPS):
        part = slice(first, first + IDENTIFIED_GROUPS)
        word = np.zeros_like(scales[:, :, :1])
        for place, numbers in enumerate(np.moveaxis(special[:, :, part], 2, 0)):
            word[:, :, 0] |= numbers << np.uint8(2 * place)
        words += [word, scales[:, :, part]]
    return np.concatenate(words, axis=2)


def _check_weights(weights: QuantisedWeights, cut: WeightTiling) -> None:
    stored = cut.n, cut.k * cut.fmt.planes
    if weights.codes.shape != stored:
        raise InputError("weights", "shape", weights.codes.shape, str(stored))
    if weights.fmt != cut.fmt:
        raise InputError("weights", "format", weights.fmt.name, cut.fmt.name)
    if bool(weights.fmt.special_values) != (weights.special is not None):
        allowed = "a number a group in formats that have them, none in others"
        raise InputError("weights", "special", weights.fmt.name, allowed)
    fmt, own = weights.fmt, None
    if weights.special is not None:
        if weights.special.max(initial=0) >= len(fmt.special_values):
            allowed = f"numbers below {len(fmt.special_values)}"
            raise InputError("weights", "special", int(weights.special.max()), allowed)
        own = np.array(fmt.special_values, np.int8)[weights.special]
    if fmt.floating and not in_code_book(weights.codes, fmt.code_type, fmt.bits, own):
        allowed = f"values of {weights.fmt.name} in halves, and the special value of their group"
        raise InputError("weights", "codes", "other values", allowed)


def _rows(matrix: NDArray, first: int, count: int, padding: int = 0) -> NDArray:
    """``count`` rows from ``first`` on, padded below the last one; a view when none is missing."""
    part = matrix[first : first + count]
    if len(part) == count:
        return part
    return np.pad(part, ((0, count - len(part)), (0, 0)), constant_values=padding)


def _pad_last(matrix: NDArray, size: int, padding: int = 0) -> NDArray:
    missing = size - matrix.shape[1]
    if not missing:
        return matrix
    return np.pad(matrix, ((0, 0), (0, missing)), constant_values=padding)


def pack_activations(
    design: Design, activations: NDArray[np.int8] | NDArray[np.float16], tiling: Tiling
) -> NDArray[np.uint8]:
    """Activations as memory lines: block, token tile, step, [lanes_m][lanes_k].

    Parameters
    ----------
    design : Design
        The accelerator.
    activations : int8 or float16 (M, K)
        INT8 codes, or finite FP16 values where the design's activations are FP16.
    tiling : Tiling
        How the product is cut.

    Returns
    -------
    uint8 (lines, line_bytes)

    Raises
    ------
    InputError
        The shape or type is not that of the tiling.
    """
    shape, steps = tiling.shape, tiling.weights.activation_steps
    kind = ACTIVATION_TYPES[design.activations]
    if activations.shape != (shape.m, shape.k) or activations.dtype != kind:
        found = f"{activations.dtype} {activations.shape}"
        allowed = f"{np.dtype(kind).name} ({shape.m}, {shape.k})"
        raise InputError("activations", "shape", found, allowed)
    if kind is np.float16:
        check_finite(activations)
    lanes_m, lanes_k = design.unit.lanes_m, design.unit.lanes_k
    rows = _rows(activations, 0, tiling.blocks.total * lanes_m)
    words = _pad_last(rows, steps * lanes_k).reshape(-1, lanes_m, steps, lanes_k)
    words = words.transpose(0, 2, 1, 3)
    lines = activation_block_lines(design, tiling)
    memory = np.zeros((int(lines.sum()), design.line_bytes), np.uint8)
    line = 0
    for block, count in enumerate(lines.tolist()):
        tiles = slice(tiling.blocks.start(block), tiling.blocks.start(block + 1))
        part = np.ascontiguousarray(words[tiles]).view(np.uint8).reshape(-1)
        memory[line : line + count].reshape(-1)[: len(part)] = part
        line += count
    return memory


def unpack_outputs(design: Design, lines: NDArray[np.uint8], tiling: Tiling) -> NDArray[np.int64]:
    """Accumulator sums of the output region, without padding.

    Parameters
    ----------
    design : Design
        The accelerator.
    lines : uint8 (lines, line_bytes)
        The output region, from its first line on.
    tiling : Tiling
        How the product is cut.

    Returns
    -------
    int64 (M, N)
    """
    shape, unit = tiling.shape, design.unit
    rows = tiling.lines_per_tile // design.row_lines
    columns = tiling.weights.columns.total
    row_bytes = design.row_lines * design.line_bytes
    kind = np.dtype(f"<i{unit.result_bytes}")
    sums = np.empty((tiling.blocks.total * rows, columns * unit.lanes_n), np.int64)
    line = 0
    for first, count, tiles in tiling.blocks.runs():
        if not count:
            continue
        used = count * tiles * columns * tiling.lines_per_tile
        part = np.ascontiguousarray(lines[line : line + used])
        part = part.reshape(count, columns, tiles, rows, row_bytes)
        part = np.ascontiguousarray(part[..., : unit.lanes_n * unit.result_bytes]).view(kind)
        top = tiling.blocks.start(first) * rows
        view = sums[top : top + count * tiles * rows]
        view[:] = part.transpose(0, 2, 3, 1, 4).reshape(view.shape)
        line += used
    return sums[: shape.m, : shape.n]

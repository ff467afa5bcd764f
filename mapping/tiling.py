"""How a matrix product is cut to fit the buffers of a design.

Weights are cut into *slots*: a slot is what one load brings and one multiplication works on,
either several feature tiles of the whole of K, or, when one feature tile does not fit, a chunk
of K of one feature tile. Slots form a ring in the weight buffer. How weights are cut never
depends on the number of tokens, so one stored copy serves prefill and decode. Tokens are cut
into blocks that stay in the activation buffer while all weights pass by.
"""

from math import ceil, gcd

from designs.errors import InputError
from designs.spec import INSTRUCTION_BYTES, Design
from designs.units import UnitSpec
from designs.units.base import IDENTIFIED_GROUPS
from mapping.cuts import GemmShape, Split, Tiling, WeightTiling
from mapping.formats import WeightFormat
from mapping.isa import FORMS, Opcode

__all__ = ["GemmShape", "Split", "Tiling", "WeightTiling", "choose_tiling", "choose_weight_tiling"]

_MATMUL = {field.name: 1 << field.bits for field in FORMS[Opcode.MATMUL].fields}
_LOAD = {field.name: 1 << field.bits for field in FORMS[Opcode.LOAD].fields}
_STORE = {field.name: 1 << field.bits for field in FORMS[Opcode.STORE].fields}

_WEIGHT_SLOTS = (4, 3)  # two slots leave the channel idle while a slot waits for its release
_FEWEST_SLOTS = 2
_OUTPUT_SLOTS = 8
_ISSUE_CYCLES = 4  # between two instructions of an engine; only ranks candidates


def choose_tiling(design: Design, shape: GemmShape, fmt: WeightFormat) -> Tiling:
    """Cut a product for a design.

    Raises
    ------
    InputError
        The unit has no such format, or a buffer is too small; the message names the design,
        the field and what it would take.
    """
    weights = choose_weight_tiling(design, shape.n, shape.k, fmt)
    unit = design.unit
    tiles = ceil(shape.m / unit.lanes_m)
    blocks, slots = _choose_blocks(design, weights, tiles, min(shape.m, unit.lanes_m))
    block_bytes = blocks.largest * weights.activation_steps * design.activation_step_bytes
    emit_features, emit_tokens = _choose_emission(design, weights, blocks.largest)
    if design.tile_lines >= _STORE["lines_per_tile"]:
        allowed = f"lanes_m * lines of a row below {_STORE['lines_per_tile']}"
        raise InputError(design.name, "unit.lanes_m", unit.lanes_m, allowed)
    return Tiling(
        shape=shape,
        weights=weights,
        blocks=blocks,
        activation_slots=slots,
        activation_slot_bytes=_align(block_bytes, _activation_grain(design)),
        emit_features=emit_features,
        emit_tokens=emit_tokens,
        output_slots=min(_OUTPUT_SLOTS, _output_tiles(design) // (emit_features * emit_tokens)),
        lines_per_tile=min(shape.m, unit.lanes_m) * design.row_lines,
    )


def choose_weight_tiling(design: Design, n: int, k: int, fmt: WeightFormat) -> WeightTiling:
    """Cut an (n, k) weight matrix for a design, for any number of tokens.

    The whole of K is kept together when four or three slots of the weight buffer can hold a
    feature tile of it; else K is cut and partial sums are kept. Among the sizes that fit, the
    one with the fewest estimated cycles at one token tile (where memory must never wait) wins.

    Raises
    ------
    InputError
        As ``choose_tiling``.
    """
    _check_format(design, k, fmt)
    unit = design.unit
    GemmShape(1, n, k)
    grain = unit.step_grain(fmt.bits)
    unit_steps = fmt.group // unit.lanes_k * fmt.planes if fmt.group else grain
    # K is padded to whole words, and to the shortest pass the unit takes.
    steps = ceil(ceil(k / unit.lanes_k) / grain) * grain * fmt.planes
    steps = max(steps, unit.least_steps(fmt.bits))
    units = steps // unit_steps
    tiles = ceil(n / unit.lanes_n)
    whole = [(slots, 1) for slots in _WEIGHT_SLOTS]
    cut = [(slots, 0) for slots in _WEIGHT_SLOTS]
    for slots, chunks in [*whole, *cut, (_FEWEST_SLOTS, 1), (_FEWEST_SLOTS, 0)]:
        most = _units_per_slot(design, fmt, (units, unit_steps), slots)
        if chunks == 1 and most >= units:
            largest = min(tiles, most // units)
            word_bits = unit.weight_word_bits
            if word_bits // gcd(word_bits, steps * fmt.bits) > _output_tiles(design) // 2:
                largest = 1  # a slot of several feature tiles could not be cut for the output
            options = [
                (Split(tiles, ceil(tiles / size)), Split(units, 1)) for size in _sizes(largest)
            ]
        elif chunks == 0 and most >= 1:
            fewest = ceil(units / most)
            longest = units * unit_steps // unit.least_steps(fmt.bits)
            if fewest > longest:
                continue  # chunks would be shorter than the unit takes
            counts = {min(units, longest, fewest * factor) for factor in (1, 2, 4)} | {fewest}
            options = [(Split(tiles, tiles), Split(units, count)) for count in sorted(counts)]
        else:
            continue
        made = [
            _weight_tiling(design, n, k, fmt, (steps, unit_steps), columns, parts, slots)
            for columns, parts in options
        ]
        return min(made, key=lambda tiling: (_decode_cycles(design, tiling), -tiling.slot_count))
    raise _too_small(design, fmt, k, unit_steps)


def _allowed(unit: UnitSpec) -> str:
    """The formats a unit takes, for a refusal."""
    bits = sorted(unit.weight_bits, reverse=True)
    names = [f"int{width}[_gG]" for width in bits]
    names += ["ternary[_gG]"] * (2 in bits)
    if "bipolar" in unit.weight_types:
        names += [f"bipolar{width}[_gG]" for width in bits if 1 < width < 8]
        names += ["bcqQ_gG"] * (1 in bits)
    for width in (4, 3):
        if "float" in unit.weight_types and width in bits:
            names += [f"bitmod_fp{width}_gG[_svA_B]", f"fp{width}_er_gG", f"fp{width}_ea_gG"]
            names += [f"fp{width}[_gG]", f"mxfp{width}"]
    names += ["nvfp4"] * ("float" in unit.weight_types and 4 in bits)
    names += ["flint4[_gG]"] * ("flint" in unit.weight_types and 4 in bits)
    return f"{', '.join(names)} with G a multiple of {unit.lanes_k}: unit {unit.kind!r} has "


def _check_format(design: Design, k: int, fmt: WeightFormat) -> None:
    unit = design.unit
    if unit.simulated_only:
        raise InputError(design.name, "unit.kind", unit.kind, "a unit with RTL, e.g. dense")
    allowed = _allowed(unit)
    if not fmt.executable:
        kind = "one code book at a time" if fmt.quantisable else "codes of 8 bits at most"
        raise InputError(design.name, "weights", fmt.name, allowed + kind)
    if fmt.code_type not in unit.weight_types:
        known = {"twos_complement": "two's complement", "bipolar": "odd", "float": "floating"}
        *others, last = (known.get(name, name) for name in unit.weight_types)
        types = f"{', '.join(others)} and {last}" if others else last
        raise InputError(design.name, "weights", fmt.name, allowed + f"{types} codes only")
    if fmt.asymmetric:
        raise InputError(design.name, "weights", fmt.name, allowed + "no zero points")
    if fmt.bits not in unit.weight_bits:
        raise InputError(design.name, "weights", fmt.name, allowed + "no other code widths")
    if fmt.group is not None and fmt.group % unit.lanes_k:
        raise InputError(design.name, "weights", fmt.name, allowed + "steps of that many elements")
    if fmt.group is not None:
        steps, grain = fmt.group // unit.lanes_k, unit.step_grain(fmt.bits)
        if steps % grain or steps < unit.least_steps(fmt.bits):
            least = unit.least_steps(fmt.bits) * unit.lanes_k
            what = f"groups of {fmt.bits}-bit codes from {least} elements on"
            what += f", multiples of {grain * unit.lanes_k}" * (grain > 1)
            raise InputError(design.name, "weights", fmt.name, allowed + what)
    if (fmt.group or 1) // unit.lanes_k >= _MATMUL["group_steps"]:
        most = (_MATMUL["group_steps"] - 1) * unit.lanes_k
        raise InputError(design.name, "weights", fmt.name, f"groups of at most {most} elements")
    if k > unit.max_k:
        raise InputError(design.name, "K", k, f"at most unit.max_k = {unit.max_k}")
    # One-bit codes of several planes are a longer reduction of smaller codes than the unit's.
    element = 1 << 40 if design.activations == "fp16" else 128 * 255
    most = ((1 << (unit.accumulator_bits - 1)) - 1) // (fmt.planes * element)
    if fmt.planes > 1 and k > most:
        raise InputError(design.name, "K", k, f"at most {most} with {fmt.planes} planes")
    fmt.groups(k)


def _scale_bytes(design: Design, fmt: WeightFormat, units: int) -> int:
    """Bytes of scales of so many groups of one feature tile, with all planes."""
    if not fmt.scaled:
        return 0
    words = design.unit.scale_words(units, bool(fmt.special_values))
    return words * fmt.planes * design.unit.scale_word_bytes


def _align(size: int, grain: int) -> int:
    return -(-size // grain) * grain


def _power_of_two(size: int) -> int:
    """The smallest buffer of at least ``size`` bytes: buffers are powers of two."""
    return 1 << (size - 1).bit_length()


def _weight_grain(design: Design) -> int:
    return max(design.line_bytes, design.unit.weight_word_bytes)


def _scale_grain(design: Design) -> int:
    return max(design.line_bytes, design.unit.scale_word_bytes)


def _activation_grain(design: Design) -> int:
    return max(design.line_bytes, design.unit.activation_word_bytes)


def _usable(design: Design, size: int, word_bytes: int, address: str) -> int:
    """Bytes of a buffer that instructions can address, by lines and by words."""
    lines = min(_LOAD["buffer_line"], _LOAD["lines"] - 1)
    return min(size, lines * design.line_bytes, _MATMUL[address] * word_bytes)


def _slot_limits(design: Design, slots: int) -> tuple[int, int]:
    """Most bytes of a weight slot and of a scale slot when the buffers hold ``slots``."""
    unit, buffers = design.unit, design.buffers
    weight = _usable(design, buffers.weight_bytes, unit.weight_word_bytes, "weight_word")
    scale = _usable(design, buffers.scale_bytes, unit.scale_word_bytes, "scale_word")
    grains = _weight_grain(design), _scale_grain(design)
    return weight // slots // grains[0] * grains[0], scale // slots // grains[1] * grains[1]


def _units_per_slot(design: Design, fmt: WeightFormat, tile: tuple[int, int], slots: int) -> int:
    """Most units of K (scale groups, or steps), of all feature tiles together, in a slot.

    Also below the 16-bit counts of an instruction, which bounds steps and feature tiles alike.
    ``tile`` has the units of a feature tile and the steps of a unit.
    """
    weight, scale = _slot_limits(design, slots)
    units, unit_steps = tile
    most = weight // (unit_steps * design.unit.weight_step_bytes(fmt.bits))
    if fmt.scaled:
        words = scale // (fmt.planes * design.unit.scale_word_bytes)
        whole = design.unit.scale_words(units, bool(fmt.special_values))
        if words >= whole:
            words = words // whole * units
        elif fmt.special_values:  # a part of one tile: a word of numbers every four groups
            numbered = IDENTIFIED_GROUPS + 1
            words = words // numbered * IDENTIFIED_GROUPS + max(words % numbered - 1, 0)
        most = min(most, words)
    return min(most, (_MATMUL["k_steps"] - 1) // unit_steps)


def _sizes(largest: int) -> list[int]:
    """Candidates of feature tiles a slot: 1, 2, 3, 4, 6, 8, 12, ... and the largest."""
    sizes = {largest, *range(1, min(largest, 4) + 1)}
    size = 4
    while size <= largest:
        sizes |= {size, min(largest, size * 3 // 2)}
        size *= 2
    return sorted(sizes)


def _weight_tiling(
    design: Design,
    n: int,
    k: int,
    fmt: WeightFormat,
    steps: tuple[int, int],
    columns: Split,
    chunks: Split,
    slots: int,
) -> WeightTiling:
    """The tiling of a candidate, with its slot sizes."""
    units = columns.largest * chunks.largest
    weight = units * steps[1] * design.unit.weight_step_bytes(fmt.bits)
    scale = columns.largest * _scale_bytes(design, fmt, chunks.largest)
    return WeightTiling(
        n=n,
        k=k,
        fmt=fmt,
        steps=steps[0],
        unit_steps=steps[1],
        columns=columns,
        chunks=chunks,
        slots=slots,
        weight_slot_bytes=_align(weight, _weight_grain(design)),
        scale_slot_bytes=_align(scale, _scale_grain(design)),
        word_bits=design.unit.weight_word_bits,
    )


def _decode_cycles(design: Design, tiling: WeightTiling) -> float:
    """Estimated cycles at one token tile: the first load, the steady state, the last tile.

    A slot is busy for its load, the latency and its multiplication; ``slots`` of them overlap.
    """
    line, beat = design.line_bytes, float(design.dram_beat_cycles)
    lines = ceil(tiling.weight_slot_bytes / line) + ceil(tiling.scale_slot_bytes / line)
    instructions = 4 if tiling.fmt.scaled else 3
    load = (lines + instructions * INSTRUCTION_BYTES / line) * beat + _ISSUE_CYCLES / 4
    passes = tiling.columns.largest * tiling.chunks.largest * tiling.unit_steps
    compute = passes * design.unit.beats(tiling.fmt.bits) + _ISSUE_CYCLES
    latency = design.dram_latency_cycles + design.unit.latency
    period = max(load, compute, (load + compute + latency) / tiling.slots)
    return latency + load + (tiling.slot_count - 1) * period + compute


def _choose_blocks(
    design: Design, weights: WeightTiling, tiles: int, rows: int
) -> tuple[Split, int]:
    """Token tiles over blocks and the slots of the activation buffer, by estimated cycles.

    ``rows`` of each tile are stored.
    """
    unit = design.unit
    words = _usable(
        design, design.buffers.activation_bytes, design.activation_step_bytes, "activation_step"
    )
    tile_bytes = weights.activation_steps * design.activation_step_bytes
    grain = _activation_grain(design)
    if _align(tile_bytes, grain) > words:
        raise InputError(
            design.name,
            "buffers.activation_bytes",
            design.buffers.activation_bytes,
            f"at least {_power_of_two(_align(tile_bytes, grain))} bytes for K = {weights.k}",
        )
    best: tuple[float, Split, int] | None = None
    for slots in (1, 2):
        most = min(words // slots // grain * grain // tile_bytes, _MATMUL["m_tiles"] - 1)
        if weights.chunks.parts > 1:
            most = min(most, design.partial_tiles, _MATMUL["partial_tile"])
        grain_n = min(weights.feature_grain, weights.columns.largest)
        if grain_n > 1:
            most = min(most, _output_tiles(design) // 2 // grain_n)
        if not most:
            continue
        blocks = Split(tiles, ceil(tiles / most))
        slot_lines = (weights.weight_slot_bytes + weights.scale_slot_bytes) / design.line_bytes
        beat = float(design.dram_beat_cycles)
        lines = blocks.parts * weights.slot_count * slot_lines
        lines += tiles * tile_bytes / design.line_bytes
        lines += tiles * weights.columns.total * rows * design.row_lines
        memory = lines * beat
        compute = tiles * weights.columns.total * weights.steps * unit.beats(weights.fmt.bits)
        exposed = tiles * tile_bytes / design.line_bytes * beat
        if slots > 1:
            exposed /= blocks.parts
        cycles = max(memory, compute) + exposed
        if best is None or cycles < best[0]:
            best = cycles, blocks, slots if blocks.parts > 1 else 1
    assert best is not None
    return best[1], best[2]


def _output_tiles(design: Design) -> int:
    """Tiles of the output buffer that instructions can address."""
    return min(design.output_tiles, _MATMUL["tile"], 2 * (_STORE["tiles"] - 1))


def _choose_emission(design: Design, weights: WeightTiling, tokens: int) -> tuple[int, int]:
    """Feature tiles and token tiles of one emitting instruction.

    A quarter of the output buffer when a block fits it (so stores overlap), else a half. Only
    slots of one feature tile, or cut anywhere, are also cut along the tokens.
    """
    features = weights.columns.largest
    grain = min(weights.feature_grain, features)
    half = _output_tiles(design) // 2
    quarter = half // 2
    most = quarter if tokens * grain <= quarter else half
    if tokens > most:
        return 1, Split(tokens, ceil(tokens / most)).largest
    fit = most // tokens
    if fit >= features:
        return features, tokens
    groups = ceil(features / grain)
    return Split(groups, ceil(groups / (fit // grain))).largest * grain, tokens


def _too_small(design: Design, fmt: WeightFormat, k: int, unit_steps: int) -> InputError:
    """The error for a buffer that cannot hold two slots of one unit of K."""
    least = design.unit.least_steps(fmt.bits)
    # Twice the shortest chunk can be cut wherever K ends.
    steps = unit_steps if least <= unit_steps else 2 * least
    step = steps * design.unit.weight_step_bytes(fmt.bits)
    weight = _power_of_two(_FEWEST_SLOTS * _align(step, _weight_grain(design)))
    words = _scale_bytes(design, fmt, 1)
    scale = _power_of_two(_FEWEST_SLOTS * _align(words, _scale_grain(design)))
    what = f"a group of {fmt.group}" if fmt.group else f"{steps} steps" if steps > 1 else "a step"
    if design.buffers.weight_bytes < weight:
        allowed = f"at least {weight} bytes for two slots of {what} of {fmt.name} and K = {k}"
        found = design.buffers.weight_bytes
        return InputError(design.name, "buffers.weight_bytes", found, allowed)
    allowed = f"at least {scale} bytes for two slots of group scales and K = {k}"
    return InputError(design.name, "buffers.scale_bytes", design.buffers.scale_bytes, allowed)

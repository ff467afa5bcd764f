"""FPGA resources of a design: RAM blocks and multipliers counted, look-up tables estimated.

RAMs, multipliers and registers are those of the generated RTL (`sim.rtl_storage`). Look-up tables
of the unit, and around it (`sim.surroundings`), are the sum of parts with figures measured by
synthesis (docs/unit-area.md). No synthesis tool is run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from designs.errors import InputError
from designs.fpga import FpgaDevice, load_device
from designs.spec import Design
from sim.rtl_storage import Ram, rams, registers
from sim.surroundings import LUT_RAM_DEPTH, around_unit, saved_in_place
from sim.units import UNIT_COSTS, Logic
from sim.units.estimate import dsp48

__all__ = ["Fit", "check_device", "dsp_blocks", "fits", "ram_blocks"]

_AMD_SHAPES = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
"""Depth and width of a 36 Kb block RAM with one read and one write port (AMD UG573)."""

_AMD_HALF_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""The same of its 18 Kb half (AMD UG573)."""

_INTEL_SHAPES = ((512, 40), (1024, 20), (2048, 10))
"""Depth and width of an M20K with one read and one write port (Intel, embedded memory guide)."""

_URAM_DEPTH, _URAM_WIDTH = 4096, 72
"""UltraRAM: 288 Kb, 4096 x 72 (AMD UG573)."""


@dataclass(frozen=True)
class Fit:
    """A design against a device.

    Attributes
    ----------
    device : str
        Name of the device.
    used, available, shell, free : mapping of str to float
        By resource; ``free`` is ``available`` less ``shell``. A resource that is not modelled has
        no entry in ``used``.
    estimated : tuple of str
        Resources in ``used`` that are estimates rather than counts.
    in_uram : tuple of str
        Owners of RAMs put into UltraRAM because block RAM would not hold them; the RTL needs a
        ``ram_style`` attribute for that.
    problems : tuple of str
        Resources that do not fit, and by how much.
    not_modelled : mapping of str to str
        What ``used`` leaves out, and why.
    """

    device: str
    used: Mapping[str, float]
    available: Mapping[str, float]
    shell: Mapping[str, float]
    free: Mapping[str, float]
    estimated: tuple[str, ...]
    in_uram: tuple[str, ...]
    problems: tuple[str, ...]
    not_modelled: Mapping[str, str] = field(default_factory=dict)


# Into blocks ---------------------------------------------------------------------------------


def ram_blocks(vendor: str, width: int, depth: int) -> float:
    """Block RAMs of one RAM with one read and one write port, the shape that needs fewest.

    Parameters
    ----------
    vendor : str
        ``amd``: 36 Kb blocks, halves counted 0.5. ``intel``: M20K.
    width, depth : int
        Of the RAM.

    Examples
    --------
    >>> ram_blocks("amd", 72, 512), ram_blocks("amd", 36, 512), ram_blocks("amd", 2048, 1024)
    (1.0, 0.5, 57.0)
    """

    def blocks(shapes: tuple[tuple[int, int], ...]) -> int:
        return min(ceil(width / bits) * ceil(depth / words) for words, bits in shapes)

    if vendor == "intel":
        return float(blocks(_INTEL_SHAPES))
    return min(float(blocks(_AMD_SHAPES)), 0.5 * blocks(_AMD_HALF_SHAPES))


def _uram_blocks(ram: Ram) -> int:
    return ram.count * ceil(ram.width / _URAM_WIDTH) * ceil(ram.depth / _URAM_DEPTH)


def dsp_blocks(device: FpgaDevice, multipliers: tuple[tuple[int, int, int], ...]) -> int:
    """DSP blocks of signed multipliers given as (width, width, count).

    AMD: `sim.units.estimate.dsp48`. Intel: a wider operand than the block's is cut; every further
    block takes one bit less than its port, since only the top part is signed.
    """
    if device.vendor == "amd":
        return sum(dsp48(first, second) * count for first, second, count in multipliers)
    wide, narrow = max(device.multiplier_bits), min(device.multiplier_bits)
    halves = 0
    for first, second, count in multipliers:
        long, short = max(first, second), min(first, second)
        parts = max(1, ceil((long - 1) / (wide - 1))) * max(1, ceil((short - 1) / (narrow - 1)))
        halves += parts * count
    return ceil(halves / device.multipliers_per_dsp)


# Against a device ----------------------------------------------------------------------------


def _memories(design: Design, device: FpgaDevice) -> tuple[dict[str, float], list[str], int]:
    """Blocks by resource, owners moved to UltraRAM, registers of small RAMs."""
    block, cores = device.ram_block, design.cores.count
    large: list[Ram] = []
    small_registers = 0
    for ram in rams(design):
        if ram.depth <= LUT_RAM_DEPTH[device.vendor]:
            small_registers += ram.count * ram.width  # the registered output
        else:
            large.append(ram)
    cost = {ram: ram.count * ram_blocks(device.vendor, ram.width, ram.depth) for ram in large}
    used = {block: cores * sum(cost.values())}
    moved: list[str] = []
    if device.vendor == "amd":
        used["uram"] = 0
        free = device.resources["uram"].free
        for ram in sorted(large, key=lambda r: (-cost[r] / _uram_blocks(r), r.owner)):
            needed = cores * _uram_blocks(ram)
            if used[block] <= device.resources[block].free or used["uram"] + needed > free:
                continue
            used[block] -= cores * cost[ram]
            used["uram"] += needed
            moved.append(ram.owner)
    return used, moved, small_registers


def fits(design: Design) -> Fit:
    """Resources of the design on the device it names.

    Raises
    ------
    InputError
        The design names no device, or the device file is wrong.
    """
    if design.silicon.device is None:
        raise InputError(design.name, "silicon.device", None, "the name of an FPGA device")
    device = load_device(design.silicon.device)
    cores, unit = design.cores.count, design.unit
    used, moved, small_registers = _memories(design, device)
    logic = UNIT_COSTS[unit.kind].logic(design)
    left_out: dict[str, str] = {}
    if any(part.kind == "multiplier" for part in UNIT_COSTS[unit.kind].parts(unit)):
        left_out["packing of INT8 products"] = "one product a multiplier is counted"
    if isinstance(logic, Logic):
        # The store engine multiplies tiles by lines, both of 16 unsigned bits; and the tile's
        # first line by a power of two, which is wires.
        multipliers = (*logic.multipliers, (17, 17, 1))
        used["dsp"] = cores * dsp_blocks(device, multipliers)
        outside = registers(design)
        ff = logic.ff + sum(outside.values()) + small_registers
        around = around_unit(design, device)
        memory = sum(part.luts for part in around if part.memory)
        lut = logic.lut - saved_in_place(design)
        lut += sum(part.luts for part in around if not part.memory)
        if device.vendor == "amd":
            lut += logic.delay_words
        else:
            ff += logic.delay_bits
        used["ff"] = cores * ff
        if moved:
            owners = ", ".join(sorted(moved))
            left_out["UltraRAM"] = (
                f"the RTL does not ask for it; {owners} need a ram_style attribute"
            )
        if device.vendor == "amd":
            used["lut"] = cores * round(lut + memory)
        else:
            # Two adder bits or two small functions, and four registers, an ALM.
            used["alm"] = cores * (max(ceil(lut / 2), ceil(ff / 4)) + memory)
    else:
        each = getattr(unit, "dsp_per_element", 0)
        if each:
            used["dsp"] = cores * unit.pes * each  # type: ignore[attr-defined]
        else:
            left_out["dsp"] = "unit.dsp_per_element is 0: no DSP blocks are known"
        left_out["look-up tables and registers"] = logic.reason
        left_out["RAM banks"] = "a published array has no RTL: one RAM a buffer, the least there is"
    if design.vector is not None:
        left_out["vector engine"] = "it has no RTL yet"
    available = {name: float(item.count) for name, item in device.resources.items()}
    shell = {name: float(item.shell) for name, item in device.resources.items()}
    free = {name: item.free for name, item in device.resources.items()}
    problems = tuple(
        f"{name}: {used[name]:g} used, {free[name]:g} free, {used[name] - free[name]:g} too many"
        for name in device.resources
        if used.get(name, 0) > free[name]
    )
    return Fit(
        device=device.name,
        used={name: used[name] for name in device.resources if name in used},
        available=available,
        shell=shell,
        free=free,
        estimated=tuple(name for name in ("lut", "alm") if name in used),
        in_uram=tuple(sorted(moved)),
        problems=problems,
        not_modelled=left_out,
    )


def check_device(design: Design) -> Fit | None:
    """The fit on the design's device; None without one.

    Too few look-up tables or DSP blocks are among the `Fit.problems`: the first is an estimate,
    and products may be made of look-up tables. Too few RAM blocks cannot be helped.

    Raises
    ------
    InputError
        The buffers need more RAM blocks than the device has free.
    """
    if design.silicon.device is None:
        return None
    fit = fits(design)
    for name, what in (("bram36", "BRAM36"), ("m20k", "M20K")):
        if fit.used.get(name, 0) > fit.free.get(name, 0):
            used, free = fit.used[name], fit.free[name]
            largest = max(rams(design), key=lambda ram: ram.width * ram.depth * ram.count)
            raise InputError(
                design.name,
                "silicon.device",
                design.silicon.device,
                f"a device with {used:g} {what} free: it has {free:g}, {used - free:g} too few; "
                f"the {largest.owner} buffer is the largest",
            )
    return fit

"""Silicon area by part: elements, encoders, vector engine and every buffer."""

from dataclasses import dataclass

from designs.process import load_process
from designs.spec import Design
from designs.units import ArraySpec
from sim.units import UNIT_COSTS, NotModelled

__all__ = ["NOT_MODELLED", "VECTOR_ELEMENT", "BufferPort", "area", "buffer_ports"]

NOT_MODELLED = {
    "network on chip": "wires between buffers and elements",
    "memory interface": "PHY and controller of external memory",
    "input and output": "pads, PLLs and test logic",
    "control": "instruction fetch, engines and their queues",
    "placement": "cell area as synthesised; a placed block is larger by its utilisation",
}
"""What the square millimetres leave out."""

VECTOR_ELEMENT = "vector-fp32"
"""Element of the process file that is one lane of the vector engine."""


@dataclass(frozen=True)
class BufferPort:
    """One on-chip buffer as a memory macro.

    Attributes
    ----------
    buffer : str
        ``activation``, ``weight``, ``scale``, ``output`` or ``partial``.
    capacity_bytes, port_bits : int
        Size, and width of its wider port.
    """

    buffer: str
    capacity_bytes: int
    port_bits: int


def buffer_ports(design: Design) -> tuple[BufferPort, ...]:
    """Buffers of one core with the width of their wider port.

    A buffer of the RTL is written by memory line and read by word (hwgen/memory/buffer.py). An
    array's ports follow from its widest shape (`designs.units.array`); its scale, output and
    partial buffers are written and read by line.
    """
    unit, sizes, line = design.unit, design.buffers, 8 * design.line_bytes
    if isinstance(unit, ArraySpec):
        bits = max(unit.weight_bits)
        widths = {
            "activation": max(
                unit.activation_port_bits(columns, design.formats.activation_bits)
                for columns, _ in unit.shapes
            ),
            "weight": max(unit.weight_port_bits(rows, bits) for _, rows in unit.shapes),
            "scale": line,
            "output": line,
            "partial": line,
        }
    else:
        widths = {
            "activation": max(line, 8 * unit.activation_word_bytes),
            "weight": max(line, 8 * unit.weight_word_bytes),
            "scale": max(line, 8 * unit.scale_word_bytes),
            "output": design.tile_lines * line,
            "partial": unit.lanes_m * unit.lanes_n * unit.accumulator_bits,
        }
    return tuple(
        BufferPort(name, getattr(sizes, f"{name}_bytes"), width) for name, width in widths.items()
    )


def area(design: Design) -> dict[str, float] | NotModelled:
    """Square millimetres of all cores by part; the total is their sum.

    Parts are ``unit``, ``encoder``, ``vector`` and ``buffer_activation``, ``buffer_weight``,
    ``buffer_scale``, ``buffer_output``, ``buffer_partial``. `NOT_MODELLED` says what they leave
    out.

    Returns
    -------
    dict or NotModelled
        `NotModelled` for an FPGA, which has resources instead, or a design without a process.

    Raises
    ------
    InputError
        The process file, or the name of an element in it, is wrong.
    """
    if design.silicon.device is not None:
        return NotModelled(f"silicon.device {design.silicon.device}: an FPGA has resources instead")
    if design.silicon.process is None:
        return NotModelled("the design names no silicon.process")
    process = load_process(design.silicon.process)
    unit, encoder = UNIT_COSTS[design.unit.kind].area(design.unit, process)
    vector = 0.0
    if design.vector is not None:
        vector = design.vector.lanes * process.element(VECTOR_ELEMENT).square_micrometres
    parts = {"unit": unit * 1e-6, "encoder": encoder * 1e-6, "vector": vector * 1e-6}
    for port in buffer_ports(design):
        figure = process.sram.figure(port.capacity_bytes, port.port_bits)
        parts[f"buffer_{port.buffer}"] = figure.square_millimetres
    return {name: value * design.cores.count for name, value in parts.items()}

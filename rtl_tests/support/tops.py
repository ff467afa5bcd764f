"""Every top that is simulated: the component behind a name."""

from collections.abc import Callable

from amaranth.lib import wiring

from designs.spec import Design
from hwgen.accelerator import Accelerator
from hwgen.control.fetch import Fetch
from hwgen.control.registers import ControlPort
from hwgen.control.tokens import TokenCounter
from hwgen.engines.accumulate import Accumulate
from hwgen.engines.compute import ComputeEngine
from hwgen.engines.load import LoadEngine
from hwgen.engines.store import StoreEngine
from hwgen.memory.arbiter import ReadArbiter
from hwgen.memory.buffer import Buffer
from hwgen.memory.striped import Fork, StripedMemory
from hwgen.units import UNITS
from hwgen.verilog import component_verilog, design_verilog, top_name

__all__ = ["BUFFER_BYTES", "FORK_BITS", "FORK_WAYS", "TOPS", "top_verilog"]

BUFFER_BYTES = {"write_wide": (64, 16), "equal": (16, 16), "read_wide": (8, 64)}
"""Write width and read width of the buffers under test, 1024 bytes each."""

FORK_BITS, FORK_WAYS = 40, 3

TOPS: dict[str, Callable[[Design], wiring.Component]] = {
    "unit": lambda design: UNITS[design.unit.kind](design.unit),
    "load": LoadEngine,
    "compute": ComputeEngine,
    "accumulate": Accumulate,
    "store": StoreEngine,
    "fetch": Fetch,
    "arbiter": lambda design: ReadArbiter(design.dram),
    "memory": lambda design: StripedMemory(design.dram),
    "control": ControlPort,
    "accelerator": Accelerator,
    "fork": lambda design: Fork(FORK_BITS, FORK_WAYS),
    "tokens": lambda design: TokenCounter(),
    **{
        f"buffer_{name}": lambda design, widths=widths: Buffer(*widths, 1024)
        for name, widths in BUFFER_BYTES.items()
    },
}


def top_verilog(top: str, design: Design) -> tuple[str, str]:
    """Verilog of a top, and its module name."""
    if top == "accelerator":
        return design_verilog(design), top_name(design)
    name = f"{top}_under_test"
    return component_verilog(TOPS[top](design), name), name

"""Running one compared cell in the simulator, and operands for it."""

from amaranth.hdl import Module
from amaranth.sim import Simulator

__all__ = ["operands", "planes_of", "simulate", "word"]


def simulate(component, testbench, *others):
    """Run a test bench on a component, together with components it feeds."""
    m = Module()
    for i, part in enumerate((component, *others)):
        m.submodules[f"part_{i}"] = part
    simulator = Simulator(m)
    simulator.add_clock(1e-6, if_exists=True)
    simulator.add_testbench(testbench)
    simulator.run()


def word(values, bits):
    """Values as one word of fields, the first lowest."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << (bits * i) for i, value in enumerate(values))


def operands(rng, bits, size):
    """Random two's complement numbers, among them runs of the extreme ones."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = rng.integers(low, high + 1, size)
    values[:4], values[4:6] = low, high
    return values


def planes_of(kind, codes, bits):
    """Index and sign of every plane of ``codes``, two's complement or reinterpreted."""
    u = codes & ((1 << bits) - 1)
    if kind in ("inverter", "half"):
        u = codes + (1 << (bits - 1))
    for plane in range(bits):
        index = word((u >> plane) & 1, 1)
        if kind == "half":  # offline negation
            top = 1 << (len(codes) - 1)
            index = index if index & top else index ^ (top - 1)
        yield plane, index, plane == bits - 1

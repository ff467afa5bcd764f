"""Bench of the whole accelerator: compiled products over AXI, against the golden model."""

import cocotb
import numpy as np

from designs.registers import COUNTERS, STATUS, register_offset
from mapping.formats import parse_format
from mapping.instruction import Instruction, encode
from mapping.isa import Buffer, Opcode
from mapping.layout import pack_activations, pack_scales, pack_weights
from mapping.program import GemmProgram, check, compile_gemm
from mapping.quantise import exact_sums, quantise, quantise_activations
from mapping.tiling import GemmShape
from rtl_tests.support.axi import StripedRam, control_master
from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.streams import PAUSES
from sim.golden import read_outputs, run_program

LINES = 1 << 14

# tokens, output features, reduction, weight format
PRODUCTS = {
    "tiny": (
        (1, 1, 1, "int8"),
        (3, 17, 100, "int4"),
        (5, 24, 192, "int4_g32"),
        (2, 9, 128, "int8_g64"),
        (1, 16, 2064, "int8"),
        (3, 8, 4160, "int4"),
    ),
    "striped": (
        (1, 1, 1, "int4"),
        (9, 13, 300, "int4"),
        (5, 7, 512, "int8"),
        (6, 10, 192, "int4_g32"),
        (13, 5, 96, "int8_g32"),
        (4, 8, 32, "int8"),
        (33, 6, 70, "int8"),
    ),
}
STALLS = {
    "none": ["none"] * 5,
    "some": ["some"] * 5,
    "bursts": ["bursts"] * 5,
    "mixed": ["some", "bursts", "heavy", "some", "bursts"],
}
"""Stall patterns of aw, w, b, ar and r."""

BINS = ("scaled", "unscaled", "reduction in chunks", "partial token tile", "longer than the ring")


class AcceleratorBench(Bench):
    """The accelerator between its memory and a host."""

    def __init__(self, dut, memory: str = "none", host: str = "none") -> None:
        super().__init__(dut)
        self.design = run_design()
        self.ram = StripedRam(self, self.design.dram, "m_axi_{}", lines=LINES)
        self.ram.stall(STALLS[memory])
        self.host = control_master(self, "s_axil", "_", host)

    async def read(self, name: str, size: int = 4) -> int:
        """A register."""
        answer = await self.host.read(register_offset(name), size)
        return int.from_bytes(answer.data, "little")

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        await self.host.write(register_offset(name), value.to_bytes(4, "little"))

    async def start(self, line: int, blocks: int) -> None:
        """Start the program at a line."""
        await self.write("program_line", line)
        await self.write("program_blocks", blocks)
        await self.write("control", 1)

    async def status(self) -> set[str]:
        """Status bits that are set."""
        value = await self.read("status")
        return {name for name, bit in STATUS.items() if value >> bit & 1}

    async def done(self, limit: int = 400_000) -> set[str]:
        """Wait for the end; the status bits that are set then."""
        end = self.cycle + limit
        while self.cycle < end:
            status = await self.status()
            if "done" in status:
                assert "running" not in status
                return status
            await self.cycles(50)
        raise AssertionError(f"not done after {limit} cycles")

    def product(self, m: int, n: int, k: int, fmt_name: str) -> tuple[GemmProgram, np.ndarray]:
        """Compile a product, fill memory for it; the program and memory as golden leaves it."""
        design, fmt = self.design, parse_format(fmt_name)
        weights = quantise(self.rng.standard_normal((n, k)).astype(np.float32), fmt)
        activations, _ = quantise_activations(self.rng.standard_normal((m, k)).astype(np.float32))
        program = compile_gemm(design, GemmShape(m, n, k), fmt)
        check(program)
        place, lines = program.placement, program.lines
        # what is not written stays as it is, outputs included
        used = place.output_line + lines.outputs + 64
        assert used <= LINES
        memory = self.rng.integers(0, 256, (used, design.line_bytes), np.uint8)
        binary = np.frombuffer(program.binary, np.uint8).reshape(-1, design.line_bytes)
        for first, region in (
            (place.program_line, binary),
            (place.weight_line, pack_weights(design, weights, program.tiling)),
            (place.scale_line, pack_scales(design, weights, program.tiling)),
            (place.activation_line, pack_activations(design, activations, program.tiling)),
        ):
            memory[first : first + len(region)] = region
        self.ram.write(0, memory)
        run_program(design, program, memory)
        assert (read_outputs(program, memory) == exact_sums(activations, weights)).all()
        cut = program.tiling.weights
        self.coverage["scaled" if fmt.scaled else "unscaled"] += 1
        self.coverage["reduction in chunks"] += cut.chunks.parts > 1
        self.coverage["partial token tile"] += m % design.unit.lanes_m > 0
        self.coverage["longer than the ring"] += program.blocks > design.control.fetch_blocks
        return program, memory

    def compare(self, program: GemmProgram, golden: np.ndarray) -> None:
        """All of memory is as golden left it: outputs equal, nothing else touched."""
        found = self.ram.read(0, len(golden))
        if (found == golden).all():
            return
        sums, wanted = read_outputs(program, found), read_outputs(program, golden)
        wrong = np.argwhere(sums != wanted)
        if len(wrong):
            m, n = wrong[0]
            bits = self.design.unit.accumulator_bits
            mask = (1 << bits) - 1
            raise AssertionError(
                f"{len(wrong)} of {sums.size} sums differ, first token {m} feature {n}: "
                f"found {int(sums[m, n]) & mask:#x} = {sums[m, n]}, "
                f"expected {int(wanted[m, n]) & mask:#x} = {wanted[m, n]}"
            )
        lines = np.flatnonzero((found != golden).any(axis=1)).tolist()
        raise AssertionError(f"lines written that hold no sum: {lines[:10]}")

    async def counters_are_right(self, program: GemmProgram) -> None:
        """What the counters must show whatever the stalls were."""
        loads = [i for i in program.instructions if i.opcode is Opcode.LOAD]
        stores = [i for i in program.instructions if i.opcode is Opcode.STORE]
        products = [i for i in program.instructions if i.opcode is Opcode.MATMUL]
        weight_lines = sum(i.lines for i in loads if i.buffer != Buffer.ACTIVATION)
        wanted = {
            "read_lines": program.lines.program + sum(i.lines for i in loads),
            "write_lines": sum(i.tiles * i.lines_per_tile for i in stores),
            "weight_lines": weight_lines,
            "compute_busy": sum(i.n_tiles * i.m_tiles * i.k_steps for i in products),
        }
        found = {counter.name: await self.read(counter.name, 8) for counter in COUNTERS}
        for name, value in wanted.items():
            assert found[name] == value, f"{name}: found {found[name]}, expected {value}"
        assert weight_lines <= found["weight_window"] < found["cycles"]
        assert found["weight_window_lines"] >= weight_lines
        shape = program.shape
        cocotb.log.info("%dx%dx%d: %d cycles", shape.m, shape.n, shape.k, found["cycles"])

    async def run_product(self, *product) -> None:
        """A product from memory to memory."""
        program, golden = self.product(*product)
        await self.start(program.placement.program_line, program.blocks)
        assert await self.done() == {"done"}
        self.compare(program, golden)
        await self.counters_are_right(program)


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(memory=list(STALLS))
async def products(dut, memory: str):
    """Products of every shape and format, one after the other, outputs equal to golden."""
    bench = AcceleratorBench(dut, memory, "none" if memory == "none" else "some")
    await bench.reset()
    for product in PRODUCTS[bench.design.name.replace("dense-int8-", "")]:
        await bench.run_product(*product)
    await bench.finish(*BINS)
    if memory != "none":
        bench.expect_stalls("m_axi_0_ar", "m_axi_0_aw", "m_axi_0_w")
        channels = range(bench.design.dram.channels)
        stalled = sum(bench.monitors[f"m_axi_{channel}_r"].stalled for channel in channels)
        assert bool(stalled) == (len(channels) > 1), "lines wait for other channels, nothing else"


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def random_products(dut):
    """Small products of random shape, format and stalls."""
    bench = AcceleratorBench(dut)
    unit = bench.design.unit
    await bench.reset()
    for _ in range(12):
        bench.ram.stall([str(kind) for kind in bench.rng.choice(PAUSES, 5)])
        group = int(bench.rng.choice([32, 64]))
        fmt = str(bench.rng.choice(["int8", "int4", f"int4_g{group}", f"int8_g{group}"]))
        scaled = "_g" in fmt
        k = group * int(bench.rng.integers(1, 4)) if scaled else int(bench.rng.integers(1, 200))
        m = int(bench.rng.integers(1, 3 * unit.lanes_m + 1))
        await bench.run_product(m, int(bench.rng.integers(1, 30)), k, fmt)
    await bench.finish("scaled", "unscaled")


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def read_error_is_reported(dut):
    """SLVERR on one line of weights: the program ends, with its status bit, cleared by a start."""
    bench = AcceleratorBench(dut)
    await bench.reset()
    channels = bench.design.dram.channels
    for channel in range(channels):
        program, _ = bench.product(2, 8, 64, "int8")
        line = program.placement.weight_line + 3
        bench.ram.fault(reads=range(line, line + 1), channel=channel)
        await bench.start(program.placement.program_line, program.blocks)
        assert await bench.done() == {"done", "memory_error"}
        bench.ram.fault(channel=channel)
        await bench.run_product(2, 8, 64, "int8")
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def write_error_is_reported(dut):
    """SLVERR on one line of outputs."""
    bench = AcceleratorBench(dut)
    await bench.reset()
    last = bench.design.dram.channels - 1
    program, _ = bench.product(3, 8, 64, "int8")
    line = program.placement.output_line + program.lines.outputs - 1
    bench.ram.fault(writes=range(line, line + 1), channel=last)
    await bench.start(program.placement.program_line, program.blocks)
    assert await bench.done() == {"done", "memory_error"}
    bench.ram.fault(channel=last)
    await bench.run_product(3, 8, 64, "int8")
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def fetch_error_ends_the_program(dut):
    """SLVERR on a line of the program: nothing that came with it can be trusted."""
    bench = AcceleratorBench(dut)
    await bench.reset()
    program, _ = bench.product(9, 30, 100, "int8")
    line = program.placement.program_line + bench.design.fetch_block_lines + 1
    bench.ram.fault(reads=range(line, line + 1))
    await bench.start(program.placement.program_line, program.blocks)
    assert await bench.done() == {"done", "memory_error", "aborted"}
    bench.ram.fault()
    await bench.run_product(9, 30, 100, "int8")
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def unknown_opcode_is_reported(dut):
    """A program of padding and an unknown word: it ends, with its status bit."""
    bench = AcceleratorBench(dut)
    design = bench.design
    code = encode([Instruction.make(Opcode.NOP)] * 3)
    code += (9).to_bytes(32, "little") + encode([Instruction.make(Opcode.END)])
    code = code.ljust(design.fetch_block_bytes, b"\0")
    lines = np.frombuffer(code, np.uint8).reshape(-1, design.line_bytes)
    line = 5 * design.fetch_block_lines
    bench.ram.write(line, lines)
    await bench.reset()
    await bench.start(line, 1)
    assert await bench.done() == {"done", "bad_program", "aborted"}
    assert await bench.read("cycles", 8) > 0
    assert await bench.read("read_lines", 8) == design.fetch_block_lines
    await bench.run_product(1, 4, 16, "int8")
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def host_aborts(dut):
    """Aborted anywhere in a program, all bursts are still whole, and the next program is right."""
    bench = AcceleratorBench(dut, "some")
    await bench.reset()
    largest = PRODUCTS[bench.design.name.replace("dense-int8-", "")][1:3]
    for _ in range(4):
        for product in largest:
            program, _ = bench.product(*product)
            await bench.start(program.placement.program_line, program.blocks)
            await bench.cycles(int(bench.rng.integers(1, 400)))
            await bench.write("control", 2)
            assert await bench.done() in ({"done", "aborted"}, {"done"})
            bench.coverage["aborted"] += "aborted" in await bench.status()
            await bench.run_product(*product)
    await bench.finish("aborted")


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def reset_within_a_program(dut):
    """After a reset in the middle of a program everything starts from nothing."""
    bench = AcceleratorBench(dut)
    await bench.reset()
    program, _ = bench.product(4, 16, 128, "int8")
    await bench.start(program.placement.program_line, program.blocks)
    await bench.until(lambda: len(bench.monitors["m_axi_0_r"].transfers) > 60)
    bench.stop()
    bench.ram.watch()
    bench.ram.stall(STALLS["some"])
    await bench.reset()
    assert await bench.read("status") == 0
    await bench.run_product(4, 16, 128, "int8")
    await bench.finish()

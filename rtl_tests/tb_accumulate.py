"""Bench of the accumulator: partial sums, finished tiles and tokens, one pass a cycle."""

import cocotb

from rtl_tests.support.bench import Bench, run_design
from rtl_tests.support.scoreboard import lanes
from rtl_tests.support.streams import PAUSES


class AccumulateBench(Bench):
    """Passes and their sums, and a model of the partial-sum memory."""

    def __init__(self, dut, held_sums: str = "none", held_passes: str = "none") -> None:
        super().__init__(dut)
        self.design = run_design()
        self.bits = self.design.unit.accumulator_bits
        self.sums = self.source("sums", held_sums)
        self.passes = self.source("passes", held_passes)
        self.written = self.scoreboard("tiles", lane_bits=8 * self.design.unit.result_bytes)
        self.order = self.scoreboard("effects")
        self.partial: dict[int, list[int]] = {}
        self.last_tile: int | None = None  # written last to the partial-sum memory
        self.was_taken = False  # in the cycle before
        self.write_cycles: list[int] = []
        self.every_cycle(self._sample)

    def add(self, tile: int, partial: int, *, accumulate: bool, emit: bool, signal: bool = False):
        """Queue a pass with random sums and everything it must do."""
        unit, bits = self.design.unit, self.bits
        count = unit.lanes_m * unit.lanes_n
        top = 1 << (bits - 3)
        if self.rng.random() < 0.2:
            sums = self.rng.choice([-top, top - 1, 0, -1], count).tolist()
        else:
            sums = self.rng.integers(-top, top, count).tolist()
        mask = (1 << bits) - 1
        self.sums.queue.append(sum((s & mask) << index * bits for index, s in enumerate(sums)))
        self.passes.queue.append(
            tile | partial << 16 | accumulate << 32 | emit << 33 | signal << 34
        )
        if accumulate:
            old = self.partial[partial]
            # as wide as the RTL adds
            sums = [lanes(a + b & mask, bits, 1)[0] for a, b in zip(sums, old, strict=True)]
            self.coverage["forwarded"] += self.last_tile == partial
            self.coverage["read back"] += self.last_tile != partial
        if emit:
            self.written.expect(self._rows(sums))
            self.coverage["emit"] += 1
        else:
            self.partial[partial] = sums
            self.last_tile = partial
            self.coverage["keep"] += 1
        self.order.expect((emit, tile if emit else None, signal))

    def _rows(self, sums: list[int]) -> int:
        """A tile as it is written: sums of ``result_bytes``, each row padded to lines."""
        unit, design = self.design.unit, self.design
        data = b""
        for m in range(unit.lanes_m):
            row = sums[m * unit.lanes_n : (m + 1) * unit.lanes_n]
            packed = b"".join(s.to_bytes(unit.result_bytes, "little", signed=True) for s in row)
            data += packed.ljust(design.row_lines * design.line_bytes, b"\0")
        return int.from_bytes(data, "little")

    def _sample(self) -> None:
        dut = self.dut
        taken = bool(dut.sums__valid.value and dut.sums__ready.value)
        both = bool(dut.sums__valid.value and dut.passes__valid.value)
        assert taken == both, "sums wait although their pass is there"
        before, self.was_taken = self.was_taken, taken
        write, token = bool(dut.write_enable.value), bool(dut.give_token.value)
        if not before:
            assert not write, "a tile without sums"
            assert not token, "a token without sums"
            return
        self.order.found((write, dut.write_address.value.to_unsigned() if write else None, token))
        if write:
            self.write_cycles.append(self.cycle)
            design = self.design
            rows = [
                getattr(dut, f"write_data__{m}").value.to_unsigned()
                for m in range(design.unit.lanes_m)
            ]
            width = 8 * design.row_lines * design.line_bytes
            self.written.found(sum(row << m * width for m, row in enumerate(rows)))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(held_sums=PAUSES, held_passes=("none", "some"))
async def random_passes(dut, held_sums: str, held_passes: str):
    """Tiles kept, added to and emitted in random order."""
    bench = AccumulateBench(dut, held_sums, held_passes)
    rng = bench.rng
    places = min(bench.design.partial_tiles, 6)
    for _ in range(250):
        partial = int(rng.integers(places))
        if bench.last_tile is not None and rng.random() < 0.5:
            partial = bench.last_tile
        bench.add(
            int(rng.integers(bench.design.output_tiles)),
            partial,
            accumulate=partial in bench.partial and bool(rng.random() < 0.7),
            emit=bool(rng.random() < 0.4),
            signal=bool(rng.random() < 0.3),
        )
    await bench.reset()
    await bench.finish("forwarded", "read back", "emit", "keep")
    assert dut.idle.value
    if held_sums != "none":
        bench.expect_stalls("passes")


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def same_tile_every_cycle(dut):
    """A reduction of many chunks on one tile, without a gap: each adds to the one before."""
    bench = AccumulateBench(dut)
    last = bench.design.partial_tiles - 1
    bench.add(0, last, accumulate=False, emit=False)
    for _ in range(5):
        bench.add(0, last, accumulate=True, emit=False)
    bench.add(3, last, accumulate=True, emit=True, signal=True)
    for distance in (1, 2, 3):
        for tile in range(distance):
            bench.add(0, tile, accumulate=False, emit=False)
        for tile in range(distance):
            bench.add(tile, tile, accumulate=True, emit=False)
        for tile in range(distance):
            bench.add(tile, tile, accumulate=True, emit=True)
    await bench.reset()
    await bench.finish("forwarded", "read back")
    cycles = bench.monitors["sums"].cycles
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles))), "a cycle without a pass"
    assert bench.write_cycles[0] == cycles[6] + 1, "a tile is written one cycle after its sums"

"""Benches of the small parts: Buffer at three width ratios, Fork and TokenCounter."""

import os

import cocotb

from rtl_tests.support.bench import Bench, run_top
from rtl_tests.support.streams import PAUSES, Source, Stream, pauses
from rtl_tests.support.tops import BUFFER_BYTES, FORK_WAYS

TOP = os.environ["SILICAST_TEST_TOP"]
CAPACITY = 1024


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=not TOP.startswith("buffer_"))
async def buffer_keeps_bytes(dut):
    """Random reads and writes in the same cycles against a byte array."""
    ports = ("write_enable", "write_address", "write_data", "read_enable", "read_address")
    bench = Bench(dut, ports)
    write_bytes, read_bytes = BUFFER_BYTES[run_top().removeprefix("buffer_")]
    memory = bytearray(CAPACITY)
    rng = bench.rng

    def write(address: int) -> bytes:
        data = rng.bytes(write_bytes)
        dut.write_enable.value = 1
        dut.write_address.value = address
        dut.write_data.value = int.from_bytes(data, "little")
        return data

    await bench.reset()
    for address in range(CAPACITY // write_bytes):  # every word, before anything is read
        data = write(address)
        memory[address * write_bytes : (address + 1) * write_bytes] = data
        await bench.edge
    shown: int | None = None
    for _ in range(4000):
        writes, reads = rng.random() < 0.6, rng.random() < 0.6
        address = int(rng.integers(CAPACITY // write_bytes))
        data = write(address) if writes else b""
        dut.write_enable.value = int(writes)
        where = int(rng.integers(CAPACITY // read_bytes))
        if rng.random() < 0.3:  # meet the write
            where = address * write_bytes // read_bytes
        dut.read_enable.value = int(reads)
        dut.read_address.value = where
        await bench.edge
        if shown is not None:
            found = int(dut.read_data.value)
            assert found == shown, f"found {found:#x}, expected {shown:#x}"
        if reads:  # the word before this cycle's write
            shown = int.from_bytes(memory[where * read_bytes : (where + 1) * read_bytes], "little")
            meets = where * read_bytes // write_bytes == address or (
                address * write_bytes // read_bytes == where
            )
            bench.coverage["read meets write"] += bool(writes and meets)
        bench.coverage["held"] += not reads
        if writes:
            memory[address * write_bytes : (address + 1) * write_bytes] = data
    await bench.finish("read meets write", "held")


@cocotb.test(timeout_time=2, timeout_unit="ms", skip=TOP != "tokens")
async def tokens_are_counted(dut):
    """Random giving and taking, up to 255 tokens, and clearing."""
    bench = Bench(dut, ("give", "take", "clear"))
    rng = bench.rng
    await bench.reset()
    count = 0
    rates = ((0.2, 0.5, 0.0), (0.5, 0.5, 0.0), (0.9, 0.1, 0.0), (0.5, 0.3, 0.01))
    for step in range(6000):
        give_rate, take_rate, clear_rate = rates[step // 500 % len(rates)]
        give = int(rng.random() < give_rate and count < 255)
        take = int(rng.random() < take_rate and count > 0)
        clear = int(rng.random() < clear_rate)
        dut.give.value, dut.take.value, dut.clear.value = give, take, clear
        await bench.edge
        assert bool(dut.available.value) == (count > 0), f"{count} tokens at step {step}"
        bench.coverage["full"] += count == 255
        bench.coverage["both"] += give and take
        bench.coverage["clear"] += clear and count > 0
        bench.coverage["empty"] += count == 0
        count = 0 if clear else count + give - take
    await bench.finish("both", "clear", "empty", "full")


@cocotb.test(timeout_time=20, timeout_unit="ms", skip=TOP != "fork")
@cocotb.parametrize(inputs=PAUSES, outputs=PAUSES)
async def fork_copies_once(dut, inputs: str, outputs: str):
    """Every consumer gets every payload once, in order, whatever the others do."""
    bench = Bench(dut)
    stream = Stream("input", dut.input__valid, dut.input__ready, [dut.input__payload])
    monitor = bench.watch(stream)
    source = Source(bench, stream, pauses(inputs, bench.rng))
    boards = [bench.scoreboard(f"copy {way}") for way in range(FORK_WAYS)]
    for _ in range(300):
        value = int.from_bytes(bench.rng.bytes(5), "little")
        source.queue.append(value)
        for board in boards:
            board.expect(value)
    held = [pauses(outputs, bench.rng) for _ in range(FORK_WAYS)]
    dut.ready.value = 0
    before = {"open": 0, "payload": 0}

    def consume() -> None:
        valid, ready, payload = int(dut.valid.value), int(dut.ready.value), int(dut.payload.value)
        assert valid & before["open"] == before["open"], "an offer was taken back"
        if before["open"]:
            assert payload == before["payload"], "the payload changed under an offer"
        for way in range(FORK_WAYS):
            if valid & ready & 1 << way:
                boards[way].found(payload)
        before.update(open=valid & ~ready, payload=payload)
        bench.coverage["copies taken apart"] += before["open"] not in (0, valid)
        dut.ready.value = sum((not next(one)) << way for way, one in enumerate(held))

    bench.every_cycle(consume)
    await bench.reset()
    await bench.finish(*(["copies taken apart"] if outputs in ("some", "heavy") else []))
    if inputs == outputs == "none":
        cycles = monitor.cycles
        assert cycles == list(range(cycles[0], cycles[0] + 300)), "one payload a cycle"

"""Conflicts on a buffer's ports, against a simulation cycle by cycle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designs.process import load_process
from sim.memory.sram import SramGeometry, conflict_cycles, usable_bytes


def _simulated(reads: int, writes: int, banks: int, interval: int, offset: int) -> int:
    """Cycles until both streams have ended on banks with one port each."""
    cycle = done_reads = done_writes = 0
    while done_reads < reads or done_writes < writes:
        wants_read = done_reads < reads
        wants_write = done_writes < writes and done_writes * interval <= cycle
        read_bank = done_reads % banks
        write_bank = (offset + done_writes) % banks
        if wants_read and wants_write and read_bank == write_bank:
            if banks == 1:
                wants_read = False
            else:
                wants_write = False
        done_reads += wants_read
        done_writes += wants_write
        cycle += 1
    return cycle


def _undisturbed(reads: int, writes: int, interval: int) -> int:
    return max(reads, (writes - 1) * interval + 1 if writes else 0)


@given(
    reads=st.integers(0, 40),
    writes=st.integers(0, 40),
    banks=st.integers(1, 6),
    interval=st.integers(1, 5),
    offset=st.integers(0, 7),
)
def test_closed_form_is_the_simulation(reads, writes, banks, interval, offset) -> None:
    expected = _simulated(reads, writes, banks, interval, offset) - _undisturbed(
        reads, writes, interval
    )
    geometry = SramGeometry(banks, "1rw")
    found = conflict_cycles(reads, writes, geometry, write_interval=interval, bank_offset=offset)
    assert found == expected


def test_the_end_that_shows_a_conflict() -> None:
    """Corner that random sizes seldom meet: the last write in the reader's last cycle."""
    geometry = SramGeometry(2, "1rw")
    assert conflict_cycles(9, 5, geometry, write_interval=2) == 1
    assert _simulated(9, 5, 2, 2, 0) == 10
    assert conflict_cycles(9, 5, geometry, write_interval=2, bank_offset=1) == 0


def test_two_ports_and_halves_never_conflict() -> None:
    assert conflict_cycles(100, 100, SramGeometry(1, "1r1w")) == 0
    assert conflict_cycles(100, 100, SramGeometry(2, "1rw"), double_buffered=True) == 0
    assert conflict_cycles(100, 100, SramGeometry(2, "1rw")) == 1
    # Two halves of one bank still share its port.
    assert conflict_cycles(100, 60, SramGeometry(1, "1rw"), double_buffered=True) == 60


def test_double_buffering_halves_the_capacity() -> None:
    assert usable_bytes(4096, double_buffered=True) == 2048
    assert usable_bytes(4096, double_buffered=False) == 4096


@pytest.mark.parametrize("wrong", [{"banks": 0}, {"ports": "2rw"}])
def test_wrong_geometry(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SramGeometry(**{"banks": 1, "ports": "1rw", **wrong})


def test_wrong_streams() -> None:
    with pytest.raises(ValueError, match="write_interval"):
        conflict_cycles(1, 1, SramGeometry(1, "1rw"), write_interval=0)


def test_a_very_wide_port_is_several_memories() -> None:
    """Eight words of 64 Kbit: 128 memories of 512 bits, not one that no compiler would make."""
    sram = load_process("28nm").sram
    whole, part = sram.figure(65536, 65536), sram.figure(512, 512)
    assert whole.square_millimetres == pytest.approx(128 * part.square_millimetres)
    assert whole.read_picojoules == pytest.approx(128 * part.read_picojoules)
    assert whole.leakage_milliwatts == pytest.approx(128 * part.leakage_milliwatts)
    assert sram.figure(65536, 8192).basis == "point"  # the widest that the table has

"""The C++ memory bus of the fast runner and the timeline's, on random timings and requests.

test_cycles.py compares them through the RTL; here every parameter and every order of requests is
reached, without one.
"""

import ctypes
import os
import subprocess
from dataclasses import astuple, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from designs.memory_timing import MemoryTiming
from hwgen.verilated.build import verilator_environment
from sim.memory.channel import MemoryBus
from templates import render

pytestmark = pytest.mark.rtl

_HARNESS = """
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>
%s
// Requests of four integers each: cycle, line, beats, write.
extern "C" void serve(const int64_t* timing, const int64_t* request, int count, int64_t* answer) {
  Timing t;
  std::memcpy(&t, timing, sizeof t);
  Bus bus(t);
  for (; count--; request += 4) {
    if (request[3]) *answer++ = bus.write(request[0] + 1, request[1], request[2]);
    else *answer++ = bus.read(request[0] * t.cycle_units + t.read_latency, request[1], request[2]);
  }
}
"""


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """The C++ bus: timing and requests to a list of answers."""
    folder = tmp_path_factory.mktemp("bus")
    names = [field.name for field in fields(MemoryTiming)]
    source = folder / "bus.cpp"
    source.write_text(_HARNESS % render("memory_bus.hpp.jinja", timing_fields=names))
    library = folder / "bus.so"
    command = ["g++", "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    command += ["-fsanitize=undefined", "-fno-sanitize-recover", "-o", str(library), str(source)]
    environment = {**os.environ, **verilator_environment()}
    subprocess.run(command, check=True, env=environment)
    function = ctypes.CDLL(str(library)).serve

    def run(timing: MemoryTiming, requests) -> list[int]:
        flat = [int(value) for request in requests for value in request]
        given_timing = (ctypes.c_int64 * len(names))(*astuple(timing))
        answer = (ctypes.c_int64 * len(requests))()
        function(given_timing, (ctypes.c_int64 * len(flat))(*flat), len(requests), answer)
        return list(answer)

    return run


def _times(most: int):
    return st.integers(0, most)


powers = st.sampled_from([1, 2, 4, 8])
access = st.sampled_from([(1, 1), (4, 1), (1, 2)])
timings = st.builds(
    lambda access, units, refresh, **values: MemoryTiming(
        cycle_units=units,
        access_lines=access[0],
        line_accesses=access[1],
        refresh_interval=refresh and refresh + 8 * 600,
        refresh_time=values["row_hold"],
        **values,
    ),
    access=access,
    units=st.sampled_from([1, 7, 64]),
    refresh=st.sampled_from([0, 1, 100, 3000]),
    beat_units=st.integers(64, 200),
    read_latency=_times(4000),
    access_units=_times(100),
    region_lines=st.sampled_from([16, 32, 128]),
    region_banks=powers,
    bank_sets=powers,
    queue=_times(3000),
    read_lead=_times(300),
    write_lead=_times(300),
    open=_times(300),
    close=_times(300),
    row_hold=_times(600),
    activate_gap=_times(200),
    four_activates=_times(900),
    read_release=st.integers(-300, 300),
    write_release=_times(600),
    read_to_write=_times(200),
    write_to_read=_times(400),
)
requests = st.lists(
    st.tuples(_times(90), _times(60), st.integers(1, 16), st.booleans()), max_size=150
)


@settings(max_examples=1000, deadline=None)
@given(timing=timings, steps=requests)
def test_both_buses_give_the_same_times(serve, timing: MemoryTiming, steps) -> None:
    cycle, asked, expected, bus = 0, [], [], MemoryBus(timing)
    for gap, burst, beats, write in steps:
        cycle += gap
        line = burst * 16
        asked.append((cycle, line, beats, write))
        if write:
            expected.append(bus.write(cycle, line, beats))
        else:
            first, last = bus.read(cycle, line, beats)
            expected.append(bus._start)
            assert (bus.beat_cycle(0), bus.beat_cycle(beats - 1)) == (first, last)
    assert serve(timing, asked) == expected

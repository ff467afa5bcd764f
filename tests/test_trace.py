"""Traces: nothing is lost, slices nest, arrows bind, the file is bounded and whole."""

import json
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_result import made_result

from designs.errors import InputError
from designs.files import load_design
from mapping.formats import parse_format
from mapping.tiling import GemmShape
from sim import trace as trace_module
from sim.cost.program import simulate_gemm
from sim.results import ModelResult
from sim.trace import trace_totals, write_trace
from sim.trace_program import drawn_program, program_detail

DESIGN = load_design("dense-int8-tiny")
FORMAT = parse_format("int4_g128")


@pytest.fixture(scope="module")
def result() -> ModelResult:
    return made_result(DESIGN, FORMAT)


@pytest.fixture(scope="module")
def trace(result: ModelResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    write_trace(result, DESIGN, FORMAT, path)
    return json.loads(path.read_text())


def _slices(trace: dict[str, Any]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    tracks = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    return tracks


def _tracks(trace: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {
        event["args"]["name"]: (event["pid"], event["tid"])
        for event in trace["traceEvents"]
        if event["ph"] == "M" and event["name"] == "thread_name"
    }


def _named(trace: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [e for e in trace["traceEvents"] if e["ph"] == "X" and e["name"].startswith(name)]


def _nanoseconds(microseconds: float) -> int:
    return round(microseconds * 1000)


def _interval(event: dict[str, Any]) -> tuple[int, int]:
    start = _nanoseconds(event["ts"])
    return start, start + _nanoseconds(event["dur"])


def _check_structure(trace: dict[str, Any]) -> None:
    """Slices of a track nest or follow one another; arrows begin and end in slices."""
    named = set(_tracks(trace).values())
    tracks = _slices(trace)
    assert set(tracks) <= named
    for events in tracks.values():
        opened: list[tuple[int, int]] = []
        # as viewers do: by time, and in the order of the file where times are equal
        for start, end in sorted(map(_interval, events), key=lambda interval: interval[0]):
            while opened and opened[-1][1] <= start:
                opened.pop()
            assert not opened or (opened[-1][0] <= start and end <= opened[-1][1])
            opened.append((start, end))
    flows = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] in "stf":
            flows[event["id"]].append(event)
    for events in flows.values():
        assert [e["ph"] for e in events] == ["s", *"t" * (len(events) - 2), "f"]
        times = [_nanoseconds(e["ts"]) for e in events]
        assert times == sorted(times)
        for event, time in zip(events, times, strict=True):
            assert event["bp"] == "e"
            spans = map(_interval, tracks[event["pid"], event["tid"]])
            assert any(start <= time < end for start, end in spans)


@pytest.mark.parametrize("most", [200_000, 6000, 3000])
def test_bytes_and_cycles_are_those_of_the_report(
    result: ModelResult, tmp_path: Path, most: int
) -> None:
    path = tmp_path / "trace.json"
    write_trace(result, DESIGN, FORMAT, path, most)
    totals = trace_totals(path)
    assert totals["phases"] == {
        name: {"dram_bytes": phase.dram_bytes, "cycles": phase.cycles}
        for name, phase in result.phases.items()
    }
    assert totals["events"] <= most
    whole = json.loads(path.read_text())
    assert len(whole["traceEvents"]) == totals["events"] == whole["otherData"]["events"]
    assert bool(whole["otherData"]["joined"]) == (most < 200_000)
    _check_structure(whole)
    load = sum(e["args"].get("bytes", 0) for e in _slices(whole)[_tracks(whole)[LOAD]])
    written = sum(o.write_bytes for o in result.operators)
    store = sum(e["args"]["bytes"] for e in _slices(whole)[_tracks(whole)["store: results"]])
    assert store == pytest.approx(written, abs=2 * len(result.operators))
    fetched = sum(e["args"]["bytes"] for e in _slices(whole)[_tracks(whole)["fetch: instructions"]])
    assert load + store + fetched == totals["dram_bytes"]


LOAD = "load: weights, scales, activations"


def test_several_channels_carry_each_burst_once(tmp_path: Path) -> None:
    design = replace(DESIGN, dram=replace(DESIGN.dram, channels=4))
    result = made_result(design, FORMAT, layers=2, decode=2)
    write_trace(result, design, FORMAT, tmp_path / "t.json")
    totals = trace_totals(tmp_path / "t.json")
    assert totals["dram_bytes"] == sum(p.dram_bytes for p in result.phases.values())
    trace = json.loads((tmp_path / "t.json").read_text())
    channels = [t for name, t in _tracks(trace).items() if name.startswith("channel")]
    assert len(channels) == 4
    counts = {len(_slices(trace)[channel]) for channel in channels}
    assert len(counts) == 1


def test_the_structure_is_the_formats(trace: dict[str, Any], result: ModelResult) -> None:
    _check_structure(trace)
    kinds = {event["ph"] for event in trace["traceEvents"]}
    assert kinds == {"M", "X", "C", "s", "t", "f"}
    names = list(_tracks(trace))
    assert len(names) == 7 + DESIGN.dram.channels
    assert trace["otherData"]["model"] == result.model
    assert trace["displayTimeUnit"] == "ns"


def test_detail_is_the_programs(trace: dict[str, Any], result: ModelResult) -> None:
    """The first q is drawn as the timeline ran it; its slices add up to its figures."""
    operator = next(o for o in result.operators if o.name == "layers.*.q")
    drawn = _named(trace, "layers.*.q")[0]
    start, end = drawn["args"]["start_cycle"], drawn["args"]["start_cycle"] + operator.cycles

    def within(track: str) -> list[dict[str, Any]]:
        slices = _slices(trace)[_tracks(trace)[track]]
        return [e["args"] for e in slices if start <= e["args"]["start_cycle"] < end]

    compute = within("compute: matrix unit")
    assert len(compute) > 1
    assert sum(args["cycles"] for args in compute) == operator.compute_cycles
    assert sum(args["bytes"] for args in within("store: results")) == (
        operator.write_bytes // operator.count
    )
    detail = program_detail(DESIGN, GemmShape(operator.m, operator.n, operator.k), FORMAT)
    assert detail is not None
    loads = [piece for piece in detail.tracks["load"] if piece.name == "weights"]
    # a 4-bit code a weight, and whole memory lines
    assert sum(piece.size for piece in loads) >= operator.n * operator.k // 2
    assert len(within(LOAD)) == len(detail.tracks["load"])


def test_what_repeats_is_folded(trace: dict[str, Any], result: ModelResult) -> None:
    folded = _named(trace, "x3 more layers")
    assert len(folded) == 2
    passes = _named(trace, "x4 more passes")
    decode = [o for o in result.operators if o.phase == "decode"]
    later = sum(o.total_cycles - o.total_cycles * o.layers // o.count for o in decode)
    assert [e["args"]["cycles"] for e in passes] == [later]
    heads = _named(trace, "lm_head x4")
    operator = decode[-1]
    engine = [e for e in heads if (e["pid"], e["tid"]) == _tracks(trace)["compute: matrix unit"]]
    assert [e["args"]["cycles"] for e in engine] == [operator.total_cycles * 4 // 5]
    assert len(_named(trace, "layers.*.gate x1 more products")) > 0


def test_what_is_simulated_only_says_so(trace: dict[str, Any], result: ModelResult) -> None:
    for operator in result.operators:
        drawn = [
            e
            for e in _named(trace, operator.name)
            if "simulated_only" in e["args"] and e["cat"] == operator.phase
        ]
        assert drawn
        for event in drawn:
            assert event["args"]["simulated_only"] == operator.simulated_only
            assert ("simulated only" in event["name"]) == operator.simulated_only
    outlined = {f"{o.phase} {o.name}" for o in result.operators if o.simulated_only}
    assert set(trace["otherData"]["drawn_from_totals"]) == outlined


def test_a_program_that_does_not_match_is_not_drawn(result: ModelResult, tmp_path: Path) -> None:
    """Cycles that are not the program's own are outlined, never stretched."""
    first = next(k for k, o in enumerate(result.operators) if o.name == "layers.*.q")
    operator = result.operators[first]
    longer = replace(
        operator,
        cycles=operator.cycles + 1,
        total_cycles=operator.total_cycles + operator.count,
    )
    operators = (*result.operators[:first], longer, *result.operators[first + 1 :])
    phase = result.phases["prefill"]
    phases = dict(result.phases)
    phases["prefill"] = replace(phase, cycles=phase.cycles + operator.count)
    changed = replace(result, operators=operators, phases=phases)
    write_trace(changed, DESIGN, FORMAT, tmp_path / "t.json")
    other = json.loads((tmp_path / "t.json").read_text())["otherData"]
    assert "prefill layers.*.q" in other["drawn_from_totals"]
    assert trace_totals(tmp_path / "t.json")["phases"]["prefill"]["cycles"] == (
        phases["prefill"].cycles
    )


def test_the_area_under_the_bandwidth_is_the_bytes(
    trace: dict[str, Any], result: ModelResult
) -> None:
    samples = [e for e in trace["traceEvents"] if e["ph"] == "C" and "bandwidth" in e["name"]]
    times = [e["ts"] for e in samples]
    assert times == sorted(times)
    seconds = sum(p.cycles for p in result.phases.values()) / DESIGN.clock.frequency_hz
    ends = [*times[1:], seconds * 1e6]
    area = sum(
        sum(e["args"].values()) * (end - e["ts"]) for e, end in zip(samples, ends, strict=True)
    )
    # what is moved within a rounding of cycles at the edges of the 64 samples an operator
    assert area == pytest.approx(trace_bytes(result), rel=0.01)


def trace_bytes(result: ModelResult) -> int:
    return sum(phase.dram_bytes for phase in result.phases.values())


def test_occupancy_stays_within_the_buffers(trace: dict[str, Any]) -> None:
    samples = [e["args"] for e in trace["traceEvents"] if "occupancy" in e["name"]]
    sizes = {
        "activation": DESIGN.buffers.activation_bytes,
        "weight": DESIGN.buffers.weight_bytes,
        "scale": DESIGN.buffers.scale_bytes,
        "output": DESIGN.buffers.output_bytes,
    }
    for name, size in sizes.items():
        values = [sample[name] for sample in samples]
        assert 0 < max(values) <= size
        assert min(values) >= 0


def test_a_long_program_is_drawn_by_its_beginning(tmp_path: Path) -> None:
    """The rest is a slice of its own, with what the report has more of it."""
    shape = GemmShape(2, 8192, 2048)
    program, whole = drawn_program(DESIGN, shape, FORMAT)
    assert not whole
    assert program.shape.n < shape.n
    small = drawn_program(DESIGN, GemmShape(2, 256, 256), FORMAT)
    assert small[1]
    cost = simulate_gemm(DESIGN, shape, FORMAT)
    result = made_result(DESIGN, FORMAT, layers=2, prefill=0, decode=2)
    last = result.operators[-1]
    long = replace(
        last,
        m=shape.m,
        n=shape.n,
        k=shape.k,
        cycles=cost.cycles,
        total_cycles=2 * cost.cycles,
        dram_bytes=cost.dram_bytes,
        total_dram_bytes=2 * cost.dram_bytes,
        read_bytes=2 * cost.read_bytes,
        write_bytes=2 * cost.write_bytes,
    )
    phase = replace(
        result.phases["decode"],
        cycles=result.phases["decode"].cycles + long.total_cycles - last.total_cycles,
    )
    changed = replace(
        result,
        operators=(*result.operators[:-1], long),
        phases={**result.phases, "decode": phase},
    )
    path = tmp_path / "t.json"
    write_trace(changed, DESIGN, FORMAT, path)
    whole_file = json.loads(path.read_text())
    _check_structure(whole_file)
    assert whole_file["otherData"]["drawn_by_beginning"] == ["decode lm_head"]
    totals = trace_totals(path)
    assert totals["dram_bytes"] == sum(o.total_dram_bytes for o in changed.operators)
    assert totals["cycles"] == phase.cycles
    rest = [e for e in _named(whole_file, "lm_head, the rest of it") if e["pid"] == 1]
    drawn = program_detail(DESIGN, shape, FORMAT)
    assert drawn is not None
    assert 0 < drawn.cycles < cost.cycles
    assert {e["args"]["cycles"] for e in rest} == {cost.cycles - drawn.cycles}


def test_the_bound_holds_down_to_the_least(result: ModelResult, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(InputError) as refused:
        write_trace(result, DESIGN, FORMAT, path, 1)
    least = int(re.findall(r"at least (\d+)", str(refused.value))[0])
    for most in (least, least + 37, 2 * least):
        write_trace(result, DESIGN, FORMAT, path, most)
        totals = trace_totals(path)
        assert totals["events"] <= most
        assert totals["dram_bytes"] == trace_bytes(result)
        _check_structure(json.loads(path.read_text()))


def test_a_bound_that_cannot_be_kept_is_refused(result: ModelResult, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(InputError, match=r"most_events: found 50; allowed: at least \d+"):
        write_trace(result, DESIGN, FORMAT, path, 50)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_no_file(
    result: ModelResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.json"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trace_module._Drawing, "draw", fail)
    with pytest.raises(InputError, match="No space left"):
        write_trace(result, DESIGN, FORMAT, path)
    assert [p.name for p in tmp_path.iterdir()] == ["t.json"]
    assert path.read_text() == "before"


def test_a_cut_file_is_noticed(result: ModelResult, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    write_trace(result, DESIGN, FORMAT, path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="whole file"):
        trace_totals(path)
    path.write_text("{}\n")
    with pytest.raises(InputError, match="whole file"):
        trace_totals(path)


def test_phases_without_tokens_are_left_out(tmp_path: Path) -> None:
    result = made_result(DESIGN, FORMAT, prefill=0, decode=1)
    write_trace(result, DESIGN, FORMAT, tmp_path / "t.json")
    totals = trace_totals(tmp_path / "t.json")
    assert list(totals["phases"]) == ["decode"]
    assert totals["cycles"] == result.phases["decode"].cycles

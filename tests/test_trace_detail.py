"""What a trace draws of one operator: its program, or an outline."""

import pytest

from designs.files import load_design
from mapping.formats import parse_format
from mapping.tiling import GemmShape
from sim.trace_detail import outline_detail
from sim.trace_program import program_detail

DESIGN = load_design("dense-int8-tiny")
FORMAT = parse_format("int4_g128")


def test_data_is_in_use_until_it_was_last_read() -> None:
    """Activations are loaded once, and needed by every multiplication up to the last."""
    detail = program_detail(DESIGN, GemmShape(8, 512, 256), FORMAT)
    assert detail is not None
    loads = detail.tracks["load"]
    size = sum(piece.size for piece in loads if piece.name == "activations")
    loaded = max(piece.end for piece in loads if piece.name == "activations")
    last = max(piece.end for piece in detail.tracks["compute"])
    edges = [*(cycle for cycle, _ in detail.occupancy), detail.cycles]
    between = [
        values["activation"]
        for (cycle, values), end in zip(detail.occupancy, edges[1:], strict=True)
        if loaded <= cycle and end <= last
    ]
    assert len(between) > 10
    assert between == pytest.approx([size] * len(between))


def test_arrows_follow_the_tokens() -> None:
    """Every arrow leaves a load that has ended before the multiplication begins."""
    detail = program_detail(DESIGN, GemmShape(8, 256, 256), FORMAT)
    assert detail is not None
    full = [arrow for arrow in detail.arrows if len(arrow) == 3]
    assert full
    starts = {piece.start for piece in detail.tracks["compute"]}
    for arrow in full:
        (_, loaded), (_, computed), (_, stored) = arrow
        assert loaded < computed < stored
        assert computed in starts


@pytest.mark.parametrize("most", [400, 100, 40])
def test_joined_slices_carry_everything(most: int) -> None:
    detail = program_detail(DESIGN, GemmShape(16, 512, 512), FORMAT)
    assert detail is not None
    fitted = detail.fitted(most, 1)
    assert fitted.events(1) <= most < detail.events(1)
    for track, pieces in detail.tracks.items():
        joined = fitted.tracks[track]
        for what in ("size", "busy", "parts"):
            assert sum(getattr(p, what) for p in joined) == sum(getattr(p, what) for p in pieces)
    assert sum(p.size for p in fitted.bus) == detail.dram_bytes
    area = _bandwidth_area(fitted.bandwidth, detail.cycles)
    assert area == pytest.approx(_bandwidth_area(detail.bandwidth, detail.cycles))


def _bandwidth_area(samples: list[tuple[int, float, float]], cycles: int) -> float:
    ends = [*(sample[0] for sample in samples[1:]), cycles]
    return sum((s[1] + s[2]) * (end - s[0]) for s, end in zip(samples, ends, strict=True))


def test_an_outline_fits_its_cycles() -> None:
    detail = outline_detail("compute", 100, 640, 64, 70, 95, 10)
    load, store = detail.tracks["load"][0], detail.tracks["store"][0]
    assert (load.size, store.size) == (576, 64)
    assert load.end <= store.start
    assert store.end == 100
    assert load.end - load.start + store.end - store.start == 95
    compute = detail.tracks["compute"][0]
    assert (compute.start, compute.end) == (20, 90)

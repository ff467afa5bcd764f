"""Memory technology files: every one loads, derived values, wrong files."""

import dataclasses
from pathlib import Path

import pytest

from designs.errors import InputError
from designs.memory_technology import (
    MemoryTechnology,
    address_fields,
    load_memory,
    memory_from_toml,
    memory_names,
)

LIBRARY = Path(__file__).parent.parent / "designs" / "technology" / "memory"
TEXT = (LIBRARY / "ddr4-2400.toml").read_text(encoding="utf-8")


def test_names() -> None:
    expected = {"ddr4-2400", "ddr4-3200", "gddr6-16", "hbm2", "hbm2e", "lpddr5-6400"}
    assert expected <= set(memory_names())


@pytest.mark.parametrize("name", memory_names())
def test_file(name: str) -> None:
    technology = load_memory(name)
    assert technology.name == name
    assert technology.columns * technology.access_bytes == technology.row_bytes
    assert technology.capacity_bytes == technology.banks * technology.rows * technology.row_bytes
    assert technology.clocks("tccd_s") <= technology.clocks("tccd_l")
    # A clock too few would be a timing violation of more than the 2.6 % the standard allows.
    for field in dataclasses.fields(technology.timing):
        period = float(technology.clock_ns)
        nanoseconds = getattr(technology.timing, field.name)
        assert technology.clocks(field.name) * period >= nanoseconds - 0.026 * period - 1e-9
        assert technology.clocks(field.name) * period < nanoseconds + period


@pytest.mark.parametrize(
    ("name", "gigabytes", "access", "capacity"),
    [
        ("ddr4-2400", 19.2, 64, 8 << 30),
        ("ddr4-3200", 25.6, 64, 8 << 30),
        ("lpddr5-6400", 12.8, 32, 2 << 30),
        ("gddr6-16", 32.0, 32, 512 << 20),
        ("hbm2", 32.0, 64, 1 << 30),
        ("hbm2e", 25.6, 32, 512 << 20),
    ],
)
def test_sizes(name: str, gigabytes: float, access: int, capacity: int) -> None:
    technology = load_memory(name)
    assert technology.peak_bytes_per_second == round(gigabytes * 1e9)
    assert technology.access_bytes == access
    assert technology.capacity_bytes == capacity


def test_clocks_of_the_speed_bin() -> None:
    """DDR4-2400 at tCK = 0.833 ns: the clocks of the speed bin tables of JESD79-4."""
    expected = {
        "cl": 16, "cwl": 12, "trcd": 16, "trp": 16, "tras": 39, "trrd_s": 4, "trrd_l": 6,
        "tfaw": 26, "tccd_s": 4, "tccd_l": 6, "trtp": 9, "twtr_s": 3, "twtr_l": 9, "twr": 18,
        "trfc": 420, "trefi": 9360,
    }  # fmt: skip
    technology = load_memory("ddr4-2400")
    assert {name: technology.clocks(name) for name in expected} == expected


def test_one_copy() -> None:
    assert load_memory("hbm2") is load_memory("hbm2")


def test_file_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace('name = "ddr4-2400"', 'name = "mine"'), encoding="utf-8")
    assert load_memory(str(path)).name == "mine"
    assert isinstance(load_memory(str(path)), MemoryTechnology)


def test_no_such_name() -> None:
    with pytest.raises(InputError, match="ddr4-2400"):
        load_memory("ddr9")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("data_rate_mtps = 2400", "data_rate_mtps = 1", "data_rate_mtps"),
        ("data_rate_mtps = 2400", "data_rate_mtps = 2400.0", "data_rate_mtps"),
        ("bank_groups = 4", "bank_groups = 3", "bank_groups"),
        ("ranks = 1", "ranks = 16", "ranks"),
        ("row_bytes = 8192", "row_bytes = 32", "row_bytes"),
        ("rows = 65536", "rows = 65536\nlanes = 1", "lanes"),
        ("queue_depth = 32\n", "queue_depth = 0\n", "queue_depth"),
        ("bank_queue_depth = 8", "bank_queue_depth = 0", "bank_queue_depth"),
        ("activate_clocks = 1", "activate_clocks = 9", "activate_clocks"),
        ("row-bank-column-bankgroup", "row-bank-column", "address_mapping"),
        ("tfaw = 21.0", "tfaw = -1.0", "timing.tfaw"),
        ("tfaw = 21.0", "tfaw = nan", "timing.tfaw"),
        ("tfaw = 21.0", "", "timing.tfaw"),
        ("tccd_l = 5.0", "tccd_l = 2.0", "timing.tccd_l"),
        ("tras = 32.0", "tras = 10.0", "timing.tras"),
        ("trefi = 7800.0", "trefi = 390.0", "timing.trefi"),
        ("read_pj_per_bit = 18.75", "read_pj_per_bit = 0.0", "energy.read_pj_per_bit"),
        (
            "background_milliwatts = 412.8",
            'background_milliwatts = "x"',
            "energy.background_milliwatts",
        ),
    ],
)
def test_wrong_file(old: str, new: str, field: str) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(InputError) as caught:
        memory_from_toml(text, "wrong.toml")
    assert (caught.value.where, caught.value.field) == ("wrong.toml", field)
    assert "\n" not in str(caught.value)


def test_address_fields() -> None:
    assert address_fields("row-bank-column-bankgroup") == (
        "rank",
        "row",
        "bank",
        "column",
        "bankgroup",
    )
    assert address_fields("rochrababgco") == ("row", "rank", "bank", "bankgroup", "column")
    assert address_fields("rorabgbachco") == ("row", "rank", "bankgroup", "bank", "column")
    assert address_fields("robacobg") == ("rank", "row", "bank", "column", "bankgroup")


@pytest.mark.parametrize(
    "mapping",
    ["", "row", "rococobg", "robacobgx", "row-row-bank-column-bankgroup", "rochchbabgco", 7],
)
def test_wrong_address_fields(mapping: object) -> None:
    with pytest.raises(InputError, match="address_mapping"):
        address_fields(mapping)  # type: ignore[arg-type]

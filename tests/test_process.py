"""Process files: published figures, the scaling rule, SRAM tables and their provenance."""

from pathlib import Path

import pytest

from designs import process_document
from designs.errors import InputError
from designs.process import load_process, process_names, scaled
from designs.scaling import area_factor, energy_factor

PROCESS = load_process("28nm")


def test_published_elements() -> None:
    """BitMoD, HPCA'25, table X and the development repository's synthesis."""
    assert PROCESS.element("fp16-mac").picojoules == 0.77
    assert PROCESS.element("fp16-mac").square_micrometres == 1968.7
    assert PROCESS.element("fp16-int8-mac").picojoules == 0.613
    assert PROCESS.element("fp16-int8-mac").square_micrometres == 1318.6
    bitmod = PROCESS.element("bitmod-pe")
    assert bitmod.picojoules == 37.5 / 64
    assert bitmod.square_micrometres == 97090 / 64
    encoder = PROCESS.element(bitmod.encoder)
    assert encoder.picojoules == pytest.approx(1.86 / 64)
    assert encoder.square_micrometres == pytest.approx(2419 / 64)
    # The tile of table X: 64 elements and their encoders, 99509 um2 and 39.36 mW at 1 GHz.
    assert 64 * (bitmod.square_micrometres + encoder.square_micrometres) == pytest.approx(99509)
    assert 64 * (bitmod.picojoules + encoder.picojoules) == pytest.approx(39.36)
    assert bitmod.scaled_from == ""


@pytest.mark.parametrize(
    ("port", "read", "write", "area"),
    [
        (128, 60.1, 37.2, 1.43),
        (144, 61.5, 38.5, 1.44),
        (192, 66.6, 43.3, 1.53),
        (256, 70.1, 51.7, 1.48),
        (288, 72.6, 54.1, 1.50),
        (384, 82.8, 64.0, 1.59),
        (512, 92.8, 83.4, 1.60),
        (576, 107.7, 89.3, 1.43),
        (768, 125.6, 107.0, 1.50),
        (1024, 138.4, 156.1, 1.57),
        (1536, 182.8, 200.1, 1.75),
    ],
)
def test_sram_points_are_those_of_bitmods_simulator(port, read, write, area) -> None:
    """CACTI 7 on BitMoD's 512 KB buffers, as an independent run of its simulator reported it."""
    figure = PROCESS.sram.figure(524288, port)
    assert figure.basis == "point"
    assert figure.read_picojoules == pytest.approx(read, abs=0.06)
    assert figure.write_picojoules == pytest.approx(write, abs=0.06)
    assert figure.square_millimetres == pytest.approx(area, abs=0.0051)


def test_sram_between_and_beyond_points() -> None:
    sram = PROCESS.sram
    low, high = sram.figure(524288, 512), sram.figure(524288, 576)
    middle = sram.figure(524288, 544)
    assert middle.basis == "interpolated"
    assert middle.read_picojoules == pytest.approx((low.read_picojoules + high.read_picojoules) / 2)
    # Between two capacities: the geometric mean half-way in the exponent.
    small, large = sram.figure(262144, 512), sram.figure(524288, 512)
    root = sram.figure(370728, 512)  # 2^18.5
    assert root.basis == "interpolated"
    assert root.write_picojoules == pytest.approx(
        (small.write_picojoules * large.write_picojoules) ** 0.5, rel=1e-5
    )
    for capacity, port in ((512, 64), (524288, 8), (524288, 1 << 15), (1 << 26, 512)):
        figure = sram.figure(capacity, port)
        assert figure.basis == "extrapolated"
        assert figure.read_picojoules > 0
        assert figure.square_millimetres > 0
    assert sram.figure(1 << 26, 512).read_picojoules > sram.figure(1 << 23, 512).read_picojoules
    assert sram.figure(512, 64).square_millimetres < sram.figure(2048, 64).square_millimetres
    # A port is never wider than the memory.
    assert sram.figure(16, 4096) == sram.figure(16, 128)
    with pytest.raises(ValueError, match="at least 1"):
        sram.figure(0, 8)


def test_low_leakage_cells() -> None:
    low = load_process("28nm-low-leakage")
    assert low.element("bitmod-pe") == PROCESS.element("bitmod-pe")
    ours, theirs = low.sram.figure(524288, 512), PROCESS.sram.figure(524288, 512)
    assert ours.leakage_milliwatts is not None
    assert theirs.leakage_milliwatts is not None
    assert ours.leakage_milliwatts < theirs.leakage_milliwatts / 5


def test_scaling_rule() -> None:
    """Values of the published tables, and what the interpolation between them promises."""
    assert area_factor(45, 32) == pytest.approx(0.46)
    assert area_factor(45, 7) == pytest.approx(0.059)
    assert area_factor(32, 20) == pytest.approx(0.46, abs=0.005)  # the paper's 32 nm row
    # 1.018 * 0.81 - 0.3107 * 0.9 + 0.1539 at 45 nm, 0.8367 * 0.81 - 0.4341 * 0.9 + 0.1701 at 32 nm.
    assert energy_factor(45, 0.9, 32, 0.9) == pytest.approx(0.457137 / 0.69885, rel=1e-5)
    for node in (45, 40, 28, 16):
        assert energy_factor(node, 0.8, node, 0.8) == pytest.approx(1)
        forth, back = energy_factor(node, 0.9, 7, 0.7), energy_factor(7, 0.7, node, 0.9)
        assert forth * back == pytest.approx(1)
    nodes = (7, 10, 14, 16, 20, 28, 32, 40, 45, 65, 90)
    areas = [area_factor(45, node) for node in nodes]
    energies = [energy_factor(45, 0.9, node, 0.9) for node in nodes]
    assert areas == sorted(areas)
    assert energies == sorted(energies)
    assert energy_factor(28, 0.9, 28, 0.7) < 1
    for wrong in ((45, 0.9, 5, 0.7), (45, 0.9, 28, 2.0)):
        with pytest.raises(ValueError, match="not"):
            energy_factor(*wrong)


def test_elements_are_carried_over_and_marked() -> None:
    """Horowitz's operators are at home at 45 nm; at 28 nm they carry the factor and say so."""
    at_45 = load_process("45nm").element("int8-mac")
    assert at_45.picojoules == pytest.approx(0.2 + 0.1)
    assert at_45.scaled_from == ""
    at_28 = PROCESS.element("int8-mac")
    assert at_28.picojoules == pytest.approx(0.3 * energy_factor(45, 0.9, 28, 0.9))
    assert at_28.square_micrometres == pytest.approx(419 * area_factor(45, 28))
    assert at_28.scaled_from.startswith("45 nm")
    assert "Stillmaker" in at_28.scaled_from
    # Carried over from where it was published, not from 28 nm once more.
    at_7 = load_process("7nm").element("int8-mac")
    assert at_7.picojoules == pytest.approx(0.3 * energy_factor(45, 0.9, 7, 0.7))


def test_scaled_process_says_what_it_lost() -> None:
    small = scaled(PROCESS, 16)
    assert (small.nanometres, small.volts) == (16, 0.85)
    assert small.sram.figure(524288, 512).leakage_milliwatts is None
    assert small.leakage is None
    assert "leakage" in small.not_modelled
    constants = small.provenance(srams=[(524288, 512)])
    assert all(c.scaled for c in constants if c.name.startswith(("element", "sram")))
    assert not any("leakage" in c.name for c in constants)
    with pytest.raises(InputError, match="volts"):
        scaled(PROCESS, 22)
    assert scaled(PROCESS, 22, 0.8).sram.nanometres == 22
    with pytest.raises(InputError, match="nanometres"):
        scaled(PROCESS, 3, 0.7)


@pytest.mark.parametrize("name", process_names())
def test_every_number_has_a_source(name: str) -> None:
    process = load_process(name)
    constants = process.provenance()
    assert len({c.name for c in constants}) == len(constants)
    for constant in constants:
        assert constant.source
        assert constant.unit
        assert constant.value > 0
    listed = {c.name for c in constants}
    for element in process.elements:
        assert {f"element.{element.name}.energy", f"element.{element.name}.area"} <= listed
    assert process.not_modelled


def test_unknown_names() -> None:
    with pytest.raises(InputError, match=r"silicon\.process.*28nm"):
        load_process("3nm")
    with pytest.raises(InputError, match=r"unit\.pe.*'mac'.*bitmod-pe"):
        PROCESS.element("mac")


_SRAM = """
[sram]
nanometres = 28
volts = 0.9
kelvin = 300
banks = 1
cell = "made up"
source = "this test"
"""
_ROW = """
[[sram.rows]]
capacity_bytes = {}
port_bits = [8, 16]
read_picojoules = [1, 2]
write_picojoules = [1, 2]
square_millimetres = [0.1, 0.1]
leakage_milliwatts = [0.1, 0.1]
"""
_LEAKAGE = """
[leakage]
milliwatts_per_square_millimetre = 12.6
nanometres = 40
source = ""
"""
_HEAD = 'description = "made up"\nnanometres = 28\nvolts = 0.9\n'


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (_HEAD, "sram"),
        (_HEAD.replace("28", "3") + _SRAM + _ROW.format(64) + _ROW.format(128), "nanometres"),
        (_HEAD + _SRAM + _ROW.format(64), r"sram\.rows"),
        (_HEAD + _SRAM + _ROW.format(64) + _ROW.format(32), r"sram\.rows"),
        (_HEAD + _SRAM + (_ROW + _ROW).format(64, 128).replace("[1, 2]", "[1]", 1), "read_pico"),
        (_HEAD + _SRAM + (_ROW + _ROW).format(64, 128).replace("[1, 2]", "[1, -2]", 1), "-2"),
        (
            _HEAD + 'scaled_from = "28nm"\n' + _SRAM + _ROW.format(64) + _ROW.format(128),
            "scaled_from",
        ),
        (_HEAD + _SRAM.replace("0.9", "9") + _ROW.format(64) + _ROW.format(128), r"sram\.volts"),
        (_HEAD + 'scaled_from = "3nm"\n', "scaled_from"),
        (_HEAD + "gates = 7\n" + _SRAM + _ROW.format(64), "gates"),
        (
            _HEAD + _SRAM + (_ROW + _ROW).format(64, 128) + _LEAKAGE,
            r"leakage\.source",
        ),
        (
            _HEAD + _SRAM + (_ROW + _ROW).format(64, 128) + _LEAKAGE.replace("= 40", "= 400"),
            r"leakage\.nanometres",
        ),
    ],
)
def test_wrong_files(tmp_path: Path, content: str, field: str) -> None:
    path = tmp_path / "made-up.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=field):
        load_process(str(path))


def test_file_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "made-up.toml"
    rows = _ROW.format(64) + _ROW.format(128)
    path.write_text(_HEAD + 'elements_of = "28nm"\n' + _SRAM + rows, encoding="utf-8")
    process = load_process(str(path))
    assert process.name == "made-up"
    assert process.element("fp16-mac").picojoules == 0.77
    assert process.sram.figure(64, 12).read_picojoules == 1.5
    assert process.leakage is None
    assert "leakage" in process.not_modelled


def test_document_is_up_to_date() -> None:
    found = process_document.DOCUMENT.read_text(encoding="utf-8")
    assert found == process_document.render(), "run: python -m designs.process_document"

"""Generated Verilog: readable, lint-clean, read back by pyverilog, described by its manifest."""

import dataclasses
import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from designs.errors import InputError
from designs.files import design_from_toml, library_names, load_design
from hwgen.engines.store import StoreEngine
from hwgen.project import generate
from hwgen.readable import plain_verilog
from hwgen.readback import read_ports
from hwgen.units import DenseUnit
from hwgen.verilated.build import verilator_environment
from hwgen.verilog import component_verilog

RTL_DESIGNS = [n for n in library_names() if not load_design(n).unit.simulated_only]


@pytest.fixture(scope="module", params=RTL_DESIGNS)
def project(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("generated") / "out"
    description = generate(load_design(request.param), directory)
    return directory, description


def test_manifest_is_the_directory(project) -> None:
    directory, description = project
    on_disk = json.loads((directory / "manifest.json").read_text())
    assert on_disk == description
    names = {path.name for path in directory.iterdir()} - {"manifest.json"}
    assert names == set(on_disk["files"])
    for name, digest in on_disk["files"].items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest
    design = design_from_toml((directory / "design.toml").read_text())
    assert design.digest == on_disk["design_sha256"]
    assert on_disk["latency_cycles"]["unit"] == design.unit.latency


def test_ports_read_back_equal_the_manifest(project) -> None:
    directory, description = project
    verilog = (directory / f"{description['top']}.v").read_text()
    ports = [
        {"name": port.name, "direction": port.direction, "width": port.width}
        for port in read_ports(verilog, description["top"])
    ]
    assert ports == description["ports"]
    channels = description["parameters"]["dram"]["channels"]
    assert sum(port["name"].endswith("_rdata") for port in ports) == channels + 1


def test_lint_clean(project) -> None:
    directory, description = project
    command = ["verilator", "--lint-only", "-Wall", "lint.vlt", f"{description['top']}.v"]
    result = subprocess.run(
        command, cwd=directory, env=verilator_environment(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "%Warning" not in result.stderr


def test_every_waiver_has_a_reason(project) -> None:
    directory, _ = project
    lines = (directory / "lint.vlt").read_text().splitlines()
    waivers = [i for i, line in enumerate(lines) if line.startswith("lint_off")]
    assert waivers
    assert all(lines[i - 1].startswith("//") for i in waivers)


def test_readable(project) -> None:
    directory, description = project
    verilog = (directory / f"{description['top']}.v").read_text()
    assert "\\" not in verilog
    assert "$auto" not in verilog
    kind = description["parameters"]["unit"]["kind"]
    row = {"bit_serial": "bit_serial_column"}.get(kind, "unit_row_0")
    assert verilog.count(f"module {description['top']}_{row}(") == 1
    assert description["design_sha256"][:16] in verilog.splitlines()[1]
    assert len(re.findall(r"^module ", verilog, re.MULTILINE)) == len(description["modules"]) < 50


def test_generation_is_deterministic(tmp_path: Path) -> None:
    design = load_design("dense-int8-tiny")
    first = generate(design, tmp_path / "a")
    second = generate(design, tmp_path / "b")
    assert first == second
    assert generate(design, tmp_path / "a") == first  # replaces what it made


def test_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="a directory with other files"):
        generate(load_design("dense-int8-tiny"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_foreign_manifest_protects_its_directory(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "my web app"}')
    (tmp_path / "src").mkdir()
    with pytest.raises(InputError, match="a directory with other files"):
        generate(load_design("dense-int8-tiny"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "src"]


def test_a_file_added_to_a_generated_directory_protects_it(tmp_path: Path) -> None:
    design = load_design("dense-int8-tiny")
    generate(design, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        generate(design, tmp_path / "out")


def test_current_directory_and_links(tmp_path: Path, monkeypatch) -> None:
    design = load_design("dense-int8-tiny")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    generate(design, tmp_path / "link")
    assert (tmp_path / "real" / "manifest.json").is_file()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    generate(design, ".")
    assert (tmp_path / "here" / "manifest.json").is_file()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def full(self, *_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        generate(load_design("dense-int8-tiny"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_lines_stay_short_when_the_array_grows() -> None:
    """Verilator limits the tokens of a line; concatenations of a large array are wrapped."""
    tiny = load_design("dense-int8-tiny")
    unit = dataclasses.replace(tiny.unit, lanes_m=1, lanes_n=32, lanes_k=32)
    verilog = component_verilog(DenseUnit(unit), "large_unit")
    assert max(map(len, verilog.splitlines())) <= 2100  # a constant of 8192 bits is one token


def test_store_engine_reaches_the_whole_output_buffer() -> None:
    tiny = load_design("dense-int8-tiny")
    large = dataclasses.replace(
        tiny, buffers=dataclasses.replace(tiny.buffers, output_bytes=1 << 30)
    )
    ports = read_ports(component_verilog(StoreEngine(large), "store"), "store")
    (address,) = (port for port in ports if port.name == "read_address")
    assert 1 << address.width == (1 << 30) // large.line_bytes


def test_plain_names_stay_unique() -> None:
    lines = ("module m;", "wire \\a.b ;", "wire a_b;", "wire \\reg ;", "(* x *)", "wire \\$7 ;")
    text = "\n".join((*lines, "endmodule", ""))
    plain = plain_verilog(text)
    names = re.findall(r"wire (\w+)", plain)
    assert len(set(names)) == 4
    assert "reg" not in names
    assert "(*" not in plain

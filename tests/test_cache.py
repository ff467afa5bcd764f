"""The cache: nothing damaged is used, nothing half-made is kept, trouble is told in one line."""

import os
from pathlib import Path

import pytest

from designs.cache import cache_directory, intact, keep_newest, publish
from designs.errors import InputError
from designs.files import load_design
from hwgen.verilated.build import BuildError, build_shared_library
from hwgen.verilog import design_verilog

_COUNTER = (
    "module counter(input clk, output reg [7:0] q); always @(posedge clk) q <= q + 1; endmodule"
)
_HARNESS = (
    '#include "Vcounter.h"\nextern "C" int answer() { return sizeof(Vcounter) > 0 ? 42 : 0; }'
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "cache"))
    design_verilog.cache_clear()
    return tmp_path / "cache"


def test_a_published_file_is_intact_until_it_changes(tmp_path: Path) -> None:
    temporary, path = tmp_path / "new", tmp_path / "file"
    assert not intact(path)
    temporary.write_text("content")
    publish(temporary, path)
    assert intact(path)
    assert not temporary.exists()
    path.write_text("contenT")
    assert not intact(path)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate("abcd"):
        (tmp_path / "new").write_text(name)
        publish(tmp_path / "new", tmp_path / f"{name}.so")
        os.utime(tmp_path / f"{name}.so", (age, age))
    keep_newest(tmp_path, ".so", 2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["c.so", "c.so.seal", "d.so", "d.so.seal"]


def test_damaged_verilog_is_made_again(cache: Path) -> None:
    design = load_design("dense-int8-tiny")
    text = design_verilog(design)
    (path,) = (cache / "verilog").glob("*.v")
    path.write_text("junk")
    design_verilog.cache_clear()
    assert design_verilog(design) == text
    assert path.read_text() == text


@pytest.mark.rtl
def test_a_truncated_library_is_built_again(cache: Path) -> None:
    library = build_shared_library(_COUNTER, "counter", _HARNESS)
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 2])
    assert build_shared_library(_COUNTER, "counter", _HARNESS) == library
    assert intact(library)
    assert len(library.read_bytes()) > len(whole) // 2


@pytest.mark.rtl
def test_a_failed_build_quotes_the_tool_and_leaves_nothing(cache: Path) -> None:
    with pytest.raises(BuildError, match="syntax error"):
        build_shared_library("module broken(", "broken", _HARNESS)
    assert [p.suffix for p in (cache / "verilated").iterdir()] == [".lock"]


def test_a_missing_compiler_is_named(cache: Path, monkeypatch) -> None:
    monkeypatch.setattr("hwgen.verilated.build.shutil.which", lambda *_args, **_kwargs: None)
    with pytest.raises(BuildError, match=r"g\+\+ is missing"):
        build_shared_library(_COUNTER, "counter", _HARNESS)


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SILICAST_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"^SILICAST_CACHE: found .*a folder that can be written"):
        cache_directory("verilog")

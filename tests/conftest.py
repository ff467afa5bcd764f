"""Fixtures of several test files."""

from pathlib import Path

import pytest
from tiny_liberty import AREAS, liberty_text

from silicast.cli import main


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run a command in an empty folder; its exit status, output and error output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture
def liberty(tmp_path: Path) -> Path:
    """A standard cell library of five cells."""
    path = tmp_path / "small.lib"
    path.write_text(liberty_text(AREAS))
    return path

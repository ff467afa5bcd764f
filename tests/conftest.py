"""Fixtures of several test files."""

import pytest

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

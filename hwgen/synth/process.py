"""Yosys in a process of its own: a script and its input files in, the files it wrote out."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from designs.cache import cache_directory, cache_failures
from hwgen.synth.worker import MARK

__all__ = ["Run", "SynthesisError", "run_yosys", "tool_version"]

_WORKER = Path(__file__).with_name("worker.py")
_LOG = "yosys.log"


class SynthesisError(RuntimeError):
    """Yosys is missing, failed, or gave what cannot be counted; one line, the tool's last error."""


@dataclass(frozen=True)
class Run:
    """What a script left behind.

    Attributes
    ----------
    log : str
        Everything Yosys printed.
    files : mapping of str to str
        Content of the output files that were asked for.
    """

    log: str
    files: Mapping[str, str]


def tool_version() -> str:
    """Name and version of the installed Yosys, e.g. ``pyosys 0.70``.

    Raises
    ------
    SynthesisError
        It is not installed.
    """
    if importlib.util.find_spec("pyosys") is None:
        raise SynthesisError(
            "Yosys is missing; install the extra with it: pip install 'silicast[synth]'"
        )
    return f"pyosys {version('pyosys')}"


def run_yosys(script: str, inputs: Mapping[str, str], outputs: Iterable[str], what: str) -> Run:
    """Run a script in a folder of its own, which is removed afterwards.

    Parameters
    ----------
    script : str
        Yosys commands, one a line; files by their bare names.
    inputs : mapping of str to str
        Text files it reads.
    outputs : iterable of str
        Files it writes that are wanted; each must be there at the end.
    what : str
        What an error calls the run, e.g. ``xcup synthesis of unit``.

    Raises
    ------
    SynthesisError
        The tool is missing or failed; the message ends with its last error line.
    InputError
        The cache folder, in which the work is done, cannot be used.
    """
    tool_version()
    parent = cache_directory("synthesis")
    _sweep(parent)
    mine = f"run-{os.getpid()}-"
    with (
        cache_failures(),
        tempfile.TemporaryDirectory(prefix=mine, dir=parent, ignore_cleanup_errors=True) as name,
    ):
        folder = Path(name)
        for file, text in inputs.items():
            (folder / file).write_text(text, encoding="utf-8")
        (folder / "script.ys").write_text(script, encoding="utf-8")
        # Yosys keeps parsed libraries in TMPDIR under a hash of their path: every run has its own.
        environment = os.environ | {"TMPDIR": name}
        with open(folder / _LOG, "wb") as log:
            status = subprocess.run(
                [sys.executable, str(_WORKER), "script.ys"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            ).returncode
        text = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
        if status:
            raise SynthesisError(f"{what} failed: {_last_error(text, status)}")
        found = {}
        for file in outputs:
            if not (folder / file).is_file():
                raise SynthesisError(f"{what} failed: Yosys ended without writing {file}")
            found[file] = (folder / file).read_text(encoding="utf-8", errors="replace")
    return Run(text, found)


def _sweep(parent: Path) -> None:
    """Remove the folders of callers that were killed."""
    for folder in parent.glob("run-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _last_error(log: str, status: int) -> str:
    """The tool's last error line, or the command in which it was killed."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR:" in line or line.startswith("ERROR")]
    if errors:
        return errors[-1]
    commands = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    command = commands[-1] if commands else "its start"
    if status < 0:
        return f"Yosys was ended by {signal.Signals(-status).name} in `{command}`"
    last = lines[-1] if lines else f"exit status {status}"
    return f"{last} (in `{command}`)"

"""The command line as a process: standard streams, one line for what went wrong, exit status.

Exit status: 0; 1 for a failed check, build or hardware run, or output that cannot be written; 2
for wrong input; 130 when interrupted. All but the first are told in one line on standard error.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]

_INTERRUPTED = 130


def _open_streams() -> None:
    """Stand in for closed standard streams: writing to standard output fails, as it should."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends


def _discard(stream: int) -> None:
    """Send what is left in a stream's buffer nowhere, so that leaving does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _run(arguments: list[str]) -> tuple[int, str]:
    """Exit status of a command, and the line to tell."""
    import silicast.quantize_commands
    import silicast.simulation_commands
    import silicast.synthesis_commands  # noqa: F401 - they add commands to the application
    from designs.errors import InputError
    from silicast.commands import app, usage_line
    from silicast.errors import FailedCheck

    try:
        from typer.main import get_command

        command = get_command(app)
        result = command.main(arguments, prog_name="silicast", standalone_mode=False)
        sys.stdout.flush()
        status = result if isinstance(result, int) else 0
        return status, "interrupted" if status == _INTERRUPTED else ""
    except InputError as error:
        return 2, str(error)
    except FailedCheck as error:
        return 1, str(error)
    except MemoryError:
        return 1, "not enough memory on this machine"
    except BrokenPipeError:  # the reader of a pipe left; nothing more can be told
        _discard(sys.stdout.fileno())
        return 1, ""
    except OSError as error:
        if error.filename is None:
            _discard(sys.stdout.fileno())
        place = "standard output" if error.filename is None else error.filename
        return 1, f"{place}: {error.strerror or error}"
    except Exception as error:
        if type(error).__name__ == "Abort":  # typer's, at the end of a terminal's input
            return _INTERRUPTED, "interrupted"
        if not hasattr(error, "format_message"):  # a wrong command line, whatever typer's version
            raise
        return 2, usage_line(error)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    try:
        _open_streams()
        status, message = _run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        status, message = _INTERRUPTED, "interrupted"
    if message:
        try:
            print(f"silicast: {message}", file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr.fileno())
    sys.exit(status)

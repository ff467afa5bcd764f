"""Failures that are not the user's: a check that did not pass, hardware that did not work."""

import contextlib
from collections.abc import Iterator

from designs.errors import InputError

__all__ = ["FailedCheck", "hardware_failures", "program_failures"]


class FailedCheck(RuntimeError):
    """A correct request could not be carried out; told in one line, exit status 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@contextlib.contextmanager
def hardware_failures() -> Iterator[None]:
    """Turn a failed Verilator build or hardware run into a `FailedCheck`."""
    from hwgen.verilated.build import BuildError
    from hwgen.verilated.runner import HardwareError

    try:
        yield
    except (BuildError, HardwareError) as error:
        raise FailedCheck(str(error)) from error


@contextlib.contextmanager
def program_failures() -> Iterator[None]:
    """Turn an error about a compiled program into a `FailedCheck`: no input caused it."""
    try:
        yield
    except InputError as error:
        raise FailedCheck(f"the compiled program is wrong: {error}") from error

"""The process that runs Yosys: one command a line of a script file, stopped by the first error.

Yosys ends its process when a command fails, and a crash would take the caller along: so it runs
here, started by `hwgen.synth.process` by path. Nothing of silicast is imported.
"""

import ctypes
import signal
import sys

MARK = "silicast runs: "
"""Before every command in the log, so that a crash can be told where it happened."""


_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal a process gets when its parent ends."""


def _end_with_the_caller() -> None:
    """Let this process be killed with the one that started it, where the system knows how."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(script: str) -> None:
    """Run a script.

    Parameters
    ----------
    script : str
        File with one Yosys command a line.
    """
    _end_with_the_caller()
    from pyosys import libyosys  # type: ignore[import-untyped]

    design = libyosys.Design()
    with open(script, encoding="utf-8") as lines:
        for command in filter(None, map(str.strip, lines)):
            print(f"{MARK}{command}", flush=True)
            libyosys.run_pass(command, design)
            libyosys.log_flush()


if __name__ == "__main__":
    main(sys.argv[1])

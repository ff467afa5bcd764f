"""The process that runs Yosys: one command a line of a script file, stopped by the first error.

Yosys ends its process when a command fails, and a crash would take the caller along: so it runs
here, started by `hwgen.synth.process` by path. Nothing of silicast is imported.
"""

import sys

MARK = "silicast runs: "
"""Before every command in the log, so that a crash can be told where it happened."""


def main(script: str) -> None:
    """Run a script.

    Parameters
    ----------
    script : str
        File with one Yosys command a line.
    """
    from pyosys import libyosys  # type: ignore[import-untyped]

    design = libyosys.Design()
    with open(script, encoding="utf-8") as lines:
        for command in filter(None, map(str.strip, lines)):
            print(f"{MARK}{command}", flush=True)
            libyosys.run_pass(command, design)
            libyosys.log_flush()


if __name__ == "__main__":
    main(sys.argv[1])

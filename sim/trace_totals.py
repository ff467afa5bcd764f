"""Adds a trace file up again, to hold it against the report it was made from."""

import json
import os
from collections.abc import Iterator
from typing import Any

from designs.errors import InputError
from sim.trace_events import HEAD

__all__ = ["trace_totals"]


def trace_totals(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Add a trace up again, event by event, without holding it in memory.

    Parameters
    ----------
    path : path
        A file of `write_trace`.

    Returns
    -------
    dict
        ``dram_bytes`` and ``cycles`` of the whole trace, ``events``, and ``phases``: the same two
        of each phase, its cycles from its first slice's start to its last slice's end.

    Raises
    ------
    InputError
        The file is not a trace of `write_trace`, or not whole.
    """
    phases: dict[str, dict[str, int]] = {}
    first: dict[str, int] = {}
    events = 0
    for event in _events(path):
        events += 1
        if event["ph"] != "X":
            continue
        args, phase = event["args"], event["cat"]
        start, end = args["start_cycle"], args["start_cycle"] + args["cycles"]
        first[phase] = min(start, first.get(phase, start))
        found = phases.setdefault(phase, {"dram_bytes": 0, "cycles": 0})
        found["dram_bytes"] += args.get("dram_bytes", 0)
        found["cycles"] = max(found["cycles"], end)
    for phase, found in phases.items():
        found["cycles"] -= first[phase]
    totals = {key: sum(p[key] for p in phases.values()) for key in ("dram_bytes", "cycles")}
    return {**totals, "events": events, "phases": phases}


def _events(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Events of a trace, one a line."""
    wrong = InputError("trace", "", str(path), "a whole file of silicast simulate --trace")
    with open(path, encoding="utf-8") as stream:
        if stream.readline().rstrip("\n") != HEAD:
            raise wrong
        for line in stream:
            if line.startswith("]"):
                return
            try:
                yield json.loads(line.rstrip().rstrip(","))
            except ValueError:
                raise wrong from None
    raise wrong

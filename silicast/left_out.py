"""What a result leaves out, by the figures it is left out of, each thing once."""

from collections.abc import Mapping

from sim.results import ModelResult

__all__ = ["LAST_OF_CYCLES", "left_out"]

LAST_OF_CYCLES = "host time"
"""Last key of `sim.model.not_modelled`; what energy and area leave out comes behind it."""

_AREA = "area: "


def left_out(result: ModelResult) -> dict[str, Mapping[str, str]]:
    """What is left out and why, under ``cycles and traffic``, ``energy and area``, ...

    Returns
    -------
    dict of str to mapping
        Groups with something in them. What energy and area both leave out stands in a group of
        its own, with the reason energy gives; all of it, only where the reason is one.
    """
    given = dict(result.not_modelled)
    names = list(given)
    count = names.index(LAST_OF_CYCLES) + 1 if LAST_OF_CYCLES in given else 0
    cycles = {what: given.pop(what) for what in names[:count]}
    area = {
        what.removeprefix(_AREA): given.pop(what) for what in list(given) if what.startswith(_AREA)
    }
    if "area" in given:
        area["all of it"] = given.pop("area")
    device = {}
    if result.resources is not None:
        device, given = given, {what: given[what] for what in ("energy",) if what in given}
        device = {what: why for what, why in device.items() if what != "energy"}
    energy = {("all of it" if what == "energy" else what): why for what, why in given.items()}
    both = {
        what: why
        for what, why in energy.items()
        if what in area and (what != "all of it" or area[what] == why)
    }
    groups = {
        "cycles and traffic": cycles,
        "energy and area": both,
        "energy": {what: why for what, why in energy.items() if what not in both},
        "area": {what: why for what, why in area.items() if what not in both},
        "FPGA resources": device,
    }
    return {name: group for name, group in groups.items() if group}

"""The first screen of the HTML page: what a phase reaches, and what holds it back."""

from typing import Any

from silicast.charts import Part, bar, reason_bar
from silicast.figures import ABSENT, count, percent, plain, quantity, ratio, seconds, words
from sim.results import ModelResult, OperatorResult, PhaseResult

__all__ = ["phase_cards", "roofline_seconds", "verdict"]

_MOSTLY, _LITTLE = 0.85, 0.5
"""Shares from which, and below which, a card says so; they choose words only."""


def _of(result: ModelResult, phase: str) -> list[OperatorResult]:
    return [o for o in result.operators if o.phase == phase]


def _bandwidth(result: ModelResult) -> tuple[float, str]:
    """Bytes a second of the memory roof, and what it is.

    The sustained rate; the peak where a phase is faster than that, as conventions may count.
    """
    roof = result.roof
    rates = (p.dram_bytes / p.seconds for p in result.phases.values() if p.cycles)
    counted = result.conventions is not None
    if counted and max(rates, default=0.0) > 1.001 * roof.sustained_bytes_per_second:
        return roof.dram_bytes_per_second, "the peak bandwidth"
    return roof.sustained_bytes_per_second, "what the memory sustains"


def roofline_seconds(result: ModelResult, phase: str) -> float:
    """The least time a phase could take: each operator at the lower of the two roofs.

    An operator needs at least its multiply-accumulates at the peak rate, and at least its
    compulsory bytes at the sustained bandwidth, or at the peak where the conventions count with it
    (Williams et al., CACM 52(4), 2009); operators follow one another. Operators without either
    count as 0.
    """
    peak, bandwidth = result.roof.macs_per_second, _bandwidth(result)[0]
    return sum(max(o.macs / peak, o.compulsory_bytes / bandwidth) for o in _of(result, phase))


def phase_cards(result: ModelResult) -> list[dict[str, Any]]:
    """The headline of each phase that has tokens."""
    return [_card(result, name, phase) for name, phase in result.phases.items() if phase.cycles]


def _card(result: ModelResult, name: str, phase: PhaseResult) -> dict[str, Any]:
    roof = result.roof
    used = phase.dram_bytes / phase.seconds
    best = roofline_seconds(result, name)
    if name == "prefill":
        lead = (seconds(phase.seconds), "to the first token")
    else:
        lead = (plain(phase.tokens_per_second, "tokens/s"), "generated")
    limit, what = _bandwidth(result)
    sustained, peak = roof.sustained_bytes_per_second, roof.dram_bytes_per_second
    if limit == sustained:
        bandwidth = (
            f"{quantity(used, 'B/s')} used, {percent(used / sustained)} of the "
            f"sustained {quantity(sustained, 'B/s')}; peak {quantity(peak, 'B/s')}"
        )
    else:
        part = f"{percent(used / peak)} of {what}, {quantity(peak, 'B/s')}"
        bandwidth = f"{quantity(used, 'B/s')} used, {part}"
    only = phase.simulated_only_cycles / phase.cycles
    return {
        "name": name,
        "title": name.capitalize(),
        "lead": lead,
        "verdict": verdict(result, name),
        "figures": _card_figures(result, name, phase, best),
        "reasons": reason_bar(phase.reasons, phase.cycles, f"{name}: cycles by reason", height=26),
        "bandwidth": bandwidth,
        "bandwidth_bar": bar(
            [Part("used", used, "#0072B2", quantity(used, "B/s"))],
            max(roof.dram_bytes_per_second, used),
            f"{name}: DRAM bandwidth",
            mark=(limit, f"{what}: {quantity(limit, 'B/s')}"),
            height=14,
        ),
        "only": percent(only),
        "only_cycles": count(phase.simulated_only_cycles),
        "only_bar": bar(
            [Part("simulated only", only, "#999999", percent(only))],
            1.0,
            f"{name}: share of cycles that is simulated only",
            hatched=True,
            height=14,
        ),
        "only_all": phase.simulated_only_cycles == phase.cycles,
    }


def _card_figures(
    result: ModelResult, name: str, phase: PhaseResult, best: float
) -> list[tuple[str, str, str]]:
    """Name, figure and explanation of the smaller figures of a card."""
    energy = phase.energy_joules
    rows = []
    if name == "prefill":
        rate = plain(phase.tokens_per_second, "tokens/s")
        rows.append(("throughput", rate, "tokens of the prompts in a second"))
    else:
        each = seconds(phase.seconds / phase.passes)
        rows.append(("time of a pass", each, "between two tokens of a sequence, mean"))
    total = quantity(phase.cycles, "\u202fcycles")
    rows.append(("cycles", total, f"{count(phase.cycles)} in {seconds(phase.seconds)}"))
    rows.append(
        (
            "utilisation",
            percent(phase.utilization),
            "of all multiply-accumulate lanes and cycles",
        )
    )
    longer = "time over that of each operator on its roof"
    rows.append(("over the roofline", ratio(phase.seconds / best if best else None), longer))
    if energy is None:
        why = "not modelled: " + result.not_modelled.get("energy", "no silicon process is named")
        rows.append(("energy a token", ABSENT, why))
    else:
        rows.append(
            (
                "energy a token",
                quantity(energy / phase.tokens, "J"),
                f"{quantity(energy, 'J')} in all, {quantity(energy / phase.seconds, 'W')} mean",
            )
        )
    compulsory = sum(o.compulsory_bytes for o in _of(result, name))
    rows.append(
        (
            "DRAM a token",
            quantity(phase.dram_bytes / phase.tokens, "B"),
            f"{percent(compulsory / phase.dram_bytes if phase.dram_bytes else None)} of it is "
            "compulsory: weights and KV cache once a pass",
        )
    )
    return rows


def verdict(result: ModelResult, name: str) -> str:
    """What limits a phase, in one or two sentences of its own figures."""
    phase = result.phases[name]
    bandwidth, what = _bandwidth(result)
    used = phase.dram_bytes / phase.seconds / bandwidth
    fed = phase.reasons["compute"] / phase.cycles
    busy = phase.utilization or 0.0
    waits = {reason: cycles for reason, cycles in phase.reasons.items() if reason != "compute"}
    longest = max(waits, key=lambda reason: waits[reason])
    waiting = f"{percent(waits[longest] / phase.cycles)} wait ({words(longest)})"
    if used >= _MOSTLY:
        sentence = f"Limited by DRAM bandwidth: {percent(used)} of {what} is used"
        useful = sum(o.compulsory_bytes for o in _of(result, name)) / phase.dram_bytes
        if useful < _LITTLE:
            return f"{sentence}, and only {percent(useful)} of the bytes are compulsory."
        lanes = f"with {percent(busy)} of the lanes"
        return f"{sentence}. Engines work in {percent(fed)} of the cycles, {lanes}."
    if busy >= _MOSTLY:
        return (
            f"Limited by compute: {percent(busy)} of the lanes do the model's work in a mean "
            f"cycle; DRAM bandwidth is used to {percent(used)}."
        )
    if fed >= _MOSTLY:
        return (
            f"An engine works in {percent(fed)} of the cycles, but only {percent(busy)} of the "
            f"lanes do the model's work; DRAM bandwidth is used to {percent(used)}."
        )
    flash = phase.traffic.get("flash_read", 0)
    if flash and longest == "weight_load":
        return (
            f"Limited by flash: {quantity(flash / phase.passes, 'B')} of weights come from it in "
            f"every pass, and {percent(waits[longest] / phase.cycles)} of the cycles wait for "
            f"weights; DRAM bandwidth is used to {percent(used)}."
        )
    operator = max(_of(result, name), key=lambda o: o.total_cycles)
    return (
        f"No single limit: an engine works in {percent(fed)} of the cycles, {waiting}; "
        f"{operator.name} takes most, {percent(operator.total_cycles / phase.cycles)}."
    )

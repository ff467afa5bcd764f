"""Bars in SVG, drawn here: no library is needed to make or to see them.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with the common
forms of colour blindness can tell apart; every part also has its name and figure as text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from silicast.figures import count, percent, words
from sim.attribution import REASONS

__all__ = ["PALETTE", "REASON_COLOURS", "Part", "bar", "colours", "reason_bar"]

PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#999999",
    "#4D4D4D",
    "#882255",
)
"""Okabe and Ito's, without black; two greys; and the wine of Tol's muted scheme (2021)."""

REASON_COLOURS = {
    "compute": "#009E73",
    "weight_load": "#0072B2",
    "activation_load": "#56B4E9",
    "store": "#CC79A7",
    "dependency": "#E69F00",
    "table": "#F0E442",
    "fill_drain": "#999999",
}
"""Colour of every reason of `sim.attribution.REASONS`."""


@dataclass(frozen=True)
class Part:
    """A part of a bar.

    Attributes
    ----------
    name : str
        What it is.
    value : float
        Its length, in the unit of the bar's whole; not negative.
    colour : str
        Of the fill.
    figure : str
        Its value as people read it.
    """

    name: str
    value: float
    colour: str
    figure: str


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in order; they repeat after ten."""
    unique = dict.fromkeys(names)
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(unique)}


def bar(
    parts: Sequence[Part],
    whole: float,
    title: str,
    mark: tuple[float, str] | None = None,
    hatched: bool = False,
    height: int = 18,
) -> Markup:
    """A stacked bar over the width of its place; each part tells its name and figure.

    Parameters
    ----------
    parts : sequence of Part
        From left to right; those of no length are left out.
    whole : float
        What the full width stands for; above 0.
    title : str
        What the bar shows, for those who do not see it.
    mark : tuple of (float, str), optional
        A line at a value, and what it means.
    hatched : bool
        Drawn with stripes: simulated only.
    height : int
        Pixels.

    Returns
    -------
    Markup
        An ``svg`` element.
    """
    shown = [part for part in parts if part.value > 0]
    words = "; ".join(f"{part.name} {part.figure}" for part in shown)
    pieces = [
        f'<svg class="bar" width="100%" height="{height}" role="img" '
        f'aria-label="{escape(title)}: {escape(words or "nothing")}">'
        f'<rect class="track" width="100%" height="{height}"/>'
    ]
    left = 0.0
    for part in shown:
        width = 100 * part.value / whole
        pieces.append(
            f'<rect x="{left:.3f}%" width="{width:.3f}%" height="{height}" fill="{part.colour}">'
            f"<title>{escape(part.name)}: {escape(part.figure)}</title></rect>"
        )
        left += width
    if hatched and left:
        pieces.append(
            f'<rect width="{left:.3f}%" height="{height}" fill="url(#hatch)" '
            'pointer-events="none"/>'
        )
    if mark is not None:
        value, meaning = mark
        place = f"{100 * value / whole:.3f}%"
        pieces.append(
            f'<line class="mark" x1="{place}" x2="{place}" y2="{height}">'
            f"<title>{escape(meaning)}</title></line>"
        )
    return Markup("".join(pieces) + "</svg>")


def reason_bar(
    reasons: Mapping[str, float], whole: float, title: str, hatched: bool = False, height: int = 18
) -> Markup:
    """Cycles by reason, in the order of `sim.attribution.REASONS`; arguments as `bar`."""
    total = sum(reasons.values()) or 1
    parts = [
        Part(
            words(reason),
            reasons[reason],
            REASON_COLOURS[reason],
            f"{count(reasons[reason])} cycles, {percent(reasons[reason] / total)}",
        )
        for reason in REASONS
    ]
    return bar(parts, whole, title, hatched=hatched, height=height)

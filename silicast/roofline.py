"""The roofline as SVG: what the hardware allows, and where every operator stands below it.

Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009: attainable rate = the lower of the
peak rate and intensity times bandwidth. Intensity is multiply-accumulates a byte over the memory
bus; both axes are logarithmic.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot, log10

from markupsafe import Markup, escape

from silicast.figures import percent, quantity
from sim.results import ModelResult, OperatorResult, Roof

__all__ = ["Point", "points", "roofline"]

_WIDTH, _HEIGHT = 960, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 20, 18, 56
_SAME = 0.004  # points closer than this, in decades, are one
_NEAR = 16.0  # points of a phase closer than this share a label
_LETTER, _LINE = 6.4, 13  # width and height of a letter of 11 px, for placing labels


@dataclass(frozen=True)
class Point:
    """Operators of one phase that stand in one place.

    Attributes
    ----------
    names : tuple of str
        Their names.
    phase : str
        ``prefill`` or ``decode``.
    intensity : float
        Multiply-accumulates a DRAM byte.
    rate : float
        Multiply-accumulates a second.
    share : float
        Of the cycles of the phase.
    simulated_only : bool
        Whether the generated RTL cannot run them.
    """

    names: tuple[str, ...]
    phase: str
    intensity: float
    rate: float
    share: float
    simulated_only: bool


def points(result: ModelResult) -> tuple[Point, ...]:
    """Operators with multiply-accumulates and traffic; equal ones are joined."""
    found: list[Point] = []
    for o in result.operators:
        phase = result.phases[o.phase]
        if not o.macs or not o.total_dram_bytes or not o.total_cycles:
            continue
        rate = o.macs * phase.cycles / (o.total_cycles * phase.seconds)
        point = Point(
            (_short(o),),
            o.phase,
            o.macs / o.total_dram_bytes,
            rate,
            o.total_cycles / phase.cycles,
            o.simulated_only,
        )
        for index, other in enumerate(found):
            if _together(point, other):
                found[index] = Point(
                    (*other.names, *point.names),
                    other.phase,
                    other.intensity,
                    other.rate,
                    other.share + point.share,
                    other.simulated_only,
                )
                break
        else:
            found.append(point)
    return tuple(found)


def _short(operator: OperatorResult) -> str:
    return operator.name.removeprefix("layers.*.")


def _together(one: Point, other: Point) -> bool:
    return (
        (one.phase, one.simulated_only) == (other.phase, other.simulated_only)
        and abs(log10(one.intensity / other.intensity)) < _SAME
        and abs(log10(one.rate / other.rate)) < _SAME
    )


class _Axes:
    """Logarithmic axes of whole decades around everything that is shown."""

    def __init__(self, roof: Roof, shown: Sequence[Point]) -> None:
        ridge = roof.macs_per_second / roof.dram_bytes_per_second
        across = [ridge, *(p.intensity for p in shown)]
        up = [roof.macs_per_second, *(p.rate for p in shown)]
        self.x = (floor(log10(min(across)) - 0.15), ceil(log10(max(across)) + 0.4))
        self.y = (floor(log10(min(up)) - 0.15), ceil(log10(max(up)) + 0.12))

    def across(self, intensity: float) -> float:
        """Pixels from the left."""
        low, high = self.x
        span = _WIDTH - _LEFT - _RIGHT
        return _LEFT + span * (log10(intensity) - low) / (high - low)

    def up(self, rate: float) -> float:
        """Pixels from the top."""
        low, high = self.y
        span = _HEIGHT - _TOP - _BOTTOM
        return _HEIGHT - _BOTTOM - span * (log10(rate) - low) / (high - low)

    def grid(self) -> str:
        """Lines and ticks of both axes, and what they show."""
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = []
        for step in range(2, 10):  # thin lines between decades
            for decade in range(*self.x):
                x = self.across(step * 10.0**decade)
                parts.append(f"M{x:.1f} {_TOP}V{bottom}")
            for decade in range(*self.y):
                y = self.up(step * 10.0**decade)
                parts.append(f"M{_LEFT} {y:.1f}H{right}")
        parts = [f'<path class="grid minor" d="{"".join(parts)}"/>']
        for decade in range(self.x[0], self.x[1] + 1):
            x = self.across(10.0**decade)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            )
            label = escape(f"{10.0**decade:g}" if -3 <= decade <= 4 else f"1e{decade}")
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
                f"{label}</text>"
            )
        for decade in range(self.y[0], self.y[1] + 1):
            y = self.up(10.0**decade)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{quantity(10.0**decade, '', 1).strip()}</text>"
            )
        middle = (_LEFT + right) / 2
        parts.append(
            f'<text class="axis" x="{middle:.0f}" y="{_HEIGHT - 12}" text-anchor="middle">'
            "intensity: multiply-accumulates a byte of DRAM traffic (MAC/B)</text>"
            f'<text class="axis" transform="translate(18 {(_TOP + bottom) / 2:.0f}) rotate(-90)" '
            'text-anchor="middle">rate: multiply-accumulates a second (MAC/s)</text>'
        )
        return "".join(parts)


class _Labels:
    """Places of labels, none over another or over a point."""

    def __init__(self, taken: list[tuple[float, float, float, float]]) -> None:
        self.taken = taken

    def beside(self, x: float, y: float, gap: float, text: str) -> str:
        """A label beside a point; nothing where there is no room."""
        options = (
            (x + gap, y + 4, "start"),
            (x - gap, y + 4, "end"),
            (x, y - gap - 3, "middle"),
            (x, y + gap + 11, "middle"),
            (x + gap, y - gap - 2, "start"),
            (x + gap, y + gap + 10, "start"),
            (x - gap, y - gap - 2, "end"),
            (x - gap, y + gap + 10, "end"),
        )
        return self.place(options, text)

    def place(self, options: Iterable[tuple[float, float, str]], text: str) -> str:
        """A label at the first of the places and anchors that is free."""
        width = _LETTER * len(text)
        for across, up, anchor in options:
            left = across - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (left - 2, up - _LINE + 3, left + width + 2, up + 3)
            if box[0] < _LEFT or box[2] > _WIDTH - _RIGHT or box[1] < _TOP:
                continue
            if box[3] > _HEIGHT - _BOTTOM or any(_overlap(box, other) for other in self.taken):
                continue
            self.taken.append(box)
            return (
                f'<text class="name" x="{across:.1f}" y="{up:.1f}" text-anchor="{anchor}">'
                f"{escape(text)}</text>"
            )
        return ""


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _slope(axes: _Axes, roof: Roof, bandwidth: float) -> tuple[float, float, float, float]:
    """Where the roof of a bandwidth begins, and where it meets the peak; pixels."""
    start = max(10.0 ** axes.x[0], 10.0 ** axes.y[0] / bandwidth)
    peak = roof.macs_per_second
    return (
        axes.across(start),
        axes.up(start * bandwidth),
        axes.across(peak / bandwidth),
        axes.up(peak),
    )


def _roofs(axes: _Axes, roof: Roof) -> tuple[str, list[tuple[float, float, float, float]]]:
    """Both roofs, the sustained one dashed, and the places that labels keep off."""
    parts = []
    taken = []
    right = _WIDTH - _RIGHT
    slopes = {"roof": roof.dram_bytes_per_second}
    if roof.sustained_bytes_per_second < 0.999 * roof.dram_bytes_per_second:
        slopes["roof sustained"] = roof.sustained_bytes_per_second
    for style, bandwidth in slopes.items():
        x1, y1, x2, y2 = _slope(axes, roof, bandwidth)
        flat = f" {right},{y2:.1f}" if style == "roof" else ""
        parts.append(
            f'<polyline class="{style}" points="{x1:.1f},{y1:.1f} {x2:.1f},{y2:.1f}{flat}"/>'
        )
        taken.append((x2, y2 - 2.0, float(right), y2 + 2.0))
        for step in range(60):
            x, y = x1 + (x2 - x1) * step / 60, y1 + (y2 - y1) * step / 60
            taken.append((x - 1, y - 1, x + 1, y + 1))
    return "".join(parts), taken


def _roof_names(axes: _Axes, roof: Roof, labels: _Labels) -> str:
    """What the roofs are, beside them, where no point is."""
    peak, sustained = roof.macs_per_second, roof.sustained_bytes_per_second
    bandwidth = roof.dram_bytes_per_second
    x1, y1, x2, y2 = _slope(axes, roof, bandwidth)
    right = _WIDTH - _RIGHT - 8
    above = [(float(x), y2 - 8, "end") for x in range(right, _LEFT, -20)]
    highest = labels.place(above, f"peak of all lanes: {quantity(peak, 'MAC/s')}")
    beside = []
    for part in (0.4, 0.3, 0.5, 0.2, 0.6, 0.1, 0.7, 0.8):
        x, y = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
        beside += [(x - 14, y - 6, "end"), (x + 22, y + 16, "start")]
    text = f"DRAM peak {quantity(bandwidth, 'B/s')}, sustained {quantity(sustained, 'B/s')}"
    return highest + labels.place(beside, text)


def _marker(point: Point, x: float, y: float, size: float) -> str:
    style = f"point {point.phase}" + (" only" if point.simulated_only else "")
    if point.phase == "prefill":
        return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}"/>'
    half = size * 1.2
    return (
        f'<path class="{style}" d="M{x:.1f} {y - half:.1f}l{half:.1f} {half:.1f}'
        f'l{-half:.1f} {half:.1f}l{-half:.1f} {-half:.1f}z"/>'
    )


def _tipped(point: Point, roof: Roof, marker: str) -> str:
    """A marker with its figures."""
    attainable = min(roof.macs_per_second, point.intensity * roof.sustained_bytes_per_second)
    only = "; simulated only" if point.simulated_only else ""
    tip = escape(
        f"{point.phase} {', '.join(point.names)}: {quantity(point.rate, 'MAC/s')}, "
        f"{percent(point.rate / attainable)} of the sustained roof, at "
        f"{quantity(point.intensity, 'MAC/B')}; {percent(point.share)} of the phase's cycles{only}"
    )
    return f'<g tabindex="0" role="img" aria-label="{tip}"><title>{tip}</title>{marker}</g>'


def roofline(result: ModelResult) -> Markup:
    """The roofline of a result; an ``svg`` element, without points when nothing can be shown.

    A point's area grows with its share of the phase's cycles; circles are the prefill, diamonds
    the decode; those that are simulated only are hollow.
    """
    shown = sorted(points(result), key=lambda point: -point.share)
    roof = result.roof
    axes = _Axes(roof, shown)
    roofs, taken = _roofs(axes, roof)
    places = [(p, axes.across(p.intensity), axes.up(p.rate), 4 + 12 * p.share**0.5) for p in shown]
    labels = _Labels(taken + [(x - s, y - s, x + s, y + s) for _, x, y, s in places])
    names_of_roofs = _roof_names(axes, roof, labels)
    drawn = [_tipped(point, roof, _marker(point, x, y, size)) for point, x, y, size in places]
    named: list[int] = []
    for index, (point, x, y, size) in enumerate(places):
        if index in named:
            continue
        near = [
            k
            for k, (other, across, up, _) in enumerate(places)
            if other.phase == point.phase and hypot(across - x, up - y) < _NEAR and k not in named
        ]
        named += near
        names = list(dict.fromkeys(name for k in near for name in places[k][0].names))
        text = ", ".join(names) if len(names) < 8 else f"{', '.join(names[:6])}, ..."
        drawn.append(labels.beside(x, y, size + 5, text))
    return Markup(
        f'<svg class="roofline" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" '
        f'aria-label="Roofline: rate over intensity of {len(shown)} operators">'
        f"{axes.grid()}{roofs}{names_of_roofs}{''.join(drawn)}</svg>"
    )

"""Error and perplexity against stored bits, one labelled point a format, as SVG or an HTML page.

Drawn here, like the bars of `silicast.charts`: no library is needed to make or to see it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path

from markupsafe import Markup, escape

from designs.errors import InputError
from mapping.formats import parse_format
from silicast.charts import PALETTE
from silicast.figures import significant
from silicast.output import write_text
from silicast.quantize_results import FormatResult, QuantizeResult

__all__ = ["PLOT_TYPES", "check_plot_type", "plot_svg", "write_plot"]

PLOT_TYPES = (".svg", ".html")

_FAMILIES = {
    "integer": "#0072B2",
    "integer with zero point": "#56B4E9",
    "floating": "#D55E00",
    "flint and ANT": "#CC79A7",
    "MX and NVFP": "#009E73",
    "BitMoD": "#000000",
    "other": PALETTE[7],
}
_WIDTH, _HEIGHT = 520, 400  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 34, 44
_TEXT = 11  # height of a label
_LETTER = 6.1  # mean width of a letter at that height
_LEGEND = 26
_CROWD = 60  # dots nearer than this share a column of labels
_GAP = 14  # from the outermost dot of a crowd to its labels
_LINE = 13  # from label to label


def check_plot_type(target: str | None) -> None:
    """Refuse a file whose name does not say SVG or HTML.

    Raises
    ------
    InputError
        Another suffix.
    """
    if target is not None and Path(target).suffix.lower() not in PLOT_TYPES:
        raise InputError("--plot", "", target, "a file name that ends with .svg or .html")


def write_plot(target: str, result: QuantizeResult, option: str = "--plot") -> None:
    """Write the plot; the suffix of the file says as what.

    Raises
    ------
    InputError
        Another suffix, or the file cannot be written.
    """
    check_plot_type(target)
    svg = plot_svg(result)
    if Path(target).suffix.lower() == ".html":
        title = escape(f"{result.model}: number formats")
        svg = Markup(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{title}</title></head>\n<body><h1>{title}</h1>\n{svg}</body></html>\n"
        )
    write_text(target, str(svg), option)


@dataclass(frozen=True)
class _Point:
    x: float
    y: float
    name: str
    figure: str
    colour: str


def family(name: str) -> str:
    """Which of the plot's colours a format has."""
    fmt = parse_format(name)
    if name.startswith(("mxfp", "nvfp")):
        return "MX and NVFP"
    if fmt.family in ("flint", "ant"):
        return "flint and ANT"
    if fmt.family == "bitmod":
        return "BitMoD"
    if fmt.family == "minifloat":
        return "floating"
    if fmt.family == "int":
        return "integer with zero point" if fmt.asymmetric else "integer"
    return "other"


def plot_svg(result: QuantizeResult) -> Markup:
    """An ``svg`` element with one panel, or two when perplexity was measured.

    Both vertical axes are logarithmic. A line marks the perplexity of the float weights.
    """
    panels = [_panel(result, "normalised squared error of the weights", lambda f: f.weight_nmse)]
    if result.float_perplexity is not None:
        text = f"perplexity, {result.activations.upper()} activations"
        panels.append(_panel(result, text, lambda f: f.perplexity, result.float_perplexity))
    width = _WIDTH * len(panels)
    height = _HEIGHT + _LEGEND
    shown = dict.fromkeys(family(f.format) for f in result.formats)
    title = f"{result.model}: error and perplexity against stored bits a weight"
    pieces = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'font-family="sans-serif" font-size="{_TEXT}">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    ]
    for index, panel in enumerate(panels):
        pieces.append(f'<g transform="translate({index * _WIDTH} 0)">{panel}</g>')
    left = _LEFT
    for name in shown:
        y = _HEIGHT + _LEGEND // 2
        pieces.append(
            f'<circle cx="{left}" cy="{y}" r="4" fill="{_FAMILIES[name]}"/>'
            f'<text x="{left + 8}" y="{y + 4}">{escape(name)}</text>'
        )
        left += int(24 + _LETTER * len(name))
    return Markup("\n".join(pieces) + "\n</svg>\n")


def _panel(
    result: QuantizeResult,
    title: str,
    value: Callable[[FormatResult], float | None],
    mark: float | None = None,
) -> str:
    found = [(f.bits_per_weight, y, f.format) for f in result.formats if (y := value(f))]
    below, above = floor(min(x for x, _, _ in found)), ceil(max(x for x, _, _ in found))
    above = max(above, below + 1)
    sizes = [y for _, y, _ in found] + ([mark] if mark else [])
    low, high = log10(min(sizes)), log10(max(sizes))
    margin = max(0.06 * (high - low), 0.02)
    low, high = low - margin, high + margin

    def across(x: float) -> float:
        return _LEFT + (x - below) / (above - below) * (_WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return _HEIGHT - _BOTTOM - (log10(y) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    pieces = [
        f'<text x="{_LEFT}" y="18" font-size="13">{escape(title)}</text>',
        f'<text x="{(_LEFT + _WIDTH) // 2}" y="{_HEIGHT - 8}" text-anchor="middle">'
        "stored bits a weight</text>",
    ]
    floor_y = _HEIGHT - _BOTTOM
    for tick in range(below, above + 1):
        x = across(tick)
        pieces.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{floor_y}" stroke="#e5e5e5"/>'
            f'<text x="{x:.1f}" y="{floor_y + 16}" text-anchor="middle">{tick}</text>'
        )
    for size in _ticks(10**low, 10**high):
        y = up(size)
        pieces.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="#e5e5e5"/><text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{size:g}</text>"
        )
    if mark:
        y = up(mark)
        pieces.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="#666" stroke-dasharray="5 4"/><text x="{_LEFT + 4}" y="{y + 13:.1f}" '
            f'fill="#666">float32, {significant(mark, 4)}</text>'
        )
    points = [
        _Point(across(x), up(y), name, significant(y, 3), _FAMILIES[family(name)])
        for x, y, name in found
    ]
    return "\n".join([*pieces, *_labelled(points)])


def _ticks(low: float, high: float) -> list[float]:
    """Round values of a logarithmic axis: four to a dozen of them."""
    for digits in (
        (1,),
        (1, 2, 5),
        (1, 1.5, 2, 3, 4, 5, 6, 8),
        tuple(1 + n / 10 for n in range(90)),
    ):
        found = [
            digit * 10.0**power
            for power in range(floor(log10(low)), ceil(log10(high)) + 1)
            for digit in digits
            if low <= digit * 10.0**power <= high
        ]
        if len(found) >= 4:
            break
    return found


def _labelled(points: Sequence[_Point]) -> list[str]:
    """Dots, beside each crowd of them a column of labels, and lines between."""
    pieces = []
    crowds: list[list[_Point]] = []
    for point in sorted(points, key=lambda p: p.x):
        if not crowds or point.x - crowds[-1][-1].x > _CROWD:
            crowds.append([])
        crowds[-1].append(point)
    for crowd in crowds:
        crowd.sort(key=lambda p: p.y)
        widest = _LETTER * max(len(p.name) for p in crowd)
        right = max(p.x for p in crowd) + _GAP
        fits = right + widest <= _WIDTH
        edge = right if fits else min(p.x for p in crowd) - _GAP
        anchor = "start" if fits else "end"
        lows = _spread([p.y for p in crowd], _TOP + _TEXT / 2, _HEIGHT - _BOTTOM - _TEXT / 2)
        for point, y in zip(crowd, lows, strict=True):
            near = edge - 3 if fits else edge + 3
            pieces.append(
                f'<line x1="{point.x:.1f}" y1="{point.y:.1f}" x2="{near:.1f}" y2="{y:.1f}" '
                f'stroke="{point.colour}" stroke-width="0.6"/>'
                f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="4" fill="{point.colour}">'
                f"<title>{escape(point.name)}: {point.figure}</title></circle>"
                f'<text x="{edge:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}" '
                f'fill="{point.colour}">{escape(point.name)}</text>'
            )
    return pieces


def _spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Places at least `_LINE` apart, in the order wanted and as near to it as possible.

    Without the distances the places only have to ascend: runs that do not are replaced by their
    mean (pool adjacent violators), which is the least squared displacement.
    """
    runs: list[tuple[float, int]] = []  # mean and length
    for index, place in enumerate(wanted):
        mean, length = place - _LINE * index, 1
        while runs and runs[-1][0] > mean:
            other, count = runs.pop()
            mean = (mean * length + other * count) / (length + count)
            length += count
        runs.append((mean, length))
    flat = [mean for mean, length in runs for _ in range(length)]
    room = max(low, high - _LINE * (len(flat) - 1))
    return [min(max(mean, low), room) + _LINE * index for index, mean in enumerate(flat)]

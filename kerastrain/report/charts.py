"""Charts as SVG text inside a page: lines, points and columns over two axes.

Takes numbers and names; returns escaped markup whose colours are those of the page, so that a chart reads in its light and
dark form and on paper, with names in any script and a value under the pointer. Must not know what the numbers mean.

A chart of two lines of 200 points takes 0.9 ms and 5 kB here, 33 ms and 12 kB with Matplotlib (`benchmarks/report.py`), and a
page with many sets has dozens, written again by every command.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 340, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 16, 36
_MOST_DOTS = 40  # points of a line that are marked; more would hide it
COLOURS = ("c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7")


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Args:
        name: str, as in the legend; "" for none.
        xs: sequence of float.
        ys: sequence of float or None, as many; None, NaN and infinity are gaps.
        colour: str, a colour of the page: "c0" to "c7", "train", "quiet" or "bad".
        dashed: bool.
        thin: bool.
        joined: bool, whether the points are joined; else each is a faint dot.
        titles: sequence of str, shown when pointing at each point; none by default.
        marker: str, the form of points that are not joined: "dot", "ring" or "cross".
        in_legend: bool, whether the legend shows the name, which is otherwise shown only when pointing at the line.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    colour: str = "c0"
    dashed: bool = False
    thin: bool = False
    joined: bool = True
    titles: Sequence[str] = ()
    marker: str = "dot"
    in_legend: bool = True


@dataclass(frozen=True)
class _Axis:
    """The numbers from `low` to `high`, at the places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)


def lines(
    series: Sequence[Line],
    *,
    x_title: str,
    y_title: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    whole_x: bool = False,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    marks: Sequence[tuple[float, str]] = (),
    diagonal: bool = False,
    description: str = "",
) -> Markup:
    """Draws lines over common axes, with a legend below.

    Args:
        series: sequence of Line. A line of few points, such as a training of one epoch, shows each of them.
        x_title: str.
        y_title: str.
        x_range: (low, high); None for that of the numbers.
        y_range: (low, high); None for that of the numbers.
        whole_x: bool, whether only whole numbers may be marked below.
        x_ticks: sequence of (x, text), what is written below; None for round numbers.
        marks: sequence of (x, name), vertical lines whose name is at their right.
        diagonal: bool, whether a dashed line goes from the lower left to the upper right corner.
        description: str, what a screen reader says.

    Returns:
        Markup; empty without a finite number.
    """
    points = [(x, y) for line in series for x, y in zip(line.xs, line.ys, strict=True) if _finite(x) and _finite(y)]
    if not points:
        return Markup("")
    xs, ys = zip(*points, strict=True)
    across = _Axis(*(x_range or _span(xs, 0.5 if whole_x else None)), _LEFT, WIDTH - _RIGHT)
    up = _Axis(*(y_range or _span(ys)), HEIGHT - _BOTTOM, _TOP)
    if x_ticks is None:
        x_ticks = [(value, _shown(value)) for value in round_numbers(across.low, across.high, whole=whole_x)]
    parts = [_frame(across, up, x_title, y_title, x_ticks)]
    if diagonal:
        parts.append(_segment(across.start, up.start, across.end, up.end, "line dashed thin s-quiet"))
    for x, name in marks:
        place = across.place(x)
        if place > across.start + 1:
            parts.append(_segment(place, up.start, place, up.end, "mark"))
        fits = place < across.start + 0.75 * (across.end - across.start)  # else its name ends at the edge
        ends = (_at(place + 3), "start") if fits else (_at(across.end), "end")
        parts.append(Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(ends[0], _TOP - 5, ends[1], name))
    parts += [_drawn(line, across, up) for line in series]
    return _svg(parts, description or f"{y_title} over {x_title}") + _legend(series)


def columns(
    stacks: Sequence[tuple[str, Mapping[str, float]]],
    colours: Mapping[str, str],
    *,
    x_title: str,
    y_title: str,
    description: str = "",
) -> Markup:
    """Draws stacked columns, with a legend below if there is more than one layer.

    Args:
        stacks: sequence of (title, {layer: height >= 0}), a column each. The title is shown when pointing at it.
        colours: mapping from each layer, the lowest first, to a colour of the page.
        x_title: str.
        y_title: str.
        description: str, what a screen reader says.

    Returns:
        Markup; empty without a column.
    """
    highest = max((sum(layers.values()) for _, layers in stacks), default=0)
    if highest <= 0:
        return Markup("")
    across = _Axis(0, len(stacks), _LEFT, WIDTH - _RIGHT)
    up = _Axis(0, highest * 1.05, HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(across, up, x_title, y_title, (), whole_y=True)]
    width = (across.end - across.start) / len(stacks)
    for number, (title, layers) in enumerate(stacks):
        base, rectangles = 0.0, []
        for layer, colour in colours.items():
            if not (height := layers.get(layer, 0)):
                continue
            top, below = up.place(base + height), up.place(base)
            rectangles.append(
                Markup('<rect x="{}" y="{}" width="{}" height="{}" class="f-{}"/>').format(
                    *(_at(across.place(number) + width * 0.08), _at(top), _at(width * 0.84), _at(below - top), colour)
                )
            )
            base += height
        parts.append(Markup("<g><title>{}</title>{}</g>").format(title, Markup("").join(rectangles)))
    swatches = [Line(name, (), (), colour) for name, colour in colours.items()] if len(colours) > 1 else []
    return _svg(parts, description or f"{y_title} over {x_title}") + _legend(swatches)


def _legend(series: Sequence[Line]) -> Markup:
    named = [line for line in series if line.name and line.in_legend]
    if len(named) < 2:
        return Markup("")
    items = [
        Markup('<li><svg viewBox="0 0 16 6" aria-hidden="true">{}</svg>{}</li>').format(
            Markup('<path d="M0 3H16" class="{}"/>').format(_classes(line))
            if line.joined
            else _marker(line, 8, 3, 2.4),
            line.name,
        )
        for line in named
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _frame(
    across: _Axis,
    up: _Axis,
    x_title: str,
    y_title: str,
    x_ticks: Sequence[tuple[float, str]],
    *,
    whole_y: bool = False,
) -> Markup:
    parts = []
    for value in round_numbers(up.low, up.high, whole=whole_y):
        y = _at(up.place(value))
        parts.append(_segment(across.start, y, across.end, y, "grid"))
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end" dy=".35em">{}</text>').format(_LEFT - 5, y, _shown(value))
        )
    for value, text in x_ticks:
        x = _at(across.place(value))
        parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x, up.start + 14, text))
    middle = _at((across.start + across.end) / 2)
    parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(middle, HEIGHT - 5, x_title))
    height = _at((up.start + up.end) / 2)
    parts.append(
        Markup('<text transform="translate(10 {}) rotate(-90)" text-anchor="middle">{}</text>').format(height, y_title)
    )
    return Markup("").join(parts)


def round_numbers(low: float, high: float, *, whole: bool = False, about: int = 5) -> list[float]:
    """Round numbers of an interval for an axis.

    Args:
        low: float.
        high: float > `low`.
        whole: bool, whether they must be integers.
        about: int > 0, how many are wanted.

    Returns:
        list of float, ascending, at equal distances.
    """
    step = (high - low) / about
    power = 10.0 ** math.floor(math.log10(step))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)
    if whole:
        step = max(1, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _drawn(line: Line, across: _Axis, up: _Axis) -> Markup:
    parts, run, dots = [], [], []
    has_dots = not line.joined or (len(line.xs) <= _MOST_DOTS and not line.thin)
    radius = 3.5 if len(line.xs) == 1 else 2.4
    for number, (x, y) in enumerate(zip(line.xs, line.ys, strict=True)):
        if not (_finite(x) and _finite(y)):
            parts.append(_path(run, line))
            run = []
            continue
        run.append((_at(across.place(x)), _at(min(max(up.place(y), up.end), up.start))))
        if has_dots:
            title = line.titles[number] if line.titles else f"{line.name} {x:.4g}: {y:.4g}"
            dots.append(_marker(line, *run[-1], radius, title.strip()))
    parts.append(_path(run, line))
    name = Markup("") if has_dots or not line.name else Markup("<title>{}</title>").format(line.name)
    return Markup("<g>{}{}</g>").format(name, Markup("").join([*parts, *dots]))


def _marker(line: Line, x: str | float, y: str | float, radius: float, title: str = "") -> Markup:
    inner = Markup("<title>{}</title>").format(title) if title else Markup("")
    if line.marker == "cross":
        route = f"M{x} {y}m-{radius} -{radius}l{2 * radius} {2 * radius}m0 -{2 * radius}l-{2 * radius} {2 * radius}"
        return Markup('<path d="{}" class="line s-{}">{}</path>').format(route, line.colour, inner)
    classes = f"ring s-{line.colour}" if line.marker == "ring" else f"f-{line.colour}"
    opacity = 1 if line.joined or line.marker == "ring" else 0.55
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}" opacity="{}">{}</circle>').format(
        x, y, radius, classes, opacity, inner
    )


def _path(places: Sequence[tuple], line: Line) -> Markup:
    if len(places) < 2 or not line.joined:
        return Markup("")
    route = "M" + "L".join(f"{x} {y}" for x, y in places)
    return Markup('<path d="{}" class="line {}"/>').format(route, _classes(line))


def _classes(line: Line) -> str:
    return f"s-{line.colour}" + " dashed" * line.dashed + " thin" * line.thin


def _segment(x: float, y: float, to_x: float, to_y: float, classes: str) -> Markup:
    return Markup('<path d="M{} {}L{} {}" class="{}"/>').format(*(_at(value) for value in (x, y, to_x, to_y)), classes)


def _svg(parts: Sequence[Markup], description: str) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, description, Markup("").join(parts)
    )


def _span(values: Sequence[float], margin: float | None = None) -> tuple[float, float]:
    low, high = min(values), max(values)
    if margin is None:
        margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    # Numbers that are never negative, such as a loss or a rate, get no axis below 0.
    return (max(low - margin, 0.0) if low >= 0 else low - margin), high + margin


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _at(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if not isinstance(value, str) else value


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 and float(value).is_integer() else f"{value:.3g}"

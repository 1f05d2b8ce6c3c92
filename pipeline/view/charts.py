"""Small pictures as SVG text, drawn from numbers where the page is made: no script, printable, the same in every theme.

Each function gives a ``Chart``: the picture, the legend beside it, and the same figures as a table for whoever cannot use
the picture. Places along the width are percentages, so that a picture fills whatever width it gets while its text and marks
keep their size. Colours come from classes (``tone-good``, ``tone-bad`` ...) that the style sheet sets for both themes, and no
tone is told by its colour alone: marks have shapes, failures are hatched, figures stand in the table.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2s
from typing import Final, Literal, NamedTuple

from markupsafe import Markup, escape

from pipeline.view.formats.text import inert

Tone = Literal["good", "warn", "bad", "info", "mute"]
Words = Callable[[float], str]
"""How a figure is written for people."""

HEIGHT_PX: Final = 140
_TOP_PX: Final = 16  # room for the label of the upper end
_BOTTOM_PX: Final = 18  # room for the labels of the times
_HEAT_STEPS: Final = 6
_MOST_WRITTEN_CELLS: Final = 16  # labels of more do not fit beside each other
_BAR_PX: Final = 22
_DAY_S: Final = 86_400.0
_NO_XML: Final = {0xFFFE: "\N{REPLACEMENT CHARACTER}", 0xFFFF: "\N{REPLACEMENT CHARACTER}"}

_MARKS: Final[dict[Tone, str]] = {
    "good": '<circle r="4"/>',
    "warn": '<path d="M0-5 5 4H-5Z"/>',
    "bad": '<path class="mark-line" d="M-4-4 4 4M4-4-4 4"/>',
    "info": '<path d="M0-5 5 0 0 5-5 0Z"/>',
    "mute": '<path d="M-4-4H4V4H-4Z"/>',
}


class Series(NamedTuple):
    """One named row of figures; ``None`` where there is none."""

    name: str
    values: Sequence[float | None]
    tone: Tone = "info"


class Cell(NamedTuple):
    """One field of a strip."""

    label: str
    value: float | None


class Dot(NamedTuple):
    """One mark: when (UNIX seconds), at which level, with what outcome."""

    at: float
    level: float
    outcome: str
    tone: Tone = "info"
    url: str = ""


class Measure(NamedTuple):
    """How much of a limit is used."""

    name: str
    value: float
    limit: float
    words: Words | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and its twin.

    ``svg`` is safe to put into a page. ``rows`` hold texts under ``columns``; where ``has_times`` is set the first of each is
    UNIX seconds. ``legend`` pairs the tones used with their names.
    """

    title: str
    description: str
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]
    legend: tuple[tuple[Tone, str], ...] = ()
    has_times: bool = False


def plainly(value: float) -> str:
    """A figure with as many digits as help: ``12 345`` with narrow no-break spaces, ``3.2``, ``0.04``."""
    if not math.isfinite(value):
        return str(value)
    if float(value).is_integer() or abs(value) >= 100:  # noqa: PLR2004 beyond a hundred, fractions do not help
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.1f}"  # noqa: PLR2004 two digits that count


def sparkline(
    values: Sequence[float | None],
    title: str = "Trend",
    *,
    width_px: int = 120,
    height_px: int = 24,
    words: Words = plainly,
) -> Markup:
    """A line without axes, as wide as a cell of a table; gaps where there is no figure."""
    known = [value for value in map(_finite, values) if value is not None]
    if not known:
        return _svg("chart-spark", title, "No figures yet.", "", width=f"{width_px}", height=height_px)
    highest = max(*known, 0.0)
    lowest = min(*known, 0.0)
    step = (width_px - 4) / max(len(values) - 1, 1)

    def place(index: int, value: float) -> str:
        share = (value - lowest) / ((highest - lowest) or 1.0)
        return f"{_short(2 + index * step)} {_short(height_px - 2 - share * (height_px - 4))}"

    parts: list[str] = []
    for first, run in _runs(values):
        line = "L".join(place(first + offset, value) for offset, value in enumerate(run))
        if len(run) == 1:
            parts.append(f'<path class="spark-line" d="M{line}h.1"/>')
            continue
        start, end = _short(2 + first * step), _short(2 + (first + len(run) - 1) * step)
        parts.append(f'<path class="spark-area" d="M{start} {height_px - 2}L{line}L{end} {height_px - 2}Z"/>')
        parts.append(f'<path class="spark-line" d="M{line}"/>')
    last = next((place(i, v) for i, v in reversed(list(enumerate(map(_finite, values)))) if v is not None), "")
    x, _, y = last.partition(" ")
    parts.append(f'<circle class="spark-end" cx="{x}" cy="{y}" r="2"/>')
    described = f"{len(values)} figures from {words(min(known))} to {words(max(known))}, the last {words(known[-1])}."
    return _svg("chart-spark", title, described, "".join(parts), width=f"{width_px}", height=height_px)


def stacked_bars(
    times: Sequence[float], series: Sequence[Series], title: str, *, words: Words = plainly, height_px: int = HEIGHT_PX
) -> Chart:
    """Bars over time, each the sum of the series one above the other. ``times`` are the bars' beginnings in UNIX seconds."""
    count = len(times)
    cleaned = [[max(_finite(value) or 0.0, 0.0) for value in each.values] for each in series]
    totals = [sum(values[i] for values in cleaned) for i in range(count)]
    highest = max(totals, default=0.0)
    hatch = f"hatch-{_identity(title, times, [tuple(each.values) for each in series])}"
    parts: list[str] = []
    if highest:
        for i in range(count):
            below = 0.0
            for each, values in zip(series, cleaned, strict=True):
                if not values[i]:
                    continue
                y, tall = 100 * (1 - (below + values[i]) / highest), 100 * values[i] / highest
                place = f'x="{_percent(100 * i / count)}" width="{_percent(84 / count)}" y="{_percent(y)}" height="{_percent(tall)}"'
                told = _told(f"{_moment(times[i])}: {each.name} {words(values[i])}")
                parts.append(f'<rect class="tone-{each.tone}" {place}>{told}</rect>')
                if each.tone == "bad":
                    parts.append(f'<rect class="hatched" fill="url(#{hatch})" {place}/>')
                below += values[i]
    pattern = (
        f'<defs><pattern id="{hatch}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path class="hatch-line" d="M0 0V5"/></pattern></defs>'
    )
    has_failures = any(each.tone == "bad" for each in series)
    body = (pattern if has_failures else "") + _framed("".join(parts), words(highest), times, height_px, is_bars=True)
    sums = ", ".join(f"{each.name} {words(sum(values))}" for each, values in zip(series, cleaned, strict=True))
    described = f"{_span(times)} In all: {sums}." if count else "No figures yet."
    return Chart(
        title,
        described,
        _svg("chart-bars", title, described, body, height=height_px),
        ("Time", *(each.name for each in series)),
        tuple((times[i], *(_worded(each.values[i], words) for each in series)) for i in range(count)),
        tuple((each.tone, each.name) for each in series),
        has_times=True,
    )


def step_line(
    times: Sequence[float],
    values: Sequence[float | None],
    title: str,
    *,
    words: Words = plainly,
    height_px: int = HEIGHT_PX,
) -> Chart:
    """A figure that holds until the next one, such as the age of what waits longest; gaps where there is no figure."""
    cleaned = [_finite(value) for value in values]
    highest = max((value for value in cleaned if value is not None), default=0.0)
    parts: list[str] = []
    before: float | None = None
    for i, value in enumerate(cleaned):
        if value is not None:
            y = _percent(100 * (1 - max(value, 0.0) / (highest or 1.0)))
            x, until = _along(times, times[i]), _along(times, times[min(i + 1, len(times) - 1)])
            told = _told(f"{_moment(times[i])}: {words(value)}")
            if before is not None:
                parts.append(f'<line class="step" x1="{x}" x2="{x}" y1="{_percent(before)}" y2="{y}"/>')
            parts.append(f'<line class="step" x1="{x}" x2="{until}" y1="{y}" y2="{y}">{told}</line>')
        before = None if value is None else 100 * (1 - max(value, 0.0) / (highest or 1.0))
    known = [value for value in cleaned if value is not None]
    described = f"{_span(times)} Highest {words(highest)}, last {words(known[-1])}." if known else "No figures yet."
    return Chart(
        title,
        described,
        _svg(
            "chart-step", title, described, _framed("".join(parts), words(highest), times, height_px), height=height_px
        ),
        ("Time", title),
        tuple((at, _worded(value, words)) for at, value in zip(times, values, strict=True)),
        has_times=True,
    )


def dot_plot(
    dots: Sequence[Dot], title: str, *, level: str = "Attempt", words: Words = plainly, height_px: int = HEIGHT_PX
) -> Chart:
    """Marks by time and level, with a shape for each tone; a mark with a URL is a link to what it stands for."""
    times = sorted(dot.at for dot in dots)
    highest = max((dot.level for dot in dots), default=0.0)
    parts: list[str] = []
    for dot in dots:
        x, y = _along(times, dot.at), _percent(94 - 84 * dot.level / highest if highest > 0 else 50)
        told = f"{_moment(dot.at)}: {level.lower()} {words(dot.level)}, {dot.outcome}"
        mark = f'<svg class="mark tone-{dot.tone}" x="{x}" y="{y}" overflow="visible">{_told(told)}{_MARKS[dot.tone]}</svg>'
        parts.append(f'<a href="{escape(dot.url)}" aria-label="{escape(told)}">{mark}</a>' if dot.url else mark)
    outcomes = list(dict.fromkeys((dot.tone, dot.outcome) for dot in dots))
    counted = ", ".join(
        f"{outcome} {sum(dot.outcome == outcome and dot.tone == tone for dot in dots)}" for tone, outcome in outcomes
    )
    described = f"{_span(times)} {len(dots)} in all: {counted}." if dots else "None yet."
    has_links = any(dot.url for dot in dots)
    body = _framed("".join(parts), f"{level} {words(highest)}", times, height_px)
    return Chart(
        title,
        described,
        # A picture with links in it is a group: inside an image nothing can be reached.
        _svg("chart-dots", title, described, body, height=height_px, role="group" if has_links else "img"),
        ("Time", level, "Outcome"),
        tuple((dot.at, words(dot.level), dot.outcome) for dot in sorted(dots)),
        tuple(outcomes),
        has_times=True,
    )


def heat_strip(
    cells: Sequence[Cell], title: str, *, name: str = "Partition", words: Words = plainly, height_px: int = 56
) -> Chart:
    """One field a cell: the higher its figure, the darker and the fuller; an unknown one has a broken line round it."""
    cleaned = [_finite(cell.value) for cell in cells]
    highest = max((value for value in cleaned if value is not None), default=0.0)
    tall = height_px - _BOTTOM_PX
    parts: list[str] = []
    for i, (cell, value) in enumerate(zip(cells, cleaned, strict=True)):
        place = f'x="{_percent(100 * (i + 0.04) / len(cells))}" width="{_percent(92 / len(cells))}"'
        told = _told(f"{name} {cell.label}: {_worded(cell.value, words)}")
        if value is None:
            parts.append(f'<rect class="heat-none" {place} y="1" height="{tall - 2}">{told}</rect>')
        else:
            share = max(value, 0.0) / highest if highest > 0 else 0.0
            full = _short(max(share * tall, 1.0))
            shade = math.ceil(_HEAT_STEPS * share) or 1
            parts.append(f'<rect class="track" {place} height="{tall}">{told}</rect>')
            parts.append(
                f'<rect class="heat heat-{shade}" {place} y="{_short(tall - float(full))}" height="{full}">{told}</rect>'
            )
        if len(cells) <= _MOST_WRITTEN_CELLS or i % math.ceil(len(cells) / _MOST_WRITTEN_CELLS) == 0:
            middle = _percent(100 * (i + 0.5) / len(cells))
            parts.append(
                f'<text class="label" x="{middle}" y="{height_px - 4}" text-anchor="middle">{_inert(cell.label[:12])}</text>'
            )
    known = [(value, cell.label) for cell, value in zip(cells, cleaned, strict=True) if value is not None]
    unknown = len(cells) - len(known)
    described = (
        f"{len(cells)} fields, highest {words(max(known)[0])} at {max(known)[1]}." if known else "No figures yet."
    )
    described += f" Unknown: {unknown}." if known and unknown else ""
    return Chart(
        title,
        described,
        _svg("chart-heat", title, described, "".join(parts), height=height_px),
        (name, title),
        tuple((cell.label, _worded(cell.value, words)) for cell in cells),
    )


def gauge(measures: Sequence[Measure], title: str) -> Chart:
    """How near each measure is to its limit, such as a window's events and age to what seals it."""
    parts: list[str] = []
    rows: list[tuple[str, ...]] = []
    for i, measure in enumerate(measures):
        words = measure.words or plainly
        share = max(measure.value / measure.limit, 0.0) if measure.limit > 0 else 1.0
        tone: Tone = "bad" if share > 1 else "warn" if share >= 0.8 else "good"  # noqa: PLR2004 a fifth left is near
        text = f"{words(measure.value)} of {words(measure.limit)}"
        top = i * 2 * _BAR_PX
        parts.append(
            f'<text class="label" x="0" y="{top + 15}">{_inert(measure.name)}</text>'
            f'<text class="label" x="100%" y="{top + 15}" text-anchor="end">{_inert(text)}</text>'
            f'<rect class="track" x="0" y="{top + _BAR_PX}" width="100%" height="12" rx="3"/>'
            f'<rect class="tone-{tone}" x="0" y="{top + _BAR_PX}" width="{_percent(100 * min(share, 1.0))}" height="12" rx="3"/>'
        )
        rows.append((measure.name, words(measure.value), words(measure.limit), f"{100 * share:.0f} %"))
    described = "; ".join(f"{name}: {value} of {limit}, {share}" for name, value, limit, share in rows) or "No limits."
    height = max(len(measures) * 2 * _BAR_PX - 6, 1)
    return Chart(
        title,
        described,
        _svg("chart-gauge", title, described, "".join(parts), height=height),
        ("Measure", "Now", "Limit", "Share"),
        tuple(rows),
    )


def bars(
    pairs: Sequence[tuple[str, float]], title: str, *, name: str = "Value", tone: Tone = "info", words: Words = plainly
) -> Chart:
    """One bar a name, side by side in length: counts by status, sizes by class, rows by partition."""
    highest = max((_finite(value) or 0.0 for _, value in pairs), default=0.0)
    parts: list[str] = []
    for i, (label, given) in enumerate(pairs):
        value = max(_finite(given) or 0.0, 0.0)
        top = i * 2 * _BAR_PX * 0.75
        parts.append(
            f'<text class="label" x="0" y="{top + 12:g}">{_inert(label)}</text>'
            f'<text class="label" x="100%" y="{top + 12:g}" text-anchor="end">{_inert(words(given))}</text>'
            f'<rect class="track" x="0" y="{top + 17:g}" width="100%" height="8" rx="2"/>'
            f'<rect class="tone-{tone}" x="0" y="{top + 17:g}" width="{_percent(100 * value / highest if highest else 0)}" height="8" rx="2"/>'
        )
    described = ", ".join(f"{label} {words(value)}" for label, value in pairs[:10]) or "None yet"
    described += f", and {len(pairs) - 10} more." if len(pairs) > 10 else "."  # noqa: PLR2004 the rest stands in the table
    return Chart(
        title,
        described,
        _svg("chart-list", title, described, "".join(parts), height=math.ceil(max(len(pairs), 1) * 2 * _BAR_PX * 0.75)),
        (name, title),
        tuple((label, words(value)) for label, value in pairs),
    )


def _svg(
    kind: str, title: str, description: str, body: str, *, width: str = "100%", height: int, role: str = "img"
) -> Markup:
    # A child title names an image; an id for aria-labelledby would be there twice where two rows have the same figures.
    return Markup(  # noqa: S704 every part is ours or escaped
        f'<svg class="chart-svg {kind}" role="{role}" width="{width}" height="{height}" aria-label="{_inert(title)}">'
        f"<title>{_inert(title)}</title><desc>{_inert(description)}</desc>{body}</svg>"
    )


def _framed(body: str, upper: str, times: Sequence[float], height_px: int, *, is_bars: bool = False) -> str:
    """A drawing between its lines, with the upper end and the times written at them."""
    tall = height_px - _TOP_PX - _BOTTOM_PX
    text = [f'<text class="label" x="0" y="11">{_inert(upper)}</text>']
    for share in (0, 50, 100):
        y = _TOP_PX + tall * share / 100
        text.append(f'<line class="grid" x1="0" x2="100%" y1="{y:g}" y2="{y:g}"/>')
    if times:
        first, last = min(times), max(times)
        ends: list[tuple[float, str, str]] = [(first, "0", "start")]
        if last > first:
            middle = times[len(times) // 2] if is_bars else (first + last) / 2
            x = _percent(100 * (len(times) // 2) / len(times)) if is_bars else "50%"
            ends += [(middle, x, "start" if is_bars else "middle"), (last, "100%", "end")]
        if is_bars and len(times) < 3:  # noqa: PLR2004 no room for a middle of two
            ends = [ends[0]]
        is_long = last - first > _DAY_S
        text += [
            f'<text class="label" data-at="{_short(at)}" x="{x}" y="{height_px - 4}" text-anchor="{anchor}">'
            f"{_tick(at, is_long=is_long)}</text>"
            for at, x, anchor in ends
        ]
    drawn = f'<svg y="{_TOP_PX}" width="100%" height="{tall}" overflow="visible">{body}</svg>'
    return "".join(text) + drawn


def _runs(values: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    """The figures that follow on each other without a gap, each run with the place of its first."""
    runs: list[tuple[int, list[float]]] = []
    is_open = False
    for index, value in enumerate(map(_finite, values)):
        if value is None:
            is_open = False
        elif is_open:
            runs[-1][1].append(value)
        else:
            runs.append((index, [value]))
            is_open = True
    return runs


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _worded(value: float | None, words: Words) -> str:
    return "unknown" if value is None or not math.isfinite(value) else words(value)


def _along(times: Sequence[float], at: float) -> str:
    first, last = (min(times), max(times)) if times else (at, at)
    return _percent(50 if last <= first else 100 * (at - first) / (last - first))


def _percent(value: float) -> str:
    return f"{_short(min(max(value, 0.0), 100.0))}%"


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"


def _tick(at: float, *, is_long: bool) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M" if is_long else "%H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"


def _span(times: Sequence[float]) -> str:
    return f"From {_moment(min(times))} to {_moment(max(times))}." if times else ""


def _told(text: str) -> str:
    return f"<title>{_inert(text)}</title>"


def _inert(text: str) -> str:
    """Escaped, without what turns the direction of writing or breaks Unicode, and not too long for a picture."""
    return str(escape(inert(text[:200]).translate(_NO_XML)))


def _identity(*parts: object) -> str:
    """A name that the same figures always get."""
    return blake2s(repr(parts).encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()

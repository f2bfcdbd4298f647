"""The stacked chart of the overview: bars per day (or hour) by model. Pure; a template draws it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aibridge_addon.report import numbers
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import usd
from aibridge_addon.report.rows import GroupRow

HEIGHT, WIDTH = 150, 720
_MOST_SERIES = 6
_OTHERS = "others"
_MOST_BARS = 120
_WIDEST = WIDTH / 9
"""Width of a bar if there are few: a single day must not fill the chart."""
_DAY = len("2026-11-28")
"""Length of the name of a day; names of hours are longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A figure that the chart can show."""

    title: str
    value: Callable[[Figures], int | None]
    text: Callable[[int | None], str]


MEASURES = {
    "money": Measure(title="Money", value=lambda f: f.cost_nano_usd, text=usd),
    "list": Measure(
        title="List price, not billed", value=lambda f: f.list_price_nano_usd, text=usd
    ),
    "tokens": Measure(
        title="Tokens", value=lambda f: f.total_input + f.output, text=numbers.short_count
    ),
    "requests": Measure(title="Requests", value=lambda f: f.requests, text=numbers.short_count),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a bar."""

    series: int
    y: float
    height: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The models of one day."""

    x: float
    width: float
    name: str
    """The day or hour as the report names it."""
    label: str
    """Its total as text."""
    segments: tuple[Segment, ...]
    tick: str
    """Label below the bar; empty to keep the axis readable."""
    unpriced: int
    """Requests of the day without a price, which the bar does not contain."""

    @property
    def period(self) -> dict[str, str]:
        """The filters of the bar's requests."""
        if len(self.name) == _DAY:
            return {"period": self.name, "until": self.name}
        try:
            begin = datetime.fromisoformat(self.name)
        except ValueError:
            return {}
        return {"period": self.name, "until": (begin + timedelta(hours=1)).isoformat()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart, ready to draw."""

    title: str
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    lines: tuple[str, ...]
    """Labels of the scale: its top and its middle."""


def default_measure(overall: Figures) -> str:
    """Return the most telling measure that is known."""
    if overall.cost_nano_usd is not None:
        return "money"
    return "list" if overall.list_price_nano_usd is not None else "tokens"


def make_chart(rows: Sequence[GroupRow], measure: Measure) -> Chart | None:
    """Return the chart of figures grouped by day and model, or by hour and model.

    None if there is nothing to draw.
    """
    values: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    unpriced: dict[str, int] = defaultdict(int)
    for row in rows:
        day, model = row.names[0] or "", row.names[1] or "unknown"
        values[day][model] += measure.value(row.figures) or 0
        unpriced[day] += row.figures.unpriced if measure.text is usd else 0
    top = max((sum(models.values()) for models in values.values()), default=0)
    if not top:
        return None
    series, days = _series(values), _all_days(sorted(values))
    step = WIDTH / len(days)
    bars = [
        _bar(
            day, index * step, step, values.get(day, {}), unpriced.get(day, 0), series, top, measure
        )
        for index, day in enumerate(days)
    ]
    lines = (measure.text(top), measure.text(round(top / 2)))
    return Chart(title=measure.title, series=tuple(series), bars=tuple(_ticked(bars)), lines=lines)


def _series(values: dict[str, dict[str, int]]) -> list[str]:
    totals: dict[str, int] = defaultdict(int)
    for models in values.values():
        for model, value in models.items():
            totals[model] += value
    names = sorted((name for name in totals if totals[name]), key=lambda name: -totals[name])
    return names if len(names) <= _MOST_SERIES else [*names[: _MOST_SERIES - 1], _OTHERS]


def _bar(
    day: str,
    x: float,
    step: float,
    models: dict[str, int],
    unpriced: int,
    series: list[str],
    top: int,
    measure: Measure,
) -> Bar:
    segments, y, width = [], float(HEIGHT), min(step * 0.76, _WIDEST)
    sums: dict[str, int] = defaultdict(int)
    for model, value in models.items():
        sums[model if model in series else _OTHERS] += value
    for index, name in enumerate(series):
        if value := sums[name]:
            height = value / top * HEIGHT
            y -= height
            label = f"{name}: {measure.text(value)}"
            segments.append(Segment(series=index, y=y, height=height, label=label))
    return Bar(
        x=x + (step - width) / 2,
        width=width,
        name=day,
        label=measure.text(sum(models.values())),
        segments=tuple(segments),
        tick=_tick(day),
        unpriced=unpriced,
    )


def _tick(name: str) -> str:
    """Return the short name of a day (`28 Nov`) or hour (`13:00`)."""
    try:
        moment = datetime.fromisoformat(name)
    except ValueError:
        return name
    return f"{moment.day} {moment:%b}" if len(name) == _DAY else f"{moment:%H:%M}"


def _ticked(bars: list[Bar]) -> list[Bar]:
    """Return the bars with at most ten labels."""
    every = max(1, -(-len(bars) // 10))
    return [bar if index % every == 0 else replace(bar, tick="") for index, bar in enumerate(bars)]


def _all_days(names: list[str]) -> list[str]:
    """Return the days with those between that have no requests, as far as that stays readable."""
    try:
        moments = [datetime.fromisoformat(name) for name in names]
    except ValueError:
        return names[-_MOST_BARS:]
    step = timedelta(days=1) if len(names[0]) == _DAY else timedelta(hours=1)
    found: list[datetime] = []
    moment = moments[0]
    while moment <= moments[-1] and len(found) <= _MOST_BARS:
        found.append(moment)
        moment += step
    if len(found) > _MOST_BARS:
        return names[-_MOST_BARS:]
    spelled = dict(zip(moments, names, strict=True))
    return [spelled.get(each, each.isoformat(sep=" ")[: len(names[0])]) for each in found]

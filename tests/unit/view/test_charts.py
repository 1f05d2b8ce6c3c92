"""Pictures from numbers."""

import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.view import charts

HOUR_S = 3600.0
NOW_S = 1_795_341_000.0

figures = st.one_of(st.none(), st.floats(), st.integers(-(10**15), 10**15))
texts = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)
tones = st.sampled_from(["good", "warn", "bad", "info", "mute"])
moments = st.floats(0, 4e9)


def parsed(svg: str) -> ET.Element:
    """The picture as a parser reads it, which fails where a text was not escaped."""
    return ET.fromstring(svg)


def places(svg: str, element: str, name: str) -> list[float]:
    return [float(each.get(name, "0").rstrip("%")) for each in parsed(svg).iter(element)]


@st.composite
def several_series(draw: st.DrawFn) -> tuple[list[float], list[charts.Series]]:
    times = sorted(draw(st.lists(moments, max_size=12, unique=True)))
    count = len(times)
    series = st.builds(charts.Series, texts, st.lists(figures, min_size=count, max_size=count), tones)
    return times, draw(st.lists(series, max_size=4))


@given(st.lists(figures, max_size=40), texts)
def test_a_sparkline_is_well_formed_whatever_it_is_given(values: list[float | None], title: str) -> None:
    picture = parsed(charts.sparkline(values, title))
    drawn = " ".join(path.get("d", "") for path in picture.iter("path"))
    assert not re.search("nan|inf", drawn)


@given(several_series(), texts)
def test_stacked_bars_have_a_row_a_time_whatever_they_are_given(
    given_series: tuple[list[float], list[charts.Series]], title: str
) -> None:
    times, series = given_series
    chart = charts.stacked_bars(times, series, title)
    assert [row[0] for row in chart.rows] == times
    assert all(len(row) == len(chart.columns) for row in chart.rows)
    assert parsed(chart.svg).tag == "svg"


@given(st.lists(st.builds(charts.Dot, moments, st.floats(0, 100), texts, tones), max_size=20))
def test_a_dot_plot_counts_every_dot(dots: list[charts.Dot]) -> None:
    chart = charts.dot_plot(dots, "Attempts")
    assert chart.svg.count('class="mark ') == len(dots) == len(chart.rows)


@given(st.lists(st.builds(charts.Cell, texts, figures), max_size=100))
def test_a_heat_strip_has_a_row_a_cell(cells: list[charts.Cell]) -> None:
    chart = charts.heat_strip(cells, "Lag")
    fields = [each for each in parsed(chart.svg).iter("rect") if each.get("class") in {"track", "heat-none"}]
    assert len(fields) == len(chart.rows) == len(cells)


@given(st.lists(st.tuples(moments, figures), max_size=20))
def test_a_step_line_stays_within_its_frame(points: list[tuple[float, float | None]]) -> None:
    points = sorted(points, key=lambda point: point[0])
    chart = charts.step_line([at for at, _ in points], [value for _, value in points], "Age")
    percents = [float(found) for found in re.findall(r'[xy][12]="([0-9.]+)%"', chart.svg)]
    assert all(0 <= each <= 100 for each in percents)


@given(st.lists(st.builds(charts.Measure, texts, st.floats(0, 1e12), st.floats(0, 1e12)), max_size=4))
def test_a_gauge_is_never_fuller_than_full(measures: list[charts.Measure]) -> None:
    chart = charts.gauge(measures, "Window")
    assert all(float(found) <= 100 for found in re.findall(r'width="([0-9.]+)%"', chart.svg))


def test_a_label_that_looks_like_markup_is_text() -> None:
    hostile = '"><script>alert(1)</script>'
    chart = charts.bars([(hostile, 3.0)], hostile)
    assert "<script" not in chart.svg
    assert any(hostile in (each.text or "") for each in parsed(chart.svg).iter())


def test_a_url_of_a_dot_cannot_end_its_attribute() -> None:
    chart = charts.dot_plot([charts.Dot(NOW_S, 1, "delivered", "good", '/a"onclick="x')], "Attempts")
    assert [each.get("href") for each in parsed(chart.svg).iter("a")] == ['/a"onclick="x']


def test_every_picture_has_a_title_and_a_description() -> None:
    times = [NOW_S, NOW_S + HOUR_S]
    pictures = [
        charts.sparkline([1, 2, 3], "Events"),
        charts.stacked_bars(times, [charts.Series("delivered", [1, 2], "good")], "Batches").svg,
        charts.step_line(times, [1, 2], "Age").svg,
        charts.dot_plot([charts.Dot(NOW_S, 1, "delivered")], "Attempts").svg,
        charts.heat_strip([charts.Cell("0", 1)], "Lag").svg,
        charts.gauge([charts.Measure("Events", 1, 2)], "Window").svg,
        charts.bars([("200", 1.0)], "Statuses").svg,
    ]
    heads = [[each.tag for each in parsed(svg)][:2] for svg in pictures]
    assert heads == [["title", "desc"]] * len(pictures)


def test_no_picture_has_a_style_or_a_script() -> None:
    chart = charts.stacked_bars([NOW_S], [charts.Series("failed", [1], "bad")], "Batches")
    assert not re.search(r"style|script|on[a-z]+=", chart.svg)


def test_the_same_figures_make_the_same_picture() -> None:
    series = [charts.Series("failed", [1, 2], "bad")]
    assert charts.stacked_bars([1, 2], series, "Batches") == charts.stacked_bars([1, 2], series, "Batches")


def test_the_patterns_of_two_pictures_have_names_of_their_own() -> None:
    first = charts.stacked_bars([1, 2], [charts.Series("failed", [1, 2], "bad")], "Batches")
    second = charts.stacked_bars([1, 2], [charts.Series("failed", [1, 3], "bad")], "Batches")
    assert re.findall(r'id="([^"]+)"', first.svg) != re.findall(r'id="([^"]+)"', second.svg)


def test_bars_stand_on_each_other_without_a_gap() -> None:
    series = [charts.Series("delivered", [30], "good"), charts.Series("retried", [10], "warn")]
    svg = charts.stacked_bars([NOW_S], series, "Batches").svg
    lower, upper = zip(places(svg, "rect", "y"), places(svg, "rect", "height"), strict=True)
    assert lower == (25.0, 75.0)
    assert upper == (0.0, 25.0)


def test_failures_are_hatched_so_that_their_colour_is_not_all_that_tells_them() -> None:
    chart = charts.stacked_bars([NOW_S], [charts.Series("failed", [1], "bad")], "Batches")
    assert 'class="hatched"' in chart.svg


def test_a_gap_in_the_figures_is_a_gap_in_the_line() -> None:
    assert charts.sparkline([1, 2, None, 3, 4], "Events").count('class="spark-line"') == 2


def test_a_step_line_does_not_join_what_an_unknown_figure_parts() -> None:
    joined = charts.step_line([1, 2, 3], [5, 6, 7], "Age")
    parted = charts.step_line([1, 2, 3], [5, None, 7], "Age")
    assert joined.svg.count('class="step"') - parted.svg.count('class="step"') == 3


def test_an_unknown_cell_is_told_apart_from_an_empty_one() -> None:
    chart = charts.heat_strip([charts.Cell("0", None), charts.Cell("1", 0)], "Lag")
    assert chart.rows == (("0", "unknown"), ("1", "0"))
    assert chart.svg.count("heat-none") == 1


def test_a_picture_of_links_is_no_image_so_that_they_can_be_reached() -> None:
    linked = charts.dot_plot([charts.Dot(NOW_S, 1, "delivered", "good", "/attempts/1")], "Attempts")
    bare = charts.dot_plot([charts.Dot(NOW_S, 1, "delivered", "good")], "Attempts")
    assert (parsed(linked.svg).get("role"), parsed(bare.svg).get("role")) == ("group", "img")


@pytest.mark.parametrize(("share", "tone"), [(0.5, "good"), (0.8, "warn"), (1.0, "warn"), (1.2, "bad")])
def test_a_gauge_warns_before_its_limit(share: float, tone: str) -> None:
    chart = charts.gauge([charts.Measure("Events", 100 * share, 100)], "Window")
    assert f'class="tone-{tone}"' in chart.svg


def test_a_picture_of_nothing_says_so() -> None:
    assert charts.stacked_bars([], [], "Batches").description == "No figures yet."


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345, "12\u202f345"), (3.25, "3.2"), (0.041, "0.041"), (123.4, "123"), (math.inf, "inf")],
)
def test_figures_are_written_with_the_digits_that_help(value: float, text: str) -> None:
    assert charts.plainly(value) == text

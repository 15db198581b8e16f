"""Charts drawn by plotly, as figures that a page can hold.

Colours say whose time it is, the same on every chart. Text, grid and background are left to the
page, which knows whether it is light or dark.
"""

from collections.abc import Mapping
from functools import singledispatch
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go

from wellfed._report.charts import (
    Chart,
    Curve,
    Heat,
    Histogram,
    Kind,
    Lanes,
    Level,
    Series,
    Stacked,
)

__all__ = ["COLORS", "draw"]

COLORS: Mapping[Kind, str] = MappingProxyType(
    {
        "waiting": "#d9772b",
        "yours": "#2f7fd1",
        "computing": "#2a9d6f",
        "queueing": "#b65fcf",
        "blocked": "#c9a227",
        "moving": "#d1495b",
        "unpacking": "#8c6d4f",
        "pinning": "#e08fa0",
        "idle": "#8a919c",
        "memory": "#2a9d6f",
    }
)
"""Chosen to stay apart for readers who cannot tell red from green, on white and on black."""

SCALED = ("s", "B", "B/s")
"""Units that take a prefix: 200 ms, 3 GB."""

LEVEL = "#8a919c"
ROW_PX = 34
HEAT = ((0.0, "#c4582f"), (0.5, "#b9bdc4"), (1.0, "#2a7fb8"))
"""Slower than the run, as fast, faster."""


def draw(chart: Chart) -> dict[str, Any]:
    """The chart as a plotly figure: plain data, ready for JSON."""
    figure = _figure(chart)
    figure.update_layout(
        margin={"l": 70, "r": 20, "t": 16, "b": 48},
        legend={
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "x": 0,
            "traceorder": "normal",
        },
        hoverlabel={"align": "left"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        template="none",
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    plain: dict[str, Any] = figure.to_plotly_json()
    return plain


@singledispatch
def _figure(chart: Any) -> go.Figure:
    raise TypeError(f"no drawing for {type(chart).__name__}")


@_figure.register
def _stacked(chart: Stacked) -> go.Figure:
    figure = go.Figure()
    for stack in chart.stacks:
        for part in stack.parts:
            figure.add_bar(
                y=[stack.label],
                x=[part.amount],
                orientation="h",
                name=part.label,
                marker_color=COLORS[part.kind],
                marker_line={"width": 1, "color": "rgba(128,128,128,0.4)"},
                hovertext=part.text,
                hoverinfo="text",
            )
    height = 130 + ROW_PX * len(chart.stacks) + 18 * (len(chart.stacks[0].parts) > 3)
    figure.update_layout(barmode="stack", height=height, bargap=0.3)
    longest = max(sum(part.amount for part in stack.parts) for stack in chart.stacks)
    end = 1.08 * max(longest, *(level.value for level in chart.levels), 0.0)
    figure.update_xaxes(ticksuffix=chart.unit, tickformat="~s", range=[0, end], nticks=7)
    figure.update_yaxes(autorange="reversed", automargin=True)
    for level in chart.levels:
        figure.add_vline(x=level.value, line={"dash": "dash", "color": LEVEL})
        side = "right" if level.value > end / 2 else "left"
        figure.add_annotation(
            x=level.value, y=1, yref="paper", text=level.text, showarrow=False, xanchor=side
        )
    return figure


@_figure.register
def _curve(chart: Curve) -> go.Figure:
    # Numbers of workers stand side by side, whatever lies between them: 0 to 4 matter most.
    counts = sorted({point.at for point in (*chart.points, *chart.measured)})
    place = {at: number for number, at in enumerate(counts)}
    xs = [place[point.at] for point in chart.points]
    figure = go.Figure()
    figure.add_scatter(
        x=[*xs, *reversed(xs)],
        y=[*(p.high for p in chart.points), *(p.low for p in reversed(chart.points))],
        fill="toself",
        fillcolor="rgba(47,127,209,0.18)",
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        name="90 % interval",
    )
    figure.add_scatter(
        x=xs,
        y=[point.value for point in chart.points],
        mode="lines+markers",
        line={"color": COLORS["yours"], "width": 2},
        marker={"size": 6},
        hovertext=[point.text for point in chart.points],
        hoverinfo="text",
        name="predicted",
    )
    figure.add_scatter(
        x=[place[point.at] for point in chart.measured],
        y=[point.value for point in chart.measured],
        mode="markers",
        marker={"size": 13, "color": COLORS["waiting"], "symbol": "diamond"},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [point.high - point.value for point in chart.measured],
            "arrayminus": [point.value - point.low for point in chart.measured],
            "color": COLORS["waiting"],
        },
        hovertext=[point.text for point in chart.measured],
        hoverinfo="text",
        name="measured",
    )
    _limits(figure, chart)
    figure.update_layout(height=380)
    figure.update_xaxes(
        title=chart.across,
        tickvals=list(range(len(counts))),
        ticktext=[f"{at:g}" for at in counts],
        range=[-0.4, len(counts) - 0.6],
        zeroline=False,
        tickangle=0,
    )
    figure.update_yaxes(title=chart.unit, tickformat="~s")
    return figure


def _limits(figure: go.Figure, chart: Curve) -> None:
    """What no number of workers can pass; the room beyond the lowest limit is shaded."""
    # A limit far above everything would flatten what is to be seen: it is named in the legend.
    drawn = 1.3 * max(point.high for point in (*chart.points, *chart.measured))
    near = [level for level in chart.levels if level.value <= drawn]
    top = 1.12 * max([drawn / 1.3, *(level.value for level in near)])
    figure.update_yaxes(range=[0, top])
    for level in chart.levels:
        if level in near:
            _across(figure, level)
            continue
        figure.add_scatter(
            x=[None], y=[None], mode="lines", line={"dash": "dash", "color": LEVEL},
            name=f"{level.label}: {_amount(level.value)}, above",
        )  # fmt: skip
    if near:
        figure.add_hrect(
            y0=min(level.value for level in near), y1=top, fillcolor=LEVEL, opacity=0.12,
            line_width=0, layer="below",
        )  # fmt: skip


def _across(figure: go.Figure, level: Level) -> None:
    figure.add_hline(y=level.value, line={"dash": "dash", "color": LEVEL, "width": 1.5})
    figure.add_annotation(
        x=1, xref="paper", y=level.value, text=f"{level.label}: {_amount(level.value)}",
        showarrow=False, xanchor="right", yanchor="bottom", hovertext=level.text,
    )  # fmt: skip


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


@_figure.register
def _heat(chart: Heat) -> go.Figure:
    xs, ys = [str(column) for column in chart.columns], [str(row) for row in chart.rows]
    known = [value for row in chart.values for value in row if value is not None]
    reach = max(0.05, *(abs(value - 1.0) for value in known))
    figure = go.Figure()
    figure.add_heatmap(
        x=xs,
        y=ys,
        z=chart.values,
        zmin=1 - reach,
        zmax=1 + reach,
        colorscale=[list(stop) for stop in HEAT],
        hovertext=chart.texts,
        hoverinfo="text",
        texttemplate="%{z:.2f}",
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": chart.unit}, "thickness": 12},
    )
    if chart.contours and any(value for row in chart.contours for value in row):
        figure.add_contour(
            x=xs,
            y=ys,
            z=chart.contours,
            contours={"coloring": "lines", "showlabels": True, "labelformat": "~s"},
            colorscale=[[0, "#4a4f57"], [1, "#4a4f57"]],
            line={"width": 1},
            ncontours=5,
            hoverinfo="skip",
            showscale=False,
            name="memory",
        )
    if chart.here is not None:
        figure.add_scatter(
            x=[str(chart.here[0])],
            y=[str(chart.here[1])],
            mode="markers",
            marker={"symbol": "square-open", "size": 30, "color": COLORS["waiting"]},
            marker_line_width=3,
            hoverinfo="skip",
            name="what ran",
        )
    figure.update_layout(height=130 + 46 * len(ys), showlegend=False)
    figure.update_xaxes(title=chart.across, type="category")
    figure.update_yaxes(title=chart.up, type="category")
    return figure


@_figure.register
def _series(chart: Series) -> go.Figure:
    unit = chart.unit if chart.unit in SCALED else f" {chart.unit}"
    figure = go.Figure()
    for line in chart.lines:
        figure.add_scatter(
            x=line.at_s,
            y=line.values,
            mode="lines",
            line={"color": COLORS[line.kind], "width": 1.5, "shape": "hv"},
            name=line.label,
            hovertemplate=f"%{{y:.4s}}{unit} {line.label}, at %{{x:.2f}} s<extra></extra>",
        )
    for level in chart.levels:
        _across(figure, level)
    figure.update_layout(height=280)
    figure.update_xaxes(title="seconds since the watching began")
    if chart.unit in SCALED:
        figure.update_yaxes(rangemode="tozero", tickformat="~s", ticksuffix=chart.unit)
    else:
        figure.update_yaxes(title=chart.unit, rangemode="tozero")
    return figure


@_figure.register
def _histogram(chart: Histogram) -> go.Figure:
    lows, highs = chart.edges[:-1], chart.edges[1:]
    figure = go.Figure()
    figure.add_bar(
        x=[(low * high) ** 0.5 for low, high in zip(lows, highs, strict=True)],
        y=chart.counts,
        width=[high - low for low, high in zip(lows, highs, strict=True)],
        marker_color=[_hue(chart, low) for low in lows],
        hovertemplate="%{y} batches took about %{x:.3s}s<extra></extra>",
        name="batches",
    )
    for level in chart.levels:
        figure.add_vline(x=level.value, line={"dash": "dash", "color": LEVEL, "width": 1.5})
        figure.add_scatter(
            x=[None], y=[None], mode="lines", line={"dash": "dash", "color": LEVEL},
            name=level.text,
        )  # fmt: skip
    figure.update_layout(height=280)
    figure.update_xaxes(
        type="log",
        title="time to make a batch",
        tickformat=".3~s",
        ticksuffix=chart.unit,
        nticks=7,
        tickangle=0,
    )
    figure.update_yaxes(title="batches")
    return figure


def _hue(chart: Histogram, low: float) -> str:
    slow = chart.slow_from is not None and low >= chart.slow_from
    return COLORS["queueing" if slow else "computing"]


@_figure.register
def _lanes(chart: Lanes) -> go.Figure:
    figure = go.Figure()
    kinds = dict.fromkeys(piece.kind for lane in chart.lanes for piece in lane.pieces)
    for kind in kinds:
        pieces = [(lane, p) for lane in chart.lanes for p in lane.pieces if p.kind == kind]
        figure.add_bar(
            y=[lane.label for lane, _ in pieces],
            base=[piece.begin_s for _, piece in pieces],
            x=[piece.seconds for _, piece in pieces],
            orientation="h",
            marker_color=COLORS[kind],
            marker_line={"width": 0.5, "color": "rgba(255,255,255,0.6)"},
            hovertext=[piece.text for _, piece in pieces],
            hoverinfo="text",
            name=WORDS[kind],
        )
    figure.update_layout(barmode="overlay", height=120 + ROW_PX * len(chart.lanes), bargap=0.25)
    figure.update_xaxes(title="seconds", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


WORDS: Mapping[Kind, str] = MappingProxyType(
    {
        "waiting": "waiting for data",
        "yours": "your step",
        "computing": "fetching, mostly computing",
        "blocked": "fetching, mostly blocked",
        "moving": "packing",
        "unpacking": "unpacking",
        "pinning": "pinning",
        "queueing": "without a core",
        "idle": "idle",
        "memory": "memory",
    }
)

"""The distribution of a column among real rows and among drawn ones, in one panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from skvae._table import frames
from skvae.displays._drawing import COLOURS, FloatArray, squeezed

MOST_BARS, BINS = 8, 24  # of levels, of numbers
CROWDED = 0.6  # share of the rows in one bin from which on the others could hardly be seen
SPREAD = 3.0  # times the range of the central 98 % that all numbers must exceed for the axis to be cut
STEPS = (1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)  # that numbers may be multiples of
TIME_STEPS = (86400.0, 3600.0, 60.0, 1.0)  # seconds
TIMES = ("date", "duration")
REAL_COLOUR, DRAWN_COLOUR = "0.8", COLOURS[5]
MINUS = "\N{MINUS SIGN}"
LONGEST_LEVEL = 14  # letters
SMALL = "small"


class Bars(NamedTuple):
    """Shares of the rows in bins between edges, or of bars with labels; of real rows and of drawn ones."""

    real: FloatArray
    drawn: FloatArray
    missing: tuple[float, float]
    edges: Any = ()
    ends: Sequence[float] = ()  # the least and the greatest number
    labels: Sequence[str] = ()


# -- how it is drawn ---------------------------------------------------------------------------------------------------


def plot_levels(panel: Any, real: FloatArray, drawn: FloatArray, levels: Sequence[Any], family: str) -> tuple[Any, Any]:
    """Bars of the levels of a column, by their codes: those of real rows filled, those of drawn rows outlined."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    bars = _of_levels(real, drawn, levels, is_ordered=family in ("ordered", "bool"))
    shares, labels = [bars.real, bars.drawn], list(bars.labels)
    if any(bars.missing):
        shares = [np.append(share, gap) for share, gap in zip(shares, bars.missing, strict=True)]
        labels.append("missing")
    at = np.arange(len(labels))
    filled = panel.barh(at, shares[0], height=0.8, color=REAL_COLOUR)
    outlined = panel.barh(at, shares[1], height=0.8, facecolor="none", edgecolor=DRAWN_COLOUR, linewidth=1.4)
    panel.set_yticks(at, labels, parse_math=False)
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(max(len(at), 3) - 0.5, -0.5)
    panel.xaxis.set_major_locator(MaxNLocator(3))
    panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if any(bars.missing):
        panel.get_yticklabels()[-1].set_style("italic")
    return filled, outlined


def plot_numbers(panel: Any, real: FloatArray, drawn: FloatArray, family: str) -> tuple[Any, Any]:
    """Histograms of the numbers of a column: that of real rows filled, that of drawn rows outlined."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

    bars = _of_numbers(real, drawn, family)
    edges = bars.edges
    filled = panel.stairs(bars.real, edges, fill=True, color=REAL_COLOUR)
    outlined = panel.stairs(bars.drawn, edges, color=DRAWN_COLOUR, linewidth=1.4)
    top = max(*bars.real, *bars.drawn, *bars.missing)
    is_crowded = max(*bars.real, *bars.drawn) > CROWDED and len(bars.real) > 4
    if is_crowded:
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100.0 * share:g}%"))
    else:
        panel.yaxis.set_major_locator(MaxNLocator(3))
        panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if top > 0.05 else 1))
    _plot_ticks(panel, bars, family)
    if any(bars.missing):
        _plot_missing(panel, bars, is_high=max(bars.missing) > (0.02 if is_crowded else 0.5) * top)
    return filled, outlined


def _plot_ticks(panel: Any, bars: Bars, family: str) -> None:
    """Few numbers below the bins; of times the first and the last."""
    from matplotlib.ticker import MaxNLocator

    ends, ticks = bars.ends, list(bars.ends)
    if family not in TIMES and len(ends):
        locator = MaxNLocator(3, integer=bars.edges[1] - bars.edges[0] >= 1.0)
        ticks = [tick for tick in locator.tick_values(*ends) if ends[0] <= tick <= ends[1]] or ticks[:1]
    if family not in TIMES:
        panel.set_xticks(ticks, [_compact(tick) for tick in ticks])
        return
    labels = [frames.shown(tick, family) for tick in ticks]
    panel.set_xticks(ticks, [*labels[:1], *(f"\n{label}" for label in labels[1:])])  # one below the other
    for label, side in zip(panel.get_xticklabels(), ("left", "right"), strict=False):
        label.set_horizontalalignment(side)


def _compact(number: float) -> str:
    """A number in few letters."""
    size, unit = next((pair for pair in ((1e9, "G"), (1e6, "M"), (1e4, "k")) if abs(number) >= pair[0]), (1.0, ""))
    return f"{number / min(size, 1e3 if unit == 'k' else size):.4g}{unit}".replace("-", MINUS)


def _plot_missing(panel: Any, bars: Bars, *, is_high: bool) -> None:
    """A bar of its own right of the numbers, with its name above it or, where it is high, in it."""
    low, high = bars.edges[0], bars.edges[-1]
    left, right = high + 0.06 * (high - low), high + 0.17 * (high - low)
    panel.stairs(bars.missing[:1], [left, right], fill=True, color=REAL_COLOUR)
    panel.stairs(bars.missing[1:], [left, right], color=DRAWN_COLOUR, linewidth=1.4)
    place = {"y": 0.05, "va": "bottom"} if is_high else {"y": 0.97, "va": "top"}
    panel.text(
        x=0.5 * (left + right), s="missing", rotation=90, ha="center", style="italic", fontsize=SMALL,
        transform=panel.get_xaxis_transform(), **place,
    )  # fmt: skip


# -- what a panel shows ------------------------------------------------------------------------------------------------


def _of_levels(real: FloatArray, drawn: FloatArray, levels: Sequence[Any], *, is_ordered: bool) -> Bars:
    """The shares of levels: in their order, or the commonest first; what is beyond MOST_BARS shares the last bar."""
    counts = [np.bincount(column[~np.isnan(column)].astype(np.intp), minlength=len(levels)) for column in (real, drawn)]
    shares = np.array([count / len(column) for count, column in zip(counts, (real, drawn), strict=True)])
    places: Any = np.flatnonzero(shares.sum(axis=0))
    if len(places) > MOST_BARS or not is_ordered:
        places = places[np.argsort(-shares[:, places].sum(axis=0), kind="stable")]
    some, rest = places, places[:0]
    if len(places) > MOST_BARS:
        some, rest = places[: MOST_BARS - 1], places[MOST_BARS - 1 :]
    labels = [squeezed(str(levels[place]), LONGEST_LEVEL) for place in some]
    bars = shares[:, some]
    if len(rest):
        labels.append(f"{len(rest):,} others")
        bars = np.column_stack([bars, shares[:, rest].sum(axis=1)])
    return Bars(bars[0], bars[1], _missing(real, drawn), labels=labels)


def _of_numbers(real: FloatArray, drawn: FloatArray, family: str) -> Bars:
    """Shares of numbers in bins, the outer ones of which are open."""
    both = np.concatenate([real, drawn])
    observed = both[~np.isnan(both)]
    edges = _edges(observed, TIME_STEPS if family in TIMES else STEPS)
    inner = edges[1:-1]
    shares = [
        np.bincount(np.digitize(column[~np.isnan(column)], inner), minlength=len(edges) - 1) / len(column)
        for column in (real, drawn)
    ]
    ends = (max(observed.min(), edges[0]), min(observed.max(), edges[-1])) if len(observed) else ()
    return Bars(shares[0], shares[1], _missing(real, drawn), edges, ends)


def _missing(real: FloatArray, drawn: FloatArray) -> tuple[float, float]:
    return float(np.isnan(real).mean()), float(np.isnan(drawn).mean())


def _edges(values: FloatArray, steps: Sequence[float]) -> FloatArray:
    """Edges of bins over the range of numbers without far tails; each holds equally many steps of the column."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high, near, far = np.quantile(values, [0.0, 1.0, 0.01, 0.99])
    if high - low > SPREAD * (far - near) > 0.0:
        low, high = max(low, near), min(high, far)
    step = next((step for step in steps if _fits(values, step)), None)
    if high == low:
        return np.asarray(low + (step or max(0.1, 0.1 * abs(low))) * (np.arange(4) - 1.5))
    if step is None:
        return np.linspace(low, high, BINS + 1)
    n_steps = round((high - low) / step) + 1
    in_bin = -(-n_steps // BINS)
    return np.asarray(step * (round(low / step) - 0.5 + in_bin * np.arange(-(-n_steps // in_bin) + 1)))


def _fits(values: FloatArray, step: float) -> bool:
    """Whether all numbers are multiples of a step, and no further from zero than a float can count them."""
    return bool(np.abs(values).max() < step * 2**52 and np.abs(values / step - np.round(values / step)).max() < 1e-6)

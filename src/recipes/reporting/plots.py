"""Pictures of a split's scores, drawn with Matplotlib's Agg canvas; pyplot and its global figures are never touched.

C classes or labels.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FuncFormatter, NullLocator

from recipes.evaluation import Curve
from recipes.reporting.formatting import count, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 30  # more than that cannot be told apart on one page
_DPI = 110
_INK, _MUTED, _FIRST, _SECOND = "#222222", "#8a8a8a", "#2f6690", "#e07a3f"
# DejaVu Sans has no Chinese, Japanese or Korean glyphs; the first of these that the machine has lends its own.
_CJK = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "Microsoft YaHei", "PingFang SC", "SimHei")


def png(draw: Callable[..., Figure], *args: object, **settings: object) -> bytes:
    """Draw a figure and encode it."""
    with matplotlib.rc_context(_style()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = draw(*args, **settings)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def pr_figure(curves: Sequence[Curve], title: str) -> Figure:
    """Precision over recall, as the steps that average precision sums up."""
    figure, axes = _curves_axes(curves, f"Precision and recall, {title}", "recall", "precision")
    for curve, colour in zip(curves, _colours(curves), strict=True):
        axes.plot(curve.recall_L, curve.precision_L, drawstyle="steps-pre", color=colour, linewidth=1.4)
        if len(curves) == 1:  # one class has one baseline; many would be a mesh
            axes.axhline(curve.prevalence, color=_MUTED, linewidth=1, linestyle="--")
            axes.text(0.99, curve.prevalence + 0.01, f"a random ranking: {curve.prevalence:.3f}", ha="right", fontsize=8, color=_MUTED)
    _legend(axes, curves, [f"{curve.average_precision:.3f}" for curve in curves], "average precision")
    return figure


def roc_figure(curves: Sequence[Curve], title: str) -> Figure:
    """True over false positive rate."""
    figure, axes = _curves_axes(curves, f"ROC, {title}", "false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle="--")
    for curve, colour in zip(curves, _colours(curves), strict=True):
        axes.plot(curve.false_rate_M, curve.true_rate_M, color=colour, linewidth=1.4)
    _legend(axes, curves, [f"{curve.roc_auc:.3f}" for curve in curves], "area under ROC")
    return figure


def confusion_figure(matrix_CC: np.ndarray, support_C: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Counts, coloured by their share of the row: a class's own rows. Beyond `MOST_CLASSES` the rarest are one row and column."""
    matrix_CC, support_C, names = _lump(matrix_CC, support_C, names)
    shares_CC = matrix_CC / np.maximum(support_C, 1)[:, None]
    size = len(names)
    side = max(4.0, 0.42 * size + 1.2)
    figure = Figure(figsize=(side + 3.0, side + 1.2), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(size), [shorten(name, 24) for name in names], rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), [f"{shorten(name, 30)} ({count(rows)})" for name, rows in zip(names, support_C, strict=True)])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (rows)")
    axes.set_title(f"Confusion matrix, {title}", loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    for down, across in zip(*np.nonzero(matrix_CC), strict=True):
        colour = "white" if shares_CC[down, across] > 0.55 else _INK
        text = _short_count(matrix_CC[down, across])
        axes.text(across, down, text, ha="center", va="center", fontsize=9 if size <= 12 else 7, color=colour)
    figure.colorbar(image, ax=axes, label="share of the true class's rows", fraction=0.035, pad=0.02)
    return figure


def distribution_figure(before_C: np.ndarray, after_C: np.ndarray, names: Sequence[str], noun: str) -> Figure:
    """Train rows of each class, and what an epoch deals of them, on a logarithmic axis."""
    order = np.argsort(-before_C, kind="stable")
    if len(order) > 2 * MOST_CLASSES:
        return _long_tail(before_C[order], after_C[order], noun)
    figure = Figure(figsize=(9, 1.4 + 0.34 * len(order)), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    at = np.arange(len(order))
    axes.barh(at - 0.2, before_C[order], height=0.38, color=_FIRST, label="train")
    axes.barh(at + 0.2, after_C[order], height=0.38, color=_SECOND, label="an epoch, as sampled")
    for row, index in enumerate(order):
        for offset, rows in ((-0.2, before_C[index]), (0.2, after_C[index])):
            axes.annotate(count(rows), (max(rows, 1), row + offset), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(at, [shorten(names[index], 44) for index in order])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("rows")
    _log_axis(axes, "x", max(before_C.max(), after_C.max()))
    axes.margins(y=0.01)
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def _long_tail(before_C: np.ndarray, after_C: np.ndarray, noun: str) -> Figure:
    figure = Figure(figsize=(9, 5), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    rank = np.arange(1, len(before_C) + 1)
    axes.plot(rank, before_C, color=_FIRST, label="train")
    axes.plot(rank, after_C, color=_SECOND, label="an epoch, as sampled")
    axes.set_xlabel(f"{noun}, largest first")
    axes.set_ylabel("rows")
    _log_axis(axes, "y", max(before_C.max(), after_C.max()))
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def _log_axis(axes: Axes, which: Literal["x", "y"], largest: float) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(0.7, largest * (2.2 if which == "x" else 1.5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    axis.set_minor_locator(NullLocator())
    axes.grid(axis=which, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def _curves_axes(curves: Sequence[Curve], title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(10 if len(curves) > 1 else 5.6, max(5.2, 1.6 + 0.22 * len(curves))), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x, ylabel=y, aspect="equal" if len(curves) == 1 else "auto")
    axes.set_title(title, loc="left")
    axes.grid(color="#e6e6e6", linewidth=0.8)
    return figure, axes


def _colours(curves: Sequence[Curve]) -> list[object]:
    """Up to ten classes have hues of their own; more run from blue (the first, most frequent) to red."""
    if len(curves) <= 10:
        return [matplotlib.colormaps["tab10"](index) for index in range(len(curves))]
    return list(matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, len(curves))) * [0.85, 0.85, 0.85, 1.0])  # yellow is lost on white


def _legend(axes: Axes, curves: Sequence[Curve], areas: Sequence[str], title: str) -> None:
    labels = [f"{area}  {shorten(curve.name, 42)} ({count(curve.support)})" for curve, area in zip(curves, areas, strict=True)]
    handles = [line for line in axes.get_lines() if line.get_linestyle() == "-"]
    if len(curves) == 1:
        axes.legend(handles, labels, title=title, loc="lower left" if title.startswith("average") else "lower right", frameon=True)
    else:
        place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False, "alignment": "left"}
        axes.legend(handles, labels, title=f"{title}, class (rows)", **place)


def _lump(matrix_CC: np.ndarray, support_C: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Order by rows, and sum what comes after the first classes."""
    order = np.argsort(-support_C, kind="stable")
    matrix_CC, support_C, names = matrix_CC[np.ix_(order, order)], support_C[order], [names[index] for index in order]
    if len(names) <= MOST_CLASSES:
        return matrix_CC, support_C, names
    starts = np.arange(MOST_CLASSES)
    matrix_CC = np.add.reduceat(np.add.reduceat(matrix_CC, starts, axis=0), starts, axis=1)
    rest = len(names) - MOST_CLASSES + 1
    return matrix_CC, np.add.reduceat(support_C, starts), [*names[: MOST_CLASSES - 1], f"{rest:,} rarer ones"]


def _short_count(rows: float) -> str:
    if rows < 10_000:
        return count(rows)
    return f"{rows / 1000:.3g}k" if rows < 999_500 else f"{rows / 1e6:.3g}M"


def _style() -> dict[str, object]:
    installed = {font.name for font in fontManager.ttflist}
    return {
        "font.family": ["DejaVu Sans", *[name for name in _CJK if name in installed][:1]],
        "font.size": 9,
        "text.parse_math": False,  # a dollar sign in a class name is a dollar sign
        "text.color": _INK,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#b0b0b0",
        "legend.fontsize": 8,
    }

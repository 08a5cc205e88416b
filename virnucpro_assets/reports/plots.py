"""Pictures: from counts to PNG or SVG, the same bytes for the same counts.

PNG is for viewers with a white background. SVG is embedded in a page: its texts are text, its colours are style
variables of the page (`--ink`, `--grid` and the series below) with the colours here as fallback, and its ids begin
with the picture's name, so that a page can have several. Colours are those of Okabe and Ito, distinguishable with any
kind of colour vision.
"""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from virnucpro_assets.errors import counted, excerpt
from virnucpro_assets.reports.histograms import Histogram
from virnucpro_assets.reports.tracks import Track

# matplotlib has read the file `matplotlibrc` of the working folder, if there is one: its values are not used.
mpl.rcdefaults()

Form = Literal["png", "svg"]

INK = "#24292f"
GRID = "#d0d7de"
BLUE, VERMILLION, GREY, GREEN = "#0072b2", "#d55e00", "#7a828c", "#009e73"
VARIABLES = {
    INK: "--ink",
    GRID: "--grid",
    BLUE: "--series-blue",
    VERMILLION: "--series-vermillion",
    GREY: "--series-grey",
    GREEN: "--series-green",
}
COLOUR_OF_CALL = {"Viral": VERMILLION, "Non-viral": BLUE, "Ambiguous": GREY}
WIDTH = 7.2
DPI = 110
NARROW = 10
FEW = 0.005
NAME_LETTERS = 60

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def score_histogram(histogram: Histogram, *, form: Form = "png") -> bytes:
    """Histogram of the largest P(virus) of chunks."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(2.6)
        left = histogram.edges[:-1]
        colours = [VERMILLION if edge >= 0.5 else BLUE for edge in left]
        _bars(axes, histogram, colours)
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set(xlabel="largest P(virus) of a chunk", ylabel="chunks", xlim=(0, 1))
        title = f"Histogram of the largest P(virus) of {counted(histogram.total, 'chunk')}"
        return _drawn(figure, "scores", title, form)


def hits_by_fdr(q_values: Histogram, *, form: Form = "png") -> bytes:
    """How many reads have a q-value of at most each false discovery rate."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(2.6)
        taken = list(accumulate(q_values.counts, initial=0))
        axes.plot(q_values.edges, taken, color=VERMILLION, linewidth=1.6, drawstyle="steps-post")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        last = next(
            edge for edge, count in zip(q_values.edges[1:], taken[1:], strict=True) if count == taken[-1]
        )
        axes.set(xlabel="expected share of wrong ones (false discovery rate)", ylabel="reads", xlim=(0, last))
        axes.set_ylim(0)
        axes.grid(linewidth=0.6)
        title = f"Number of reads by their expected share of wrong ones, {counted(q_values.total, 'read')}"
        return _drawn(figure, "hits-by-fdr", title, form)


def tracks(contigs: Sequence[Track], *, form: Form = "png") -> bytes:
    """The delta of the chunks along each contig, with its regions shaded."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.5 + 1.25 * len(contigs)), layout="constrained")
        for axes, track in zip(figure.subplots(len(contigs), squeeze=False)[:, 0], contigs, strict=True):
            for start, end in track.regions:
                axes.axvspan(start, end, color=VERMILLION, alpha=0.25, linewidth=0)
            axes.axhline(0, color=GRID, linewidth=0.8)
            axes.plot(track.positions, track.deltas, color=GREY, linewidth=0.7)
            axes.plot(track.positions, track.smoothed, color=BLUE, linewidth=1.5)
            axes.set(xlim=(0, track.length), ylim=(-1.05, 1.05), yticks=(-1, 0, 1))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.set_title(excerpt(track.name, NAME_LETTERS), loc="left", fontsize=10)
        axes.set_xlabel("position (bases)")
        figure.supylabel("delta of chunks", fontsize=10)
        return _drawn(figure, "tracks", "Scores along the contigs with the strongest viral regions", form)


def length_distribution(
    histogram: Histogram, what: str = "reads", unit: str = "bases", *, form: Form = "png"
) -> bytes:
    """Histogram of the lengths of `what`, in `unit`."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(2.6)
        _bars(axes, histogram, BLUE)
        shorter = 0
        if histogram.is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_minor_formatter(NullFormatter())
            # A read of two bases would take as much of the axis as all others.
            first, shorter = _few_first(histogram)
            axes.set_xlim(left=histogram.edges[first])
        else:
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            shortest, longest = histogram.edges[0], histogram.edges[-1]
            if longest - shortest < NARROW:
                # Reads of one length are a bar between empty bins, not a block that fills the picture.
                axes.set_xlim(max(0, shortest - NARROW), longest + NARROW)
        left_out = f"; {shorter:,} shorter not shown" if shorter else ""
        axes.set(xlabel=f"length of {what} ({unit}){left_out}", ylabel=what)
        title = f"Distribution of the lengths of {counted(histogram.total, what.removesuffix('s'))}"
        return _drawn(figure, f"lengths-of-{what}", title, form)


def calls_by_tier(calls: Mapping[str, Mapping[str, int]], *, form: Form = "png") -> bytes:
    """Number of reads by call and tier; combinations without a read are left out."""
    rows = [(call, tier, count) for call, tiers in calls.items() for tier, count in tiers.items() if count]
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(0.6 + 0.3 * len(rows))
        labels = [f"{call}, {tier.replace('_', ' ')}" for call, tier, _ in rows]
        counts = [count for _, _, count in rows]
        colours = [COLOUR_OF_CALL.get(call, GREEN) for call, _, _ in rows]
        _rows(axes, labels, counts, [f"{count:,}" for count in counts], colours)
        axes.set_xlabel("reads or contigs")
        return _drawn(figure, "calls", "Number of reads by call and tier", form)


def throughput(tokens_per_second: Mapping[str, float], *, form: Form = "png") -> bytes:
    """Tokens a second of each rank, by its label."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(0.6 + 0.3 * len(tokens_per_second))
        speeds = list(tokens_per_second.values())
        _rows(axes, list(tokens_per_second), speeds, [f"{speed:,.0f}" for speed in speeds], GREEN)
        axes.set_xlabel("tokens a second")
        return _drawn(figure, "throughput", "Tokens a second of each rank", form)


def packing(efficiency: Sequence[float], *, form: Form = "png") -> bytes:
    """How full the packs of each part are, 0 to 1, in the order of the parts."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(1.6)
        axes.bar(range(len(efficiency)), efficiency, color=GREEN, linewidth=0)
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("part")
        axes.set_ylabel("tokens / capacity")
        axes.grid(axis="y", linewidth=0.6)
        return _drawn(figure, "packing", "How full the packs of each part are", form)


def stage_times(seconds: Mapping[str, float], *, form: Form = "png") -> bytes:
    """Wall-clock seconds of each stage, in the order given."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(0.6 + 0.3 * len(seconds))
        times = list(seconds.values())
        _rows(axes, list(seconds), times, [f"{time:,.1f}" for time in times], BLUE)
        axes.set_xlabel("seconds")
        return _drawn(figure, "stages", "Seconds that each stage took", form)


def roc(curves: Mapping[str, Sequence[tuple[float, float]]], *, form: Form = "png") -> bytes:
    """ROC curves by name: share of viruses that are called virus over share of others that are."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(3.6)
        axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        for (name, points), colour in zip(curves.items(), (VERMILLION, BLUE, GREEN), strict=False):
            across, up = zip(*points, strict=True)
            axes.plot(across, up, color=colour, linewidth=1.6, label=name)
        axes.set(xlabel="others called virus", ylabel="viruses found", xlim=(0, 1), ylim=(0, 1.01))
        axes.grid(linewidth=0.6)
        axes.legend(loc="lower right", frameon=False)
        return _drawn(figure, "roc", f"ROC curves of {' and '.join(curves)}", form)


def reliability(curves: Mapping[str, Sequence[tuple[float, float]]], *, form: Form = "png") -> bytes:
    """The share of viruses over the mean P(virus) of each bin, by the name of the scores."""
    with mpl.rc_context(STYLE):
        figure, axes = _canvas(3.6)
        axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        for (name, points), colour in zip(curves.items(), (BLUE, VERMILLION), strict=False):
            across, up = zip(*points, strict=True)
            axes.plot(across, up, color=colour, linewidth=1.2, marker="o", markersize=4, label=name)
        axes.set(xlabel="mean P(virus)", ylabel="share of viruses", xlim=(0, 1), ylim=(0, 1))
        axes.grid(linewidth=0.6)
        axes.legend(loc="upper left", frameon=False)
        return _drawn(figure, "reliability", f"Reliability of {' and '.join(curves)} scores", form)


def _few_first(histogram: Histogram) -> tuple[int, int]:
    """How many of the first bins hold FEW of the values at most, and how many values that are."""
    below = list(accumulate(histogram.counts))
    first = sum(count <= FEW * histogram.total for count in below)
    return first, below[first - 1] if first else 0


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _bars(axes: Axes, histogram: Histogram, colour: str | list[str]) -> None:
    widths = [right - left for left, right in zip(histogram.edges, histogram.edges[1:], strict=False)]
    axes.bar(histogram.edges[:-1], histogram.counts, widths, align="edge", color=colour, linewidth=0)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y", linewidth=0.6)


def _rows(
    axes: Axes, labels: list[str], values: list[int] | list[float], texts: list[str], colour: str | list[str]
) -> None:
    """Horizontal bars, the first on top, each with its value written behind it."""
    positions = range(len(labels))
    bars = axes.barh(positions, values, color=colour, height=0.7, linewidth=0)
    axes.bar_label(bars, texts, padding=4)
    axes.set_yticks(positions, labels)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", linewidth=0.6)


def _drawn(figure: Figure, name: str, title: str, form: Form) -> bytes:
    content = io.BytesIO()
    if form == "png":
        figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None, "Title": title})
        return content.getvalue()
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    with mpl.rc_context({"svg.hashsalt": name}):
        nothing: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", metadata=nothing)
    return _for_a_page(content.getvalue().decode(), name, title).encode()


def _for_a_page(svg: str, name: str, title: str) -> str:
    """The SVG element only, with unique ids, the page's colours, and a title for screen readers."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    label = escape(title)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return svg.replace(">", f"><title>{label}</title>", 1)

import re
import subprocess
import sys
from hashlib import sha256
from xml.etree import ElementTree

import pytest

from virnucpro_assets.reports import plots
from virnucpro_assets.reports.histograms import Histogram
from virnucpro_assets.reports.tracks import Track

SCORES = Histogram(edges=[0, 0.25, 0.5, 0.75, 1], counts=[70, 5, 4, 21])
LENGTHS = Histogram(edges=[100, 1000, 10_000], counts=[3, 4], is_log=True)
TRACK = Track(
    name="odd $x_ <b>&",
    length=1200,
    positions=[150, 450, 1050],
    deltas=[-0.5, 0.9, 0.8],
    smoothed=[0.2, 0.4, 0.85],
    regions=[(300, 600), (900, 1200)],
)
Q_VALUES = Histogram(edges=[0, 0.25, 0.5, 0.75, 1], counts=[3, 0, 4, 0])
DRAWINGS = {
    "tracks": lambda form: plots.tracks([TRACK, TRACK.model_copy(update={"name": "b"})], form=form),
    "hits-by-fdr": lambda form: plots.hits_by_fdr(Q_VALUES, form=form),
    "scores": lambda form: plots.score_histogram(SCORES, form=form),
    "lengths-of-reads": lambda form: plots.length_distribution(LENGTHS, form=form),
    "calls": lambda form: plots.calls_by_tier({"Viral": {"review": 3, "low_confidence": 0}}, form=form),
    "throughput": lambda form: plots.throughput({"ESM-2, rank 0": 16_533.2, "odd $x_ <b>&": 0.0}, form=form),
    "roc": lambda form: plots.roc(
        {"new": [(0, 0), (0.2, 0.9), (1, 1)], "in use": [(0, 0), (1, 1)]}, form=form
    ),
    "reliability": lambda form: plots.reliability({"raw": [(0.1, 0.2), (0.9, 0.7)]}, form=form),
    "stages": lambda form: plots.stage_times({"index": 1.25, "esm2": 300.0}, form=form),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_figures_make_the_same_picture(name):
    for form in ("png", "svg"):
        assert DRAWINGS[name](form) == DRAWINGS[name](form)
    assert DRAWINGS[name]("png").startswith(b"\x89PNG")


@pytest.mark.parametrize("name", DRAWINGS)
def test_an_svg_is_an_element_with_a_title_and_ids_of_its_own(name):
    svg = DRAWINGS[name]("svg").decode()
    root = ElementTree.fromstring(svg)  # noqa: S314  (made here)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root[0].text == root.get("aria-label")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(found.startswith(f"{name}-") for found in ids)
    assert len(set(ids)) == len(ids)
    references = [element.get("{http://www.w3.org/1999/xlink}href") for element in root.iter()]
    assert {found[1:] for found in references if found} <= set(ids)


def test_colours_of_an_svg_are_variables_of_the_page():
    svg = DRAWINGS["scores"]("svg").decode()
    for variable in ("--ink", "--grid", "--series-blue", "--series-vermillion"):
        assert f"var({variable}, #" in svg


def test_texts_are_written_as_they_are():
    root = ElementTree.fromstring(DRAWINGS["throughput"]("svg"))  # noqa: S314  (made here)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "odd $x_ <b>&" in texts
    assert "16,533" in texts


def test_hits_by_rate_count_all_that_are_at_most_as_doubtful(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "_drawn", lambda figure, *_: drawn.append(figure) or b"")
    plots.hits_by_fdr(Q_VALUES)
    (axes,) = drawn[0].axes
    (line,) = axes.lines
    assert list(zip(*line.get_data(), strict=True)) == [(0, 0), (0.25, 3), (0.5, 3), (0.75, 7), (1, 7)]
    assert axes.get_xlim() == (0, 0.75)


def test_a_track_has_its_regions_at_their_places(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "_drawn", lambda figure, *_: drawn.append(figure) or b"")
    plots.tracks([TRACK])
    (axes,) = drawn[0].axes
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert spans == TRACK.regions
    assert axes.get_xlim() == (0, 1200)
    assert [list(line.get_ydata()) for line in axes.lines[1:]] == [TRACK.deltas, TRACK.smoothed]
    assert axes.get_title(loc="left") == TRACK.name


def test_combinations_without_a_read_are_left_out_of_the_calls():
    svg = DRAWINGS["calls"]("svg").decode()
    assert ">Viral, review<" in svg
    assert "low confidence" not in svg


def test_reads_of_one_length_are_a_bar_among_empty_places():
    one = plots.length_distribution(Histogram(edges=[150, 151], counts=[9]), form="svg").decode()
    ticks = {int(tick) for tick in re.findall(r">(1[3-6]\d)</text>", one)}
    assert len(ticks) >= 3
    assert min(ticks) < 150
    assert max(ticks) > 151


def test_one_very_short_read_does_not_stretch_the_axis_of_all_others():
    def ticks(counts):
        histogram = Histogram(edges=[2, 100, 1000, 10_000], counts=counts, is_log=True)
        svg = plots.length_distribution(histogram, form="svg").decode()
        (label,) = re.findall(r">(length of reads[^<]*)<", svg)
        return label, re.findall(r">(10|100|1k|10k)</text>", svg.replace("$", ""))

    few, many = ticks([1, 500, 499]), ticks([6, 500, 499])
    assert few[0] == "length of reads (bases); 1 shorter not shown"
    assert many[0] == "length of reads (bases)"
    assert "10" in many[1]
    assert "10" not in few[1]


@pytest.mark.parametrize("edges", [[222, 700, 3399], [100, 1000, 10_000], [150, 160, 250_000]])
def test_the_axis_of_lengths_has_plain_numbers_that_do_not_overlap(edges):
    svg = plots.length_distribution(Histogram(edges=edges, counts=[5, 4], is_log=True), form="svg").decode()
    assert "mathdefault" not in svg
    axis, _, _ = svg.partition(">length of reads")
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", axis)
    assert len(shown) > 2
    assert [label for label in shown if not re.fullmatch(r"[125]0{0,2}k?", label)] == []


def test_a_style_in_the_working_folder_changes_no_picture(tmp_path):
    program = (
        "import hashlib; from virnucpro_assets.reports import plots; "
        "print(hashlib.sha256(plots.stage_times({'index': 1.0}, form='png')).hexdigest())"
    )
    (tmp_path / "matplotlibrc").write_text(
        "axes.facecolor: red\nlines.linewidth: 9\nfont.family: monospace\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == sha256(plots.stage_times({"index": 1.0}, form="png")).hexdigest()

import re
from html.parser import HTMLParser

import pytest

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.pipeline.call import CALL_FILES
from virnucpro_assets.pipeline.predict import PREDICTION_FILES
from virnucpro_assets.reports.drop_report import (
    CallRow,
    DropReport,
    ErrorRateFigures,
    Evaluation,
    InputFigures,
    LowComplexity,
    ModelFigures,
    QuarantinedFigures,
    RankFigures,
    StageFigures,
    render_report,
)
from virnucpro_assets.reports.histograms import Histogram
from virnucpro_assets.storage.pair_calls import PAIR_CALLS_FILE

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = """<script>alert("1")</script>&'{{ 7 * 7 }}"""


class Page(HTMLParser):
    """Reads a page: its elements are balanced, and what it refers to is known."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.references, self.texts = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.note(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.note(tag, attributes)

    def note(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.references.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def report():
    return report_of_a_drop()


def report_of_a_drop() -> DropReport:
    """A report with figures for most of its parts."""
    return DropReport(
        drop="run-12",
        generation="9f8e7d6c5b4a" + "0" * 52,
        made_by="virnucpro-assets 1.2.3",
        made_at="2026-01-02 03:04 UTC",
        inputs=[InputFigures(name="a_R1.fastq.gz", size=1234, digest="ab" * 32)],
        inputs_not_shown=1,
        settings={"chunk_length": 300, "token_budget": 8192, "precision": "bfloat16"},
        models=[ModelFigures(role="Classifier", name="mlp", digest="ef56" * 16, note="A demo model.")],
        reads=4000, bases=58_700_112, chunks=6600, virus_chunks=612, candidates=10_000, unique_candidates=7500,
        reasons={"too_short": 1, "no_codon": 0, "no_stop_free_frame": 280},
        calls={"Viral": {"high_confidence": 12, "review": 8}, "Non-viral": {"low_confidence": 3699}},
        hits=17,
        stages=[StageFigures(name="index", seconds=2583.7, detail="4,000 reads")],
        ranks=[
            RankFigures(
                encoder="ESM-2", rank=0, rows=1875, tokens=97_512, tokens_per_second=16_533.4,
                packing_efficiency=0.987, device="cuda:0", sequences_per_second=318.2, mfu=0.574,
                waited_for_input=0.5, waited_for_output=2.0, memory_mib=12_345,
            )
        ],
        checks=[
            CheckResult(
                name="finite_values", asset="esm2", rank=0, passed=True, figures={"bad": 0},
                threshold="none",
            ),
            CheckResult(
                name="packing", asset="esm2", passed=False, figures={"share": 0.87123}, threshold="at least 0.9"
            ),
        ],
        scores=Histogram(edges=[0, 0.5, 1], counts=[6000, 600]),
        read_lengths=Histogram(edges=[150, 151], counts=[4000]),
        protein_lengths=Histogram(edges=[49, 50, 51], counts=[2500, 5000]),
        top_calls=[
            CallRow(
                name="k141_8", length=18_233, chunks=61, call="Viral", tier="high_confidence",
                weighted_delta=0.9934, score=0.99991,
            )
        ],
        evaluation=Evaluation(auroc=0.871, low=0.852, high=0.889, baseline=0.742, baseline_name="counting letters"),
    )  # fmt: skip


def test_the_page_is_well_formed_and_its_ids_are_unique(report):
    page = Page(render_report(report))
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert page.tags.count("svg") == 6


def test_the_page_stands_alone_and_runs_nothing(report):
    html = render_report(report)
    page = Page(html)
    files = {f"predictions/{name}" for name in PREDICTION_FILES} | {f"calls/{name}" for name in CALL_FILES}
    links = {reference for reference in page.references if not reference.startswith("#")}
    assert links == files
    paired = Page(render_report(report.model_copy(update={"pairs": 3})))
    assert {*paired.references} - {*page.references} == {f"calls/{PAIR_CALLS_FILE}"}
    assert {reference[1:] for reference in {*page.references} - files} <= set(page.ids)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import|\son\w+=", html)


def test_the_figures_appear(report):
    text = Page(render_report(report)).text
    for expected in (
        "run-12", "9f8e7d6c5b4a", "made by virnucpro-assets 1.2.3 at 2026-01-02 03:04 UTC.",
        "Classifier: A demo model.", "4,000", "58.7 M",
        "58,700,112", "10,000 candidates", "25.0 % are repeats", "612",
        "no reading frame without a stop codon 280 7.0 %",
        "shorter than 3 bases 1 <0.1 %", "43 min 04 s", "16,533 318 57.4 % 98.7 %",
        "2.0 s 12,345", "1 of 2 checks did not pass.",
        "✗ failed share 0.87123 at least 0.9", "k141_8 18,233 61 high confidence 0.993 0.9999", "0.871",
        "counting letters reaches 0.742", "token budget 8,192", "ef56" * 16,
    ):  # fmt: skip
        assert expected in text
    assert "no codon" not in text


def test_a_reader_finds_reads_without_a_call_what_a_call_means_and_where_it_comes_from(report):
    html = render_report(report)
    page = Page(html)
    for expected in (
        "281 without a call (7.0 %); why",
        "It does not say which virus",
        "Next: identify the 17 hits.",
        "calls made 2026-01-02 03:04 UTC",
        f"a_R1.fastq.gz 1,234 bytes, SHA-256 {'ab' * 32}",
        "And 1 more file; all are in drop.toml",
        "software virnucpro-assets 1.2.3",
        f"Classifier mlp {'ef56' * 16}",
        "doi:10.1093/bib/bbaf224",
        "doi:10.1126/science.ade2574",
        "arXiv:2402.08777",
    ):
        assert expected in page.text
    contents = re.search(r"<nav.*?</nav>", html, re.DOTALL).group()
    assert re.findall('href="#([^"]+)"', contents) == [
        "calls", "meaning", "scores", "accuracy", "reads", "processing", "checks", "provenance",
    ]  # fmt: skip


def test_a_check_that_cannot_judge_is_not_shown_as_passed(report):
    few = report.checks[1].model_copy(
        update={"passed": True, "threshold": "not judged below 10 packs a part; else at least 0.9"}
    )
    text = Page(render_report(report.model_copy(update={"checks": [few]}))).text
    assert "packing esm2 not judged share 0.87123" in text
    assert "✓ passed" not in text
    assert "0 of 1 checks passed; 1 not judged, for too little data" in text


def test_the_same_figures_make_the_same_page(report):
    assert render_report(report) == render_report(report)


def test_hostile_texts_are_escaped_everywhere(report):
    check = report.checks[0].model_copy(
        update=dict.fromkeys(("name", "asset", "partition", "threshold"), HOSTILE)
        | {"figures": {HOSTILE: HOSTILE}}
    )
    hostile = report.model_copy(
        update={
            "drop": HOSTILE,
            "made_by": HOSTILE,
            "settings": {HOSTILE: HOSTILE},
            "inputs": [InputFigures(name=HOSTILE, size=1, digest=HOSTILE)],
            "models": [ModelFigures(role=HOSTILE, name=HOSTILE, digest=HOSTILE, note=HOSTILE)],
            "reasons": {HOSTILE: 3},
            "calls": {HOSTILE: {HOSTILE: 3}},
            "stages": [StageFigures(name=HOSTILE, seconds=1, detail=HOSTILE)],
            "ranks": [report.ranks[0].model_copy(update={"encoder": HOSTILE, "device": HOSTILE})],
            "checks": [check],
            "top_calls": [report.top_calls[0].model_copy(update={"name": HOSTILE, "tier": HOSTILE})],
            "quarantined": 1,
            "quarantine": [
                QuarantinedFigures(name=HOSTILE, members=1, row=0, encoder=HOSTILE, reason=HOSTILE)
            ],
        }
    )
    page = Page(render_report(hostile))
    assert page.open == []
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) > 15


def test_sequences_in_quarantine_are_shown_with_what_it_cost(report):
    shown = [
        QuarantinedFigures(
            name=f"r{row}_chunk_1F1", members=1200, row=row, encoder="esm2", reason="too large"
        )
        for row in range(20)
    ]
    troubled = {
        "quarantined": 31,
        "quarantine": shown,
        "not_scored_candidates": 1,
        "reasons": {"not_scored": 2},
    }
    text = Page(render_report(report.model_copy(update=troubled))).text
    for expected in (
        "31 sequences could not be embedded, so 1 candidate was not scored. 2 reads had no other candidate and "
        "have no call; any other",
        "The first 20 of 31; all are in quarantine.tsv.",
        "r19_chunk_1F1 1,200 19 esm2 too large",
        "could not be scored 2 0.1 %",
    ):
        assert expected in text
    one = {
        "quarantined": 1,
        "quarantine": shown[:1],
        "not_scored_candidates": 5,
        "reasons": {"not_scored": 1},
    }
    text = Page(render_report(report.model_copy(update=one))).text
    assert "1 sequence could not be embedded, so 5 candidates were not scored. 1 read had no other" in text
    assert "quarantine.tsv" not in text
    assert "Quarantine" not in Page(render_report(report)).text


def test_an_empty_drop_says_so_and_has_no_pictures():
    empty = DropReport(
        drop="nothing", generation="0" * 64, made_by="virnucpro-assets 1.2.3",
        scores=Histogram(edges=[0, 1], counts=[0]),
        read_lengths=Histogram(edges=[0, 1], counts=[0]), calls={"Viral": {"review": 0}}, reasons={"empty": 0},
    )  # fmt: skip
    page = Page(render_report(empty))
    assert "This drop is empty." in page.text
    assert "svg" not in page.tags
    assert page.open == []


def test_expected_errors_are_shown_with_a_picture_where_there_is_a_calibration(report):
    calibrated = report.model_copy(
        update={
            "assumed_viral_share": 0.5,
            "expected_false_calls": 3.25,
            "q_values": Histogram(edges=[0, 0.5, 1], counts=[15, 5]),
            "evaluation": report.evaluation.model_copy(
                update={
                    "error_rates": [
                        ErrorRateFigures(wanted=0.1, reads=0, expected=None, true=None),
                        ErrorRateFigures(wanted=0.2, reads=1250, expected=0.196, true=0.221),
                    ]
                }
            ),
        }
    )
    page = Page(render_report(calibrated))
    expected = "Of 20 Viral calls about 3.2 are expected to be wrong, if 50 % of the reads are viruses, as "
    assert f"{expected}in the calibration of the classifier. In most samples far fewer are" in page.text
    of_settings = calibrated.model_copy(update={"assumed_viral_share": 0.015, "is_share_set": True})
    expected = expected.replace("50 %", "1.5 %")
    assert f"{expected}the setting expected_viral_share says." in Page(render_report(of_settings)).text
    assert "0.1 0 – – 0.2 1,250 19.6 % 22.1 %" in page.text
    assert page.tags.count("svg") == 7
    assert "have no q-value" not in page.text


def test_without_a_calibration_the_report_says_why_there_are_no_expected_errors(report):
    text = Page(render_report(report.model_copy(update={"uncalibrated": ["VirNucPro_300"]}))).text
    assert (
        "Reads that VirNucPro_300 scored have no q-value: how often this classifier is wrong was not measured, as with "
        "every imported one. Go by the tiers, or train a classifier with virnucpro train , which measures it."
    ) in text
    both = Page(render_report(report.model_copy(update={"uncalibrated": ["one", "two"]}))).text
    assert "Reads that one or two scored have no q-value: how often these classifiers are wrong" in both
    assert "are expected to be wrong" not in text


def test_low_complexity_is_shown_and_sets_nothing_aside_by_itself(report):
    low = LowComplexity(above=20, low_chunks=1200, chunks=6600, viral_reads=1)
    row = report.top_calls[0].model_copy(update={"low_complexity": 0.25})
    text = Page(render_report(report.model_copy(update={"low_complexity": low, "top_calls": [row]}))).text
    assert "Low complexity (dust score above 20): 1,200 of 6,600 chunks" in text
    assert "at least half of the chunks in 1 Viral read. Nothing is left out" in text
    assert "0.9999 25.0 %" in text


def test_a_drop_without_any_call_says_so(report):
    silent = report.model_copy(update={"calls": {}, "top_calls": [], "scores": None})
    text = Page(render_report(silent)).text
    assert "No read could be called." in text
    assert "Strongest" not in text


def test_one_of_a_kind_is_written_in_the_singular(report):
    one = {"reads": 1, "bases": 1, "candidates": 1, "unique_candidates": 1, "top_calls": report.top_calls[:1]}
    text = Page(render_report(report.model_copy(update=one))).text
    assert "1 read with 1 base gave 1 candidate (" in text
    assert "The one: best tier first" in text


def test_a_shard_without_tokens_has_no_packing_efficiency(report):
    nothing = {"rows": 0, "tokens": 0, "tokens_per_second": 0.0, "sequences_per_second": 0.0, "mfu": None}
    empty = report.ranks[0].model_copy(update=nothing)
    text = Page(render_report(report.model_copy(update={"ranks": [empty]}))).text
    assert "0 cuda:0 0 0 – – – –" in text


@pytest.mark.parametrize(
    ("bases", "shown"),
    [(999_999, "999,999"), (1_000_000, "1 M"), (999_999_999, "1 G"), (1_234_567_890, "1.23 G")],
)
def test_a_count_in_a_tile_has_three_digits_from_a_million_on(report, bases, shown):
    assert f" {shown} bases" in Page(render_report(report.model_copy(update={"bases": bases}))).text

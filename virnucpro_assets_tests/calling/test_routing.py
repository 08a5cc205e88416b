"""Routes: short reads are scored by the DNA's classifier alone, all others as without one."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from virnucpro_assets.calling.false_discovery import BINS
from virnucpro_assets.calling.fit import check_fit
from virnucpro_assets.calling.routing import classifiers_in_use
from virnucpro_assets.checks.results import PRECISION_CHECKS
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.drops.stage_records import read_stages
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.calibration import calibrated
from virnucpro_assets.models.cards import Calibration, ClassifierCard, read_card
from virnucpro_assets.models.classifier import classifier_shapes, load_classifier, save_classifier
from virnucpro_assets.pipeline.call import call_drop
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.precision_checks import check_precision
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.pipeline.report import report_drop
from virnucpro_assets.reports.drop_lines import summary_lines
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.settings_groups import CallThresholds
from virnucpro_assets.storage.merged_reader import merged_blocks
from virnucpro_assets_tests.models.published_files import change_json
from virnucpro_assets_tests.passed_checks import pass_checks_of_predictions

TEXTS = ("predictions/prediction_results.txt", "calls/prediction_results_highestscore.csv")
BELOW = 300
CALIBRATION = {"slope": 2.0, "intercept": -0.5}


def save_dna_classifier(folder: Path, like: ClassifierCard) -> None:
    """A classifier of random weights that takes the DNA's embeddings alone."""
    card = like.model_copy(update={"inputs": "dna", "encoders": {"dnabert_s": like.encoders["dnabert_s"]}})
    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.zeros((), dtype=torch.int64)
        if "num_batches" in name
        else torch.rand(shape, generator=generator) + 0.5
        if "running" in name
        else torch.randn(shape, generator=generator)
        for name, shape in classifier_shapes(card.width).items()
    }
    save_classifier(folder, state, card)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = shutil.copytree(MODELS_FOLDER, tmp_path / "models")
    shutil.rmtree(folder / "classifier_300_dna", ignore_errors=True)
    save_dna_classifier(folder / "classifier_300_dna", read_card(folder / "classifier_300"))
    return folder


def under(work: DropWork, models: Path, **changes: object) -> DropWork:
    """The same drop under other settings, with these classifiers."""
    settings = work.settings.model_copy(update={"classifiers": models, **changes})
    return DropWork.on("d", settings, [].append)


def table(work: DropWork, name: str) -> dict[str, list[object]]:
    return pq.read_table(work.folder.path / name).to_pydict()


def texts(work: DropWork) -> list[bytes]:
    return [(work.folder.path / name).read_bytes() for name in TEXTS]


def lengths_of(work: DropWork) -> dict[str, int]:
    return {
        name: length
        for batch in work.index.read_batches()
        for name, length in zip(batch.names, batch.lengths.tolist(), strict=True)
    }


def test_short_reads_have_the_scores_of_the_dna_classifier_and_all_others_those_without_a_route(
    finished: DropWork, models: Path
) -> None:
    lengths = lengths_of(finished)
    before, before_texts = table(finished, "predictions/predictions.parquet"), texts(finished)
    assert set(before["route"]) == {"joint"}
    work = under(finished, models, dna_only_below_bases=BELOW)
    predict_drop(work)
    after = table(work, "predictions/predictions.parquet")
    assert after["id"] == before["id"]

    (members,) = work.index.member_batches()
    by_row = np.empty((work.index.manifest.rows, 2), np.float32)
    dna, _ = load_classifier(models / "classifier_300_dna")
    for rows, embeddings in merged_blocks(work.folder.path):
        by_row[rows] = dna.scores(embeddings[:, :96])
    of_dna = by_row[members.row, 1]
    routed = 0
    for place, name in enumerate(after["id"]):
        is_short = lengths[str(name).rpartition("_chunk_")[0]] < BELOW
        routed += is_short
        expected = of_dna[place] if is_short else before["p_virus"][place]
        assert after["p_virus"][place] == expected, name
        assert after["route"][place] == ("dna" if is_short else "joint")
    assert 0 < routed < len(after["id"])

    # A line of the texts changes with its read, and none has another column.
    predict_drop(under(finished, models))
    call_drop(under(finished, models))
    assert texts(finished) == before_texts
    assert not (finished.folder.predictions / "scores_short.npy").exists()


def test_the_report_and_the_tables_count_reads_by_route(finished: DropWork, models: Path) -> None:
    work = under(finished, models, dna_only_below_bases=BELOW)
    tables, _ = predict_drop(work)
    assert tables.inputs["short_below"] == "300"
    assert tables.inputs["short classifier"] != tables.inputs["classifier"]
    pass_checks_of_predictions(work)
    call_drop(work)
    calls = table(work, "calls/read_calls.parquet")
    short = sum(
        length < BELOW and call is not None
        for length, call in zip(calls["length"], calls["call"], strict=True)
    )
    called = sum(call is not None for call in calls["call"])
    assert calls["route"].count("dna") == short
    assert calls["route"].count(None) == len(calls["route"]) - called
    report = report_drop(work)
    assert report.routes == {"joint": called - short, "dna": short}
    assert [model.role for model in report.models][2:] == ["classifier", "short classifier"]
    assert f"scored by joint: {called - short} reads, dna: {short} reads" in summary_lines("d", work.settings)
    assert (
        len([line for line in summary_lines("d", work.settings) if line.startswith(("note: ", "warning: "))])
        == 1
    )
    page = work.folder.report.read_text()
    assert f"Scored by: joint, {called - short} reads; dna, {short} reads." in page
    assert table(work, "calls/chunk_calls.parquet")["route"].count("dna") == short


def test_without_routes_there_is_nothing_to_report_of_them(finished: DropWork) -> None:
    assert gather_report(finished).routes == {}
    assert not any(line.startswith("scored by") for line in summary_lines("d", finished.settings))


def test_a_border_is_not_below_itself(finished: DropWork, models: Path) -> None:
    longest = max(lengths_of(finished).values())
    work = under(finished, models, dna_only_below_bases=longest)
    predict_drop(work)
    found = table(work, "predictions/predictions.parquet")
    of_longest = {name for name, length in lengths_of(finished).items() if length == longest}
    joint = {
        str(name).rpartition("_chunk_")[0]
        for name, route in zip(found["id"], found["route"], strict=True)
        if route == "joint"
    }
    assert joint == of_longest


def test_calls_of_predictions_by_other_classifiers_are_refused(finished: DropWork, models: Path) -> None:
    work = under(finished, models, dna_only_below_bases=BELOW)
    with pytest.raises(
        IntegrityError, match=r"predictions made with short classifier none; expected [0-9a-f]{64}"
    ):
        call_drop(work)
    predict_drop(work)
    with pytest.raises(IntegrityError, match="made with dna_only_below_bases 300; expected 200"):
        call_drop(under(finished, models, dna_only_below_bases=200))
    with pytest.raises(IntegrityError, match=r"made with short classifier [0-9a-f]{64}; expected none"):
        call_drop(under(finished, models))


def test_precision_is_checked_for_every_classifier(finished: DropWork, models: Path) -> None:
    work = under(finished, models, dna_only_below_bases=BELOW)
    predict_drop(work)
    results = list(check_precision(work))
    assert [result.name for result in results if result.passed] == list(PRECISION_CHECKS)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (shutil.rmtree, "setting dna_only_below_bases: found 300, but no classifier in .*classifier_300_dna"),
        (
            lambda folder: change_json(folder / "card.json", inputs="protein"),
            "found a classifier that uses protein; expected one that uses dna only",
        ),
    ],
)
def test_routes_without_a_dna_classifier_are_refused_before_an_embedding(
    finished: DropWork, models: Path, damage, complaint: str
) -> None:
    damage(models / "classifier_300_dna")
    work = under(finished, models, dna_only_below_bases=BELOW)
    with (
        open_pool(work.settings) as pool,
        pool.lease() as lease,
        pytest.raises(InputError, match=complaint),
    ):
        list(embed_drop(work, {"esm2": [0]}, lease))


def calibrate(models: Path, name: str, **fields: object) -> None:
    threshold = {"precision": 0.95, "least": 0.6, "recall": 0.5}
    change_json(
        models / name / "card.json", **{"calibration": CALIBRATION, "thresholds": [threshold], **fields}
    )


def test_calibrated_probabilities_stand_beside_the_raw_ones_where_the_card_has_a_calibration(
    finished: DropWork, models: Path
) -> None:
    calibrate(models, "classifier_300")
    calibrate(models, "classifier_300_dna", calibration=None)
    work = under(finished, models, dna_only_below_bases=BELOW)
    tables, _ = predict_drop(work)
    assert tables.inputs["calibration of classifier"] == "slope 2.0, intercept -0.5"
    pass_checks_of_predictions(work)
    call_drop(work)
    raw_of = {
        "predictions/predictions.parquet": "p_virus",
        "calls/chunk_calls.parquet": "max_score_1",
        "calls/read_calls.parquet": "max_score_1",
    }
    for name, raw in raw_of.items():
        found = table(work, name)
        for route, p_virus, value in zip(
            found["route"], found[raw], found["p_virus_calibrated"], strict=True
        ):
            if route == "joint":
                odds = (p_virus / (1 - p_virus)) ** 2.0 * np.exp(-0.5)
                assert value == pytest.approx(odds / (1 + odds), rel=1e-6)
            else:
                assert value is None
        assert {"joint", "dna"} <= set(found["route"])


def test_with_a_wanted_precision_the_threshold_calls(finished: DropWork, models: Path) -> None:
    before = texts(finished)
    calibrate(models, "classifier_300")
    work = under(finished, models, calls=CallThresholds(wanted_precision=0.95))
    predict_drop(work)
    pass_checks_of_predictions(work)
    tables = call_drop(work)
    assert tables.inputs["least calibrated P(virus) of classifier"] == "0.6"
    chunks, reads = table(work, "calls/chunk_calls.parquet"), table(work, "calls/read_calls.parquet")
    expected = calibrated(np.array(chunks["max_score_1"], np.float32), Calibration(**CALIBRATION)) >= 0.6
    assert chunks["is_virus"] == expected.tolist()
    by_default = [
        virus >= others for others, virus in zip(chunks["max_score_0"], chunks["max_score_1"], strict=True)
    ]
    assert chunks["is_virus"] != by_default
    for call, value in zip(reads["call"], reads["p_virus_calibrated"], strict=True):
        assert (call == "Viral") == (value is not None and value >= 0.6)
    assert {"Viral", "Non-viral", "Ambiguous"} == set(reads["call"]) - {None}

    call_drop(under(finished, models))
    assert texts(finished) == before


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({"thresholds": []}, "none"),
        ({"thresholds": [{"precision": 0.9, "least": 0.6, "recall": 0.5}]}, "0.9"),
        ({"calibration": None}, "none"),
    ],
)
def test_a_precision_that_the_card_does_not_know_is_refused_at_the_start(
    finished: DropWork, models: Path, changed: dict[str, object], known: str
) -> None:
    calibrate(models, "classifier_300", **changed)
    work = under(finished, models, calls=CallThresholds(wanted_precision=0.95))
    with pytest.raises(InputError, match=f"0.95, for which .*classifier_300 has no .* on its card: {known}"):
        check_fit(work)


def test_a_wanted_precision_needs_a_threshold_of_both_classifiers(finished: DropWork, models: Path) -> None:
    calibrate(models, "classifier_300")
    work = under(finished, models, dna_only_below_bases=BELOW, calls=CallThresholds(wanted_precision=0.95))
    with pytest.raises(InputError, match="classifier_300_dna has no threshold"):
        check_fit(work)
    calibrate(models, "classifier_300_dna")
    check_fit(work)


def test_the_digest_of_one_classifier_is_its_own_and_of_routes_tells_their_border(
    finished: DropWork, models: Path
) -> None:
    calibrate(models, "classifier_300", calibration=None)
    alone, routed, other = (
        classifiers_in_use(under(finished, models, dna_only_below_bases=below).settings, 300)
        for below in (0, 300, 200)
    )
    assert alone.digest == sha256_of_file(models / "classifier_300" / "model.safetensors")
    assert len({alone.digest, routed.digest, other.digest}) == 3


def _of_reads(work: DropWork) -> tuple[np.ndarray, np.ndarray, list[object]]:
    """Calibrated P(virus) and q-value of the called reads, and their calls."""
    reads = table(work, "calls/read_calls.parquet")
    called = [position for position, call in enumerate(reads["call"]) if call is not None]
    p_virus, q_values = (
        np.array([reads[name][position] for position in called], float)
        for name in ("p_virus_calibrated", "q_value")
    )
    return p_virus, q_values, [reads["call"][position] for position in called]


def _called(finished: DropWork, models: Path, **changes: object) -> DropWork:
    work = under(finished, models, **changes)
    predict_drop(work)
    pass_checks_of_predictions(work)
    call_drop(work)
    return work


def _as_sure(p_virus: np.ndarray) -> np.ndarray:
    """The mean of 1 - p over all reads that are at least as sure as each, to the width of a bin."""
    bins = np.minimum((p_virus * BINS).astype(int), BINS - 1)
    return np.array([(1 - p_virus)[bins >= one].mean() for one in bins])


def test_the_q_value_of_a_read_is_the_mean_error_of_all_that_are_as_sure(
    finished: DropWork, models: Path
) -> None:
    calibrate(models, "classifier_300", calibration=CALIBRATION | {"virus_share": 0.5})
    work = _called(finished, models)
    p_virus, q_values, calls = _of_reads(work)
    assert q_values == pytest.approx(_as_sure(p_virus))
    wrong = read_stages(work.folder.stages)["calls"].figures["expected false calls"]
    is_viral = np.array([call == "Viral" for call in calls])
    assert wrong == pytest.approx((1 - p_virus)[is_viral].sum(), abs=1e-3)
    assert 0 < wrong < is_viral.sum()
    report = gather_report(work)
    assert (report.expected_false_calls, report.uncalibrated) == (wrong, [])
    assert report.q_values is not None and report.q_values.total == len(q_values)

    rarer = _called(finished, models, expected_viral_share=0.1)
    odds = p_virus / (1 - p_virus) / 9
    assert _of_reads(rarer)[1] == pytest.approx(_as_sure(odds / (1 + odds)), abs=1e-4)
    assert _of_reads(rarer)[2] == calls


@pytest.mark.parametrize("expected_share", [None, 0.2])
def test_with_a_wanted_false_discovery_rate_the_q_value_calls(
    finished: DropWork, models: Path, expected_share: float | None
) -> None:
    calibrate(models, "classifier_300", calibration=CALIBRATION | {"virus_share": 0.5})
    wanted = CallThresholds(wanted_fdr=0.3)
    _, q_values, calls = _of_reads(
        _called(finished, models, calls=wanted, expected_viral_share=expected_share)
    )
    assert [call == "Viral" for call in calls] == (q_values <= 0.3).tolist()
    assert "Viral" in calls
    none = CallThresholds(wanted_fdr=1e-9)
    assert (
        "Viral"
        not in _of_reads(_called(finished, models, calls=none, expected_viral_share=expected_share))[2]
    )


def test_without_a_calibration_q_values_are_null_and_what_needs_them_is_refused(
    finished: DropWork, models: Path
) -> None:
    calibrate(models, "classifier_300", calibration=None)
    work = _called(finished, models)
    assert gather_report(work).uncalibrated == ["classifier_300"]
    assert gather_report(work).expected_false_calls is None
    assert set(table(work, "calls/read_calls.parquet")["q_value"]) == {None}
    assert read_stages(work.folder.stages)["calls"].figures["expected false calls"] == "unknown"
    with pytest.raises(InputError, match=r"setting calls\.wanted_fdr: found 0\.05, for which the card of"):
        check_fit(under(finished, models, calls=CallThresholds(wanted_fdr=0.05)))
    calibrate(models, "classifier_300")
    check_fit(under(finished, models, calls=CallThresholds(wanted_fdr=0.05)))
    with pytest.raises(InputError, match="expected a calibration that says the share of viruses"):
        check_fit(under(finished, models, expected_viral_share=0.05))

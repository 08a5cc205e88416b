"""Training: a version with its evaluation, that takes its place if it is not worse, and not otherwise."""

import json
import shutil

import numpy as np
import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.cards import read_card
from virnucpro_assets.models.classifier import load_classifier
from virnucpro_assets.models.evaluation import auroc, confusion
from virnucpro_assets.models.versions import CONFIGURED
from virnucpro_assets.pipeline.predict import predict_drop
from virnucpro_assets.storage.training_set import read_training_set
from virnucpro_assets.training.splits import TEST
from virnucpro_assets.training.train import DEMO_NOTE
from virnucpro_assets.vocabulary import ENCODER_KINDS


def predicted_with(settings) -> str:
    tables, _ = predict_drop(DropWork.on("virus", settings, [].append))
    return tables.inputs["classifier"]


def test_the_first_classifier_is_taken_into_use_and_predictions_name_it(open_school):
    school = open_school()
    trained = school.train()
    assert trained.check.passed
    assert trained.check.figures["note"] == "no classifier was in use"
    versions = school.settings.classifier_versions(300)
    assert (versions.in_use(), versions.names()) == (trained.version.name, [trained.version.name])
    digest = sha256_of_file(trained.version.path / "model.safetensors")
    assert (trained.version.record.digest, trained.report.digest) == (digest, digest)
    assert predicted_with(school.settings) == digest
    assert trained.version.record.options["learning_rate"] == "0.01"


def test_figures_are_those_of_the_stored_classifier_on_the_stored_test_rows(open_school):
    trained = open_school().train()
    manifest, rows = read_training_set(trained.set_folder)
    assert manifest == trained.training_set
    test = rows.take(rows.split == TEST)
    classifier, card = load_classifier(trained.version.path)
    scores = classifier.scores(test.embeddings)[:, 1].astype(float)
    whole = trained.report.whole
    assert (whole.viruses, whole.others) == (test.is_virus.sum(), (~test.is_virus).sum())
    assert whole.auroc == pytest.approx(auroc(scores, test.is_virus).value, abs=1e-9)
    assert whole.f1 == confusion(scores > 0.5, test.is_virus).f1
    assert card.metrics["test_auroc"] == round(whole.auroc, 4)
    assert card.calibration == trained.report.calibration
    assert card.encoders == manifest.encoders
    assert "not for science" in card.note
    assert " ".join(trained.report.notes) == card.note
    by_length = {group.name: group.viruses + group.others for group in trained.report.groups[1:]}
    expected = {
        "150 to 199 bases": ((test.read_length >= 150) & (test.read_length < 200)).sum(),
        "200 to 299 bases": ((test.read_length >= 200) & (test.read_length < 300)).sum(),
        "300 to 499 bases": (test.read_length >= 300).sum(),
    }
    assert by_length == expected
    stored = json.loads((trained.version.path / "evaluation.json").read_text())
    assert stored["groups"][0]["auroc"] == whole.auroc
    page = (trained.version.path / "evaluation.html").read_text()
    assert page.count("<svg ") == 2
    assert f"{whole.auroc:.3f}" in page
    assert "It is in use now." in page


def test_a_classifier_on_copies_of_the_demo_encoders_says_so_too(open_school, tmp_path):
    copies = {kind: shutil.copytree(MODELS_FOLDER / kind, tmp_path / kind) for kind in ENCODER_KINDS}
    trained = open_school(**copies).train()
    assert trained.report.notes[0] == DEMO_NOTE
    assert DEMO_NOTE in trained.version.card.note


def test_a_worse_classifier_is_kept_and_not_in_use(open_school):
    school = open_school()
    first = school.train()
    worse = school.train(epochs=1, learning_rate=1e-9)
    assert not worse.check.passed
    assert worse.check.blocking
    assert worse.check.figures["auroc_in_use"] == round(first.report.whole.auroc, 6)
    assert worse.report.in_use.name == first.version.name
    versions = school.settings.classifier_versions(300)
    assert versions.in_use() == first.version.name
    assert set(versions.names()) == {first.version.name, worse.version.name}
    assert not versions.version(worse.version.name).record.accepted
    page = (worse.version.path / "evaluation.html").read_text()
    assert "It is stored, but not in use." in page
    assert predicted_with(school.settings) == first.version.record.digest


def test_a_margin_lets_a_slightly_worse_one_take_its_place_and_back_undoes_it(open_school):
    school = open_school(classifier_margin=0.99)
    first = school.train()
    second = school.train(epochs=1, learning_rate=1e-9)
    assert second.check.passed
    assert predicted_with(school.settings) == second.version.record.digest
    versions = school.settings.classifier_versions(300)
    assert versions.rollback() == first.version.name
    assert predicted_with(school.settings) == first.version.record.digest
    assert versions.rollback() == CONFIGURED


def test_the_same_training_gives_the_same_version(open_school):
    school = open_school()
    first, again = school.train(), school.train()
    assert again.version.name == first.version.name
    assert again.version.record.made_at == first.version.record.made_at
    assert len(school.settings.classifier_versions(300).names()) == 1


@pytest.mark.parametrize(("inputs", "width"), [("dna", 96), ("protein", 64)])
def test_a_classifier_of_one_kind_of_embeddings_learns_from_them_alone(open_school, inputs, width):
    school = open_school()
    trained = school.train(inputs=inputs, epochs=2)
    classifier, card = load_classifier(trained.version.path)
    assert (card.inputs, classifier.width) == (inputs, width)
    # That of DNA alone is the one for short reads.
    places = (school.settings.classifier_folder(300), school.settings.classifier_folder(300, "dna"))
    assert places[inputs == "dna"] == trained.version.path
    assert places[inputs != "dna"] != trained.version.path
    _, rows = read_training_set(trained.set_folder)
    test = rows.take(rows.split == TEST)
    columns = slice(0, 96) if inputs == "dna" else slice(96, None)
    scores = classifier.scores(np.ascontiguousarray(test.embeddings[:, columns]))[:, 1].astype(float)
    assert trained.report.whole.auroc == pytest.approx(auroc(scores, test.is_virus).value, abs=1e-9)


def test_the_classifier_of_the_settings_is_compared_with_on_the_same_rows(open_school):
    trained = open_school(classifiers=MODELS_FOLDER).train(epochs=1, learning_rate=1e-9)
    test = read_training_set(trained.set_folder)[1]
    test = test.take(test.split == TEST)
    demo, _ = load_classifier(MODELS_FOLDER / "classifier_300")
    scores = demo.scores(test.embeddings)[:, 1].astype(float)
    assert trained.report.in_use.auroc == pytest.approx(auroc(scores, test.is_virus).value, abs=1e-9)
    assert not trained.check.passed


def test_one_of_other_encoders_is_not_compared_with(open_school, tmp_path):
    school = open_school(classifiers=tmp_path / "models")
    folder = tmp_path / "models" / "classifier_300"
    folder.mkdir(parents=True)
    card = read_card(MODELS_FOLDER / "classifier_300").model_dump_json()
    (folder / "card.json").write_text(
        card.replace(read_card(MODELS_FOLDER / "classifier_300").encoders["esm2"], "0" * 64)
    )
    trained = school.train(epochs=2)
    assert trained.check.passed
    assert "classifier_300, is for another esm2, so nothing could be compared" in trained.report.verdict

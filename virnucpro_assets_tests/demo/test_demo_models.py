"""The shipped models: as built, fitting each other, and as good as their cards say."""

import shutil

import numpy as np
import pytest
from tokenizers import Tokenizer

from tools.demo.classifiers import (
    CHUNK_LENGTHS,
    CLASSIFIERS,
    NOTE,
    calibrate_demo_classifier,
    evaluate_demo_classifier,
)
from tools.demo.embeddings import embed, largest_scores, read_scores
from tools.demo.tiny_models import write_encoders
from tools.demo.tokenizer import SPECIAL_TOKENS, learn_tokenizer
from virnucpro_assets.demo.excerpts import Excerpt, read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER, DNABERT_S_FOLDER, ESM2_FOLDER, classifier_folder
from virnucpro_assets.models.cards import read_card, write_card
from virnucpro_assets.models.classifier import load_classifier
from virnucpro_assets.models.folders import WEIGHTS_FILE, read_model_folder
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged


def test_the_encoders_come_out_of_their_seeds_and_the_training_excerpts_byte_for_byte(tmp_path):
    write_encoders(tmp_path / "esm2", tmp_path / "dnabert_s")
    assert read_model_folder(tmp_path / "esm2").digest == read_model_folder(ESM2_FOLDER).digest
    assert read_model_folder(tmp_path / "dnabert_s").digest == read_model_folder(DNABERT_S_FOLDER).digest


@pytest.mark.parametrize("chunk_length", CHUNK_LENGTHS)
def test_a_classifier_fits_the_shipped_encoders(chunk_length):
    classifier, card = load_classifier(classifier_folder(chunk_length))
    esm2, dnabert_s = read_model_folder(ESM2_FOLDER), read_model_folder(DNABERT_S_FOLDER)
    assert card.encoders == {"esm2": esm2.digest, "dnabert_s": dnabert_s.digest}
    assert (card.d_dna, card.d_protein, card.chunk_length) == (dnabert_s.width, esm2.width, chunk_length)
    assert classifier.scores(np.zeros((3, card.width), np.float32)).shape == (3, 2)


def test_the_classifier_of_short_reads_takes_the_dna_alone():
    classifier, card = load_classifier(classifier_folder(300, "dna"))
    dnabert_s = read_model_folder(DNABERT_S_FOLDER)
    assert (card.inputs, card.chunk_length) == ("dna", 300)
    assert card.encoders == {"dnabert_s": dnabert_s.digest}
    assert classifier.scores(np.zeros((3, dnabert_s.width), np.float32)).shape == (3, 2)


@pytest.mark.parametrize(("chunk_length", "inputs"), CLASSIFIERS)
def test_a_card_says_that_the_model_is_not_for_science(chunk_length, inputs):
    assert read_card(classifier_folder(chunk_length, inputs)).note == NOTE
    assert "not for science" in NOTE


@pytest.mark.slow
@pytest.mark.parametrize(("chunk_length", "inputs"), CLASSIFIERS)
def test_a_classifier_is_as_good_on_the_drop_as_its_card_says(chunk_length, inputs):
    folder = classifier_folder(chunk_length, inputs)
    metrics = read_card(folder).metrics
    found = evaluate_demo_classifier(folder, ESM2_FOLDER, DNABERT_S_FOLDER)
    assert found.score.value == pytest.approx(metrics["held_out_auroc"], abs=2e-3)
    assert found.gc.value == pytest.approx(metrics["held_out_gc_auroc"], abs=1e-4)
    assert (found.viruses, found.others, found.unscored) == (
        metrics["held_out_viruses"],
        metrics["held_out_others"],
        metrics["held_out_unscored"],
    )
    if inputs == "both":
        assert found.score.low > 0.7 > found.gc.value
    else:
        assert found.score.low > 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("chunk_length", "inputs"), CLASSIFIERS)
def test_the_calibration_of_a_card_is_that_of_the_validation_reads_and_nothing_else_changes(
    tmp_path, chunk_length, inputs
):
    shipped = classifier_folder(chunk_length, inputs)
    copy = shutil.copytree(shipped, tmp_path / "copy")
    card = read_card(shipped)
    write_card(copy, card.model_copy(update={"calibration": None}))
    found = calibrate_demo_classifier(copy, ESM2_FOLDER, DNABERT_S_FOLDER).calibration
    assert found.slope == pytest.approx(card.calibration.slope, abs=0.01)
    assert found.intercept == pytest.approx(card.calibration.intercept, abs=0.01)
    assert found.virus_share == card.calibration.virus_share
    assert read_card(copy) == card.model_copy(update={"calibration": found})
    assert (copy / WEIGHTS_FILE).read_bytes() == (shipped / WEIGHTS_FILE).read_bytes()


def test_the_tokenizer_takes_a_sequence_as_one_word_between_its_special_tokens():
    tokenizer = Tokenizer.from_file(str(DNABERT_S_FOLDER / "tokenizer.json"))
    bases = read_excerpts(DATA_FOLDER, "held_out")[0].letters[:500]
    tokens = tokenizer.encode(bases).tokens
    assert (tokens[0], tokens[-1], "".join(tokens[1:-1])) == ("[CLS]", "[SEP]", bases)
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


def test_a_letter_that_is_no_base_is_unknown_to_the_tokenizer():
    tokenizer = Tokenizer.from_file(str(DNABERT_S_FOLDER / "tokenizer.json"))
    assert tokenizer.encode("N").tokens == ["[CLS]", "[UNK]", "[SEP]"]


def test_a_tokenizer_learns_the_commonest_pair_first_and_never_across_foreign_letters():
    learned = Tokenizer.from_str(learn_tokenizer([Excerpt("a", 0, "virus", "ACNACNACNTG")], 10))
    assert learned.get_vocab_size() == 10
    assert learned.encode("AC").tokens == ["[CLS]", "AC", "[SEP]"]


def test_embeddings_come_back_in_the_order_of_the_sequences():
    encoder = load_encoder(ESM2_FOLDER)
    proteins = [b"MKV", b"MKVLAAGW" * 5, b"A", b"MKV"]
    means = embed(encoder, Ragged.from_strings(proteins))
    for place, protein in enumerate(proteins):
        tokens = encoder.tokenise(Ragged.from_strings([protein]))
        alone = encoder.embed(TokenPack.from_tokens(tokens)).numpy()[0]
        np.testing.assert_allclose(means[place], alone, atol=1e-5)


def test_embedding_nothing_gives_no_rows():
    assert embed(load_encoder(ESM2_FOLDER), Ragged.from_strings([])).shape == (0, 64)


def test_a_reads_score_is_its_best_virus_score_minus_its_best_other_score():
    read = np.array([0, 0, 2])
    scores = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]], np.float32)
    found = read_scores(4, read, scores)
    np.testing.assert_array_equal(found, [0.25, np.nan, -1.0, np.nan])
    largest = largest_scores(4, read, scores)
    np.testing.assert_array_equal(largest, [[0.5, 0.75], [np.nan] * 2, [1.0, 0.0], [np.nan] * 2])

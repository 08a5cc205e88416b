"""The classifier: scores by the formula, its folder, and its training."""

import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.cards import Calibration, ClassifierCard, read_card
from virnucpro_assets.models.classifier import Classifier, classifier_shapes, load_classifier, save_classifier
from virnucpro_assets.models.training import TrainingSettings, train_classifier

CARD = ClassifierCard(
    chunk_length=300,
    d_dna=4,
    d_protein=6,
    encoders={"dnabert_s": "a" * 64, "esm2": "b" * 64},
    training_data="random numbers",
    metrics={"accuracy": 0.5},
    note="Knows nothing.",
    created_with="0.1.0",
)
QUICK = TrainingSettings(learning_rate=0.01, epochs=30, patience=5, validation_share=0.2, seed=3)


def weights(seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=generator) for name, shape in classifier_shapes(10).items()}
    state["bn1.running_var"] = state["bn1.running_var"].abs() + 0.1
    state["bn1.num_batches_tracked"] = torch.tensor(7)
    return state


def rows(count: int, seed: int = 2) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 10)).astype(np.float32)


def by_formula(state: dict[str, torch.Tensor], data: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    part = {name: tensor.double().numpy() for name, tensor in state.items()}
    hidden = data.astype(np.float64) @ part["hidden_layer.weight"].T + part["hidden_layer.bias"]
    normed = (hidden - part["bn1.running_mean"]) / np.sqrt(part["bn1.running_var"] + 1e-5)
    shown = np.maximum(normed * part["bn1.weight"] + part["bn1.bias"], 0)
    powers = np.exp(shown @ part["output_layer.weight"].T + part["output_layer.bias"])
    return powers / powers.sum(axis=1, keepdims=True)


def test_scores_follow_the_formula_and_a_folder_keeps_them(tmp_path: Path) -> None:
    save_classifier(tmp_path, weights(), CARD)
    classifier, card = load_classifier(tmp_path)
    scores = classifier.scores(rows(100))
    assert card == CARD.model_copy(update={"digest": sha256_of_file(tmp_path / "model.safetensors")})
    assert (card.width, scores.dtype) == (10, np.float32)
    np.testing.assert_allclose(scores, by_formula(weights(), rows(100)), atol=2e-5)


def test_more_rows_than_go_in_at_once_are_scored_alike(tmp_path: Path) -> None:
    save_classifier(tmp_path, weights(), CARD)
    classifier, _ = load_classifier(tmp_path)
    data = rows(20_001)
    data.flags.writeable = False
    np.testing.assert_allclose(classifier.scores(data), by_formula(weights(), data), atol=5e-5)
    assert classifier.scores(data[:0]).shape == (0, 2)


def test_a_classifier_in_training_still_scores_without_dropout() -> None:
    classifier = Classifier(10)
    classifier.load_state_dict(weights())
    classifier.train()
    np.testing.assert_array_equal(classifier.scores(rows(5)), classifier.scores(rows(5)))


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 9\) where \[n, 10\] was expected"):
        Classifier(10).scores(rows(3)[:, :9])


def test_weights_that_do_not_fit_the_card_are_neither_saved_nor_loaded(tmp_path: Path) -> None:
    wider = CARD.model_copy(update={"d_dna": 5})
    complaint = r"hidden_layer\.weight of shape \[512, 10\] where \[512, 11\] was expected"
    with pytest.raises(IntegrityError, match=complaint):
        save_classifier(tmp_path, weights(), wider)
    assert list(tmp_path.iterdir()) == []
    save_classifier(tmp_path, weights(), CARD)
    (tmp_path / "card.json").write_text(wider.model_dump_json())
    with pytest.raises(IntegrityError, match=complaint):
        load_classifier(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = weights()
    state["output_layer.bias"][0] = float("nan")
    save_classifier(tmp_path, state, CARD)
    with pytest.raises(IntegrityError, match=r"not finite in output_layer\.bias"):
        load_classifier(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "card.json"])
def test_a_flipped_bit_in_a_classifier_or_its_card_is_an_error_that_names_the_file(
    tmp_path: Path, name: str
) -> None:
    card = CARD.model_copy(update={"calibration": Calibration(slope=1.25, intercept=-0.5)})
    save_classifier(tmp_path, weights(), card)
    whole, draw = (tmp_path / name).read_bytes(), random.Random(2)
    expected, read = load_classifier(tmp_path)
    places = [whole.index(b"1.25"), len(whole) - 9] if name == "card.json" else [len(whole) // 2]
    for place in [*places, *(draw.randrange(len(whole)) for _ in range(60))]:
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / name).write_bytes(changed)
        try:
            found, card = load_classifier(tmp_path)
        except IntegrityError as error:
            assert str(tmp_path / name) in str(error)
        else:
            # A blank of the card's layout became another one.
            assert name == "card.json"
            assert (card, found.scores(rows(9)).tolist()) == (read, expected.scores(rows(9)).tolist())


def test_a_card_of_an_older_version_has_no_digests_and_is_read(tmp_path: Path) -> None:
    save_classifier(tmp_path, weights(), CARD)
    (tmp_path / "card.json").write_text(CARD.model_dump_json(exclude={"digest"}))
    assert load_classifier(tmp_path)[1] == CARD


def test_a_missing_card_and_a_wrong_one_are_explained(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"card\.json: found no file"):
        read_card(tmp_path)
    (tmp_path / "card.json").write_text(CARD.model_dump_json().replace("300", "0"))
    with pytest.raises(IntegrityError, match="greater than or equal to 1' at chunk_length"):
        read_card(tmp_path)


def separable(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    data = rows(count, seed=8)
    return data, data[:, 0] + data[:, 5] > 0


def test_training_learns_what_can_be_learnt(tmp_path: Path) -> None:
    data, is_virus = separable(600)
    trained = train_classifier(data, is_virus, QUICK)
    losses = [epoch.validation_loss for epoch in trained.history]
    assert trained.best == losses.index(min(losses))
    assert trained.history[trained.best].validation_accuracy >= 0.9
    save_classifier(tmp_path, trained.state, CARD)
    scores = load_classifier(tmp_path)[0].scores(data)
    assert ((scores[:, 1] > scores[:, 0]) == is_virus).mean() >= 0.9


def test_the_same_seed_trains_the_same_classifier_and_leaves_random_state_alone() -> None:
    data, is_virus = separable(100)
    before = torch.random.get_rng_state()
    one, same = (train_classifier(data, is_virus, QUICK) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.history == same.history
    assert all(torch.equal(one.state[name], same.state[name]) for name in one.state)


def test_training_stops_when_nothing_is_gained() -> None:
    noise = np.random.default_rng(1).random(200) < 0.5
    trained = train_classifier(rows(200), noise, QUICK)
    assert len(trained.history) == min(trained.best + 1 + QUICK.patience, QUICK.epochs)
    assert len(trained.history) < QUICK.epochs


def test_too_few_rows_to_train_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows, too few"):
        train_classifier(rows(3), np.array([True, False, True]), TrainingSettings())

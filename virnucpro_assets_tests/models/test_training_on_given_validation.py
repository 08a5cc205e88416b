"""A validation part given by the caller is the one that training stops by."""

import numpy as np
import pytest
import torch

from virnucpro_assets.models.training import TrainingSettings, train_classifier

SETTINGS = TrainingSettings(learning_rate=0.01, epochs=3, validation_share=0.25, seed=4)


def labelled_rows(count=40):
    random = np.random.default_rng(1)
    is_virus = np.arange(count) % 2 == 0
    rows = random.normal(size=(count, 5)).astype(np.float32)
    return rows + is_virus[:, None].astype(np.float32), is_virus


def test_rows_given_for_validation_do_not_teach():
    rows, is_virus = labelled_rows()
    is_validation = np.arange(len(rows)) >= 30
    first = train_classifier(rows, is_virus, SETTINGS, is_validation=is_validation)
    last_epoch = TrainingSettings(learning_rate=0.01, epochs=1, seed=4)
    changed = rows.copy()
    changed[30:] += 100.0
    one, other = (
        train_classifier(some, is_virus, last_epoch, is_validation=is_validation) for some in (rows, changed)
    )
    assert one.history[0].training_loss == other.history[0].training_loss
    assert one.history[0].validation_loss != other.history[0].validation_loss
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert len(first.history) == 3


@pytest.mark.parametrize("is_validation", [np.zeros(40, bool), np.arange(40) > 0])
def test_a_validation_part_of_nothing_or_nearly_everything_is_refused(is_validation):
    rows, is_virus = labelled_rows()
    with pytest.raises(ValueError, match="rows, too few"):
        train_classifier(rows, is_virus, SETTINGS, is_validation=is_validation)

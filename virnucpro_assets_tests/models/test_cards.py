"""What a classifier's card says of the embeddings that it takes."""

import numpy as np
import pytest

from virnucpro_assets.models.cards import ClassifierCard, Inputs


@pytest.mark.parametrize(
    ("inputs", "columns", "takes", "route"),
    [
        ("both", [0, 1, 2, 3, 4], ("dnabert_s", "esm2"), "joint"),
        ("dna", [0, 1], ("dnabert_s",), "dna"),
        ("protein", [2, 3, 4], ("esm2",), "protein"),
    ],
)
def test_a_classifier_takes_the_columns_of_its_encoders(
    inputs: Inputs, columns: list[int], takes: tuple[str, ...], route: str
) -> None:
    card = ClassifierCard(
        chunk_length=300, d_dna=2, d_protein=3, encoders={}, inputs=inputs, training_data="", created_with="0"
    )
    assert np.arange(5)[card.columns(2)].tolist() == columns
    assert (card.width, card.used_encoders, card.route) == (len(columns), takes, route)

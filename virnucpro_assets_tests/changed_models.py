"""Copies of the demo encoders with other numbers in them."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.models.folders import WEIGHTS_FILE
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.sequences.index import SequenceIndex


def copied_model(kind: str, target: Path) -> Path:
    """A copy of a demo encoder, to be changed."""
    return shutil.copytree(MODELS_FOLDER / kind, target)


def scale_weights(folder: Path, factor: float) -> None:
    """Make another model of the same shape."""
    weights = load_file(folder / WEIGHTS_FILE)
    save_file({name: values * np.float32(factor) for name, values in weights.items()}, folder / WEIGHTS_FILE)


def dna_model_with(value: float, target: Path, token: int) -> Path:
    """DNABERT-S with `value` wherever the embedding of a token has a number."""
    model = copied_model("dnabert_s", target)
    weights = load_file(model / WEIGHTS_FILE)
    (name,) = [name for name in weights if name.endswith("word_embeddings.weight")]
    weights[name][token] = value
    save_file(weights, model / WEIGHTS_FILE)
    return model


def rare_dna_token(index: SequenceIndex) -> tuple[int, int]:
    """A row with a DNA token that no other row of the index has, and the token."""
    tokens = load_encoder(MODELS_FOLDER / "dnabert_s").tokenise(
        index.rows(0, index.manifest.rows).nucleotides
    )
    rows = [set(tokens.take(np.array([row])).data.tolist()) for row in range(index.manifest.rows)]
    for row, own in enumerate(rows):
        if alone := own.difference(*rows[:row], *rows[row + 1 :]):
            return row, min(alone)
    raise AssertionError("every token occurs twice")

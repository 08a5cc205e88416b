"""Whether an installed encoder computes what it should: cosine and largest difference on fixed sequences.

The reference figures are read from the model's folder if they are of this model; otherwise the reference computes
them in this process. They can be stored, for a machine without the memory to compute them, or to verify again after a
change of driver, library or device.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from virnucpro_assets.errors import IntegrityError, excerpt
from virnucpro_assets.models.cards import checked_model_folder
from virnucpro_assets.models.folders import ModelFolder
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.references import REFERENCES, Embeddings, reference_embeddings
from virnucpro_assets.models.weights import write_weights
from virnucpro_assets.vocabulary import Precision

FLOAT32_COSINE, FLOAT32_DIFFERENCE = 0.999999, 1e-4
"""Bounds for float32; the difference as a share of the largest number of the reference."""


@dataclass(frozen=True, slots=True)
class Verification:
    """How close an encoder's embeddings are to their reference."""

    folder: ModelFolder
    precision: Precision
    device: str
    reference: str
    min_cosine: float
    largest_difference: float
    largest_number: float

    def passed(self, min_cosine: float) -> bool:
        """Whether the embeddings are close enough; `min_cosine` is the bound for a precision below float32."""
        if self.precision == "float32":
            near = self.largest_difference <= FLOAT32_DIFFERENCE * self.largest_number
            return near and self.min_cosine >= FLOAT32_COSINE
        return self.min_cosine >= min_cosine


def verify_encoder(path: Path, *, precision: Precision, device: str, keep: bool = False) -> Verification:
    """Embed the fixed sequences with the encoder in `path` and compare with its reference.

    With `keep` the reference is stored beside the model. Raises IntegrityError if a file is damaged or does not match
    the model's card: every byte is read.
    """
    folder = checked_model_folder(path, content=True)
    found = _embed(load_encoder(path, precision=precision, device=device))
    stored = _stored_reference(folder)
    expected = reference_embeddings(path) if stored is None else stored
    if keep:
        _store_reference(folder, expected)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return Verification(
        folder=folder,
        precision=precision,
        device=device,
        reference=REFERENCES[folder.kind].name if stored is None else "stored figures",
        min_cosine=float(cosines.min()),
        largest_difference=float(np.abs(a - b).max()),
        largest_number=float(np.abs(b).max()),
    )


def _embed(encoder: PackedEncoder) -> Embeddings:
    tokens = encoder.tokenise(REFERENCES[encoder.kind].sequences)
    rows: Embeddings = encoder.embed(TokenPack.from_tokens(tokens, encoder.device)).cpu().numpy()
    return rows


def _reference_name(folder: ModelFolder, rows: str) -> str:
    """Named by the digests of the model and of the figures: figures of another model are not found."""
    return f"reference-{folder.digest[:16]}-{rows}.safetensors"


def _stored_reference(folder: ModelFolder) -> Embeddings | None:
    path = next(iter(sorted(folder.path.glob(_reference_name(folder, "*")))), None)
    if path is None:
        return None
    shape = (len(REFERENCES[folder.kind].sequences), folder.width)
    try:
        with safe_open(path, framework="np") as file:
            rows: Embeddings = file.get_tensor("embeddings")
    except SafetensorError as error:
        raise IntegrityError(
            path,
            found=f"a damaged file ({excerpt(error)})",
            expected="reference figures",
            advice="Remove it and verify again.",
        ) from error
    if rows.shape != shape or rows.dtype != np.float32:
        raise IntegrityError(
            path,
            found=f"figures of shape {list(rows.shape)}",
            expected=f"{list(shape)}",
            advice="Remove it and verify again.",
        )
    if path.name != _reference_name(folder, _digest(rows)):
        raise IntegrityError(
            path,
            found=f"figures of digest {_digest(rows)}",
            expected="those of its name",
            advice="Remove it and verify again.",
        )
    return rows


def _store_reference(folder: ModelFolder, rows: Embeddings) -> None:
    path = folder.path / _reference_name(folder, _digest(rows))
    write_weights(path, {"embeddings": torch.from_numpy(rows)})


def _digest(rows: Embeddings) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows, "<f4").data).hexdigest()[:16]

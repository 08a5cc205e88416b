"""The card beside a model's weights. No torch here.

The card of a classifier says what it was trained on and which input it expects, that of an encoder what it is and
where it comes from. A classifier is bound to its encoders by their digests. The card of an imported one may have only
their names: then only name and width can be compared.

A card has the digest of the weights and, under SEAL, that of its own other fields, so that a changed bit of either is
an error. Cards of older versions have neither and are read without this check.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virnucpro_assets.errors import DamagedFileError, IntegrityError, describe_validation_error
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.folders import (
    WEIGHTS_FILE,
    ModelFolder,
    files_of,
    read_model_folder,
    require_file,
)
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind, Precision, Route

CARD_FILE = "card.json"
SEAL = "sha256"
"""The field in the file of a card with the SHA-256 of all other fields."""

Card = TypeVar("Card", bound=BaseModel)


Inputs = Literal["both", "dna", "protein"]
"""Which embeddings of a row a classifier uses."""

ENCODERS_OF_INPUTS: dict[Inputs, tuple[EncoderKind, ...]] = {
    "both": ENCODER_KINDS,
    "dna": ("dnabert_s",),
    "protein": ("esm2",),
}
"""The encoders of these embeddings, in the order of a merged row."""


def columns_of(inputs: Inputs, d_dna: int) -> slice:
    """The columns of these embeddings in merged rows, of which the first `d_dna` are the DNA's."""
    return {"both": slice(None), "dna": slice(0, d_dna), "protein": slice(d_dna, None)}[inputs]


class Calibration(BaseModel):
    """Maps a raw to a calibrated P(virus): sigmoid(slope * logit(p) + intercept) (Platt 1999)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: float
    intercept: float
    virus_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of viruses where it was fitted",
        exclude_if=lambda share: share is None,
    )


class Threshold(BaseModel):
    """The lowest calibrated P(virus) that reached a wanted precision in the evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    precision: float = Field(gt=0, le=1, description="wanted share of viruses among what is called virus")
    least: float = Field(ge=0, le=1, description="lowest calibrated P(virus) that reaches it")
    recall: float = Field(ge=0, le=1, description="share of the viruses that are called with it")


class ClassifierCard(BaseModel):
    """The input that a classifier expects, its origin, and its evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_length: int = Field(ge=1)
    d_dna: int = Field(ge=1)
    d_protein: int = Field(ge=1)
    encoders: dict[EncoderKind, str] = Field(description="digest of the model folder of each encoder")
    encoder_names: dict[EncoderKind, str] = Field(
        {}, description="published name of each encoder without a known digest"
    )
    precision: Precision | None = Field(None, description="of the embeddings that it was trained on")
    inputs: Inputs = Field("both", description="the embeddings that it uses")
    calibration: Calibration | None = Field(None, description="fitted on reads that it was not trained on")
    thresholds: tuple[Threshold, ...] = Field((), description="by rising precision")
    training_data: str
    metrics: dict[str, float] = {}
    note: str = ""
    created_with: str = Field(description="package version that wrote the card")
    digest: str = Field("", description="SHA-256 of the weights; empty on the card of an older version")

    @property
    def width(self) -> int:
        """How many numbers per row the classifier uses: the DNA's first, then the protein's, depending on `inputs`."""
        return self.d_dna * (self.inputs != "protein") + self.d_protein * (self.inputs != "dna")

    @property
    def widths(self) -> dict[EncoderKind, int]:
        """How many numbers each encoder gives a row."""
        return {"dnabert_s": self.d_dna, "esm2": self.d_protein}

    @property
    def used_encoders(self) -> tuple[EncoderKind, ...]:
        """The encoders whose embeddings it uses, in the order of a merged row."""
        return ENCODERS_OF_INPUTS[self.inputs]

    @property
    def route(self) -> Route:
        """The route of the reads that it scores, as tables name it."""
        return "joint" if self.inputs == "both" else self.inputs

    def columns(self, d_dna: int) -> slice:
        """The columns that it uses of merged rows, of which the first `d_dna` are the DNA's."""
        return columns_of(self.inputs, d_dna)


class EncoderCard(BaseModel):
    """What an encoder is, where it comes from, and the digest of its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: EncoderKind
    model: str = Field(description="name of the published model with this shape; empty if there is none")
    is_published: bool = Field(
        description="whether its files had the digests of that published model that are on record"
    )
    width: int = Field(ge=1)
    parameters: int = Field(ge=1)
    stored_as: Precision
    digest: str = Field(description="digest of the model folder")
    source: str = Field(description="file, folder, or repository and commit")
    files: dict[str, str] = Field(description="SHA-256 of each file that it was made from")
    licence: str
    created_with: str = Field(description="package version that wrote the card")


def read_card(folder: Path) -> ClassifierCard:
    """Read the card in `folder`; IntegrityError if it is missing or damaged."""
    path = folder / CARD_FILE
    if not path.is_file():
        raise IntegrityError(
            path,
            found="no file",
            expected="the classifier's card",
            advice="Train or import the classifier first.",
        )
    return _read(
        path,
        ClassifierCard,
        "a classifier's card",
        "Train the classifier again, or import it again with --replace.",
    )


def read_encoder_card(folder: Path) -> EncoderCard | None:
    """The card of the encoder in `folder`, None if it has none; IntegrityError if it is damaged."""
    path = folder / CARD_FILE
    return (
        _read(path, EncoderCard, "an encoder's card", "Fetch or import the model again with --replace.")
        if path.is_file()
        else None
    )


def checked_model_folder(folder: Path, *, content: bool = False) -> ModelFolder:
    """As `read_model_folder`; IntegrityError also if the encoder does not match its card, if it has one."""
    found, card = read_model_folder(folder, content=content), read_encoder_card(folder)
    if card is not None and found.digest != card.digest:
        raise IntegrityError(
            folder,
            found=f"{', '.join(files_of(found.config))} of digest {found.digest}",
            expected=f"{card.digest} as {CARD_FILE} says",
            advice="A file was changed or damaged: fetch or import the model again with --replace.",
        )
    return found


def checked_weights_digest(folder: Path, card: ClassifierCard) -> str:
    """SHA-256 of the weights of the classifier in `folder`; IntegrityError if they do not match its card."""
    path = folder / WEIGHTS_FILE
    require_file(path)
    found = sha256_of_file(path)
    if card.digest and found != card.digest:
        raise IntegrityError(
            path,
            found=f"SHA-256 {found}",
            expected=f"{card.digest} as {CARD_FILE} says",
            advice="The file was changed or damaged: train or import the classifier again.",
        )
    return found


def write_card(folder: Path, card: ClassifierCard | EncoderCard) -> None:
    """Write `card` into `folder`, sealed."""
    fields = card.model_dump(mode="json")
    content = json.dumps({**fields, SEAL: _digest(fields)}, indent=2, sort_keys=True)
    write_text(folder / CARD_FILE, content + "\n")


def _read(path: Path, kind: type[Card], expected: str, advice: str) -> Card:
    try:
        return kind.model_validate_json(_unsealed(path))
    except ValidationError as error:
        raise IntegrityError(
            path, found=describe_validation_error(error), expected=expected, advice=advice
        ) from error


def _unsealed(path: Path) -> bytes:
    """The JSON of a card without its seal; DamagedFileError if there is one and it does not match."""
    content = path.read_bytes()
    try:
        fields = json.loads(content)
    except ValueError:
        return content
    if not isinstance(fields, dict) or SEAL not in fields:
        return content
    if fields.pop(SEAL) != _digest(fields):
        raise DamagedFileError(
            path,
            found=f"content that does not match its field {SEAL}",
            expected="the card as it was written",
            advice="Fetch, import or train the model again; if you changed the card on purpose, remove the field "
            f"{SEAL}.",
        )
    return json.dumps(fields).encode()


def _digest(fields: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

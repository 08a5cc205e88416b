"""The card beside a classifier's weights: what it was trained on and what it expects. No torch here."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.vocabulary import EncoderKind

CARD_FILE = "card.json"


class ClassifierCard(BaseModel):
    """What a classifier expects, where it comes from and how good it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_length: int = Field(ge=1)
    d_dna: int = Field(ge=1)
    d_protein: int = Field(ge=1)
    encoders: dict[EncoderKind, str] = Field(description="digest of the model folder of each encoder")
    training_data: str
    metrics: dict[str, float] = {}
    note: str = ""
    created_with: str = Field(description="package version that wrote the card")

    @property
    def width(self) -> int:
        """How many numbers the classifier takes a row: the DNA's first, then the protein's."""
        return self.d_dna + self.d_protein


def read_card(folder: Path) -> ClassifierCard:
    """Read the card in `folder`, or raise IntegrityError naming what is wrong with it."""
    path = folder / CARD_FILE
    try:
        return ClassifierCard.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(
            f"{path}: found no file; expected the classifier's card. Train or import the classifier first."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise IntegrityError(
            f"{path}: found {first['msg']!r} at {field}; expected a classifier's card. "
            "Train or import the classifier again."
        ) from error


def write_card(folder: Path, card: ClassifierCard) -> None:
    """Write `card` into `folder`."""
    content = json.dumps(card.model_dump(mode="json"), indent=2, sort_keys=True)
    write_text(folder / CARD_FILE, content + "\n")

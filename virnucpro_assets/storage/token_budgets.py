"""Measured token budgets: how fast an encoder was with packs of several sizes, and the size that was chosen.

There is one record for a model and the way in which it computes. The budget decides how rows are
cut into packs and parts, so that once a record is there every run finds the same budget in it.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import DamagedFileError, IntegrityError
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision

AGAIN = "`virnucpro models budgets --again` measures anew and replaces it."


class BudgetSubject(BaseModel):
    """What a budget is measured for: a model by its digest, and what decides how it computes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderKind
    weights_digest: str
    precision: Precision
    attention: Attention
    fused: bool
    device_kind: Literal["cpu", "cuda"]

    @property
    def file_name(self) -> str:
        """The name of the record: one for each subject."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()
        return f"{self.encoder}-{digest[:16]}.toml"


class SizeRate(BaseModel):
    """How fast packs of `tokens` tokens went through: tokens a second, None where one did not fit.

    `peak_memory` is the most bytes of the device that the process had held until then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int
    tokens_per_second: float | None = None
    peak_memory: int = 0


class MeasuredBudget(BaseModel):
    """The budget of a subject and what it was chosen from.

    `device` is the name of the device that measured, `measured_at` the time in UTC, `chunk_length` the bases of
    the chunks whose frames were imitated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: BudgetSubject
    token_budget: int
    device: str
    measured_at: str
    chunk_length: int
    seconds: float
    sizes: list[SizeRate]

    @property
    def note(self) -> str:
        """One line on where the budget comes from."""
        rates = ", ".join(
            f"{size.tokens}: {_said(size.tokens_per_second)}"
            for size in sorted(self.sizes, key=lambda size: size.tokens)
        )
        return f"measured {self.measured_at} on {self.device}; tokens a second by size {rates}"


def write_budget(path: Path, budget: MeasuredBudget) -> None:
    """Write a record to `path`."""
    write_manifest(path, budget)


def read_budget(folder: Path, subject: BudgetSubject) -> MeasuredBudget | None:
    """The record of `subject` in `folder`, or None if it was not measured yet.

    Raises IntegrityError if the file is damaged or the record of something else.
    """
    path = folder / subject.file_name
    if not path.exists():
        return None
    try:
        found = read_manifest(path, MeasuredBudget)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error} {AGAIN}") from error
    except IntegrityError as error:
        raise IntegrityError(f"{error} {AGAIN}") from error
    if found.subject != subject:
        raise IntegrityError(f"{path}: found a budget of {found.subject}; expected one of {subject}. {AGAIN}")
    return found


def _said(rate: float | None) -> str:
    return "does not fit" if rate is None else f"{rate:,.0f}"

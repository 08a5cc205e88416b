"""What a drop is made from: its files of reads, how they are cut into chunks, and how it was registered."""

import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.names import DuplicatePolicy
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.vocabulary import Label

OTHER_THAN_READS = ("min_score", "per_pair", "follows_delivery", "delivery", "label")


class SourceFile(BaseModel):
    """A read file with its absolute path; `mate` as in ReadFile: 1 or 2 in a pair, 3 if interleaved, else 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    mate: int = 0


class DeliveryMark(BaseModel):
    """The fingerprint of a delivery's names, sizes and times, as the scan that found it complete saw them.

    Records of earlier versions also have a digest of its content, which is ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    seen: str


class DropSource(BaseModel):
    """The files of a drop and how its reads are processed.

    `min_score` is the P(virus) that a hit needs, if it differs from the settings; with `per_pair` a row a pair of
    mates is written too, whatever the settings say. `delivery` is set if a scan of the drops folder registered the
    drop. With `follows_delivery` the drop was registered by name instead: its files are those that its delivery has
    when they are listed. `label` is set if the drop is for training a classifier: no predictions are expected of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk_length: int
    duplicates: DuplicatePolicy = "suffix"
    min_score: float | None = None
    per_pair: bool = False
    follows_delivery: bool = False
    delivery: DeliveryMark | None = None
    label: Label | None = None
    files: list[SourceFile]

    @classmethod
    def of(
        cls,
        files: Iterable[ReadFile],
        *,
        chunk_length: int,
        duplicates: DuplicatePolicy,
        min_score: float | None = None,
        per_pair: bool = False,
        label: Label | None = None,
    ) -> "DropSource":
        """A source with the absolute paths of these files.

        Raises InputError if a path is not UTF-8, or the score not a number from 0 to 1.
        """
        files = list(files)
        if min_score is not None and not 0 <= min_score <= 1:
            raise InputError(
                "P(virus) that a hit needs",
                found=str(min_score),
                expected="a number from 0 to 1",
                advice="Give another --min-score, or leave it out.",
            )
        for file in files:
            _check_writable_name(file.path)
        named = [SourceFile(path=file.path.absolute(), mate=file.mate) for file in files]
        return cls(
            chunk_length=chunk_length,
            duplicates=duplicates,
            min_score=min_score,
            per_pair=per_pair,
            label=label,
            files=named,
        )

    def same_reads(self, other: "DropSource") -> bool:
        """Whether both have the same reads, cut and named in the same way."""
        ignored = {name: getattr(other, name) for name in OTHER_THAN_READS}
        return self.model_copy(update=ignored) == other

    def same_results(self, other: "DropSource") -> bool:
        """Whether both have the same reads, the same hits and the same tables."""
        return self.same_reads(other) and (self.min_score, self.per_pair) == (other.min_score, other.per_pair)


def _check_writable_name(path: Path) -> None:
    readable = os.fsencode(path).decode(errors="backslashreplace")
    if readable.encode() != os.fsencode(path):
        raise InputError(
            readable,
            found="bytes in the path that are not UTF-8",
            expected="a path in UTF-8",
            advice="Rename the file or its folder.",
        )

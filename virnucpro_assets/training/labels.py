"""Labels: which drops are used for training, their class, and the genome of each of their reads.

The table is tab-separated with the header `drop label source`; `source` may be empty or missing. A source is a genome,
or any other group of reads that must not be in two splits. If the table has no source for a drop, it is taken from the
names of the reads: the part before the first colon, as `lambda` in `lambda:1-9000`, else the whole name without the
`/1` or `/2` of a mate. Alternatively each drop is one source.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from virnucpro_assets.errors import InputError, counted, excerpt
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.files.user_paths import require_plain_file
from virnucpro_assets.storage.drops import check_key
from virnucpro_assets.vocabulary import Label

SourcesBy = Literal["names", "drops"]

COLUMNS = ("drop", "label", "source")
_ADVICE = "Correct the table; its columns are drop, label (virus or others) and optionally source."


class LabelledDrop(BaseModel):
    """A drop and its class; `source` is its genome, empty if it is taken from the names of the reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: str
    label: Label
    source: str = ""

    def source_of(self, read: str, by: SourcesBy) -> str:
        """The source of one of its reads."""
        if self.source:
            return self.source
        return self.drop if by == "drops" else source_in_name(read)


def source_in_name(read: str) -> str:
    """The source in the name of a read."""
    before, colon, _ = read.partition(":")
    if colon and before:
        return before
    return read[:-2] if read.endswith(("/1", "/2")) and len(read) > 2 else read


def read_labels(path: Path) -> list[LabelledDrop]:
    """The table at `path`.

    Raises InputError, with the line, for a row that does not fit the columns, an unknown label, an invalid key of a
    drop, or a drop that occurs twice, and for a path that is no regular file.
    """
    require_plain_file(path, "a table of labelled drops")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(path, found="text that is not UTF-8", expected="UTF-8", advice=_ADVICE) from error
    header = tuple(lines[0].split("\t")) if lines else ()
    if header not in {COLUMNS, COLUMNS[:2]}:
        found = repr(lines[0][:80]) if lines else "nothing"
        raise InputError(
            path,
            where="line 1",
            found=found,
            expected="drop, label and source, separated by tabs",
            advice=_ADVICE,
        )
    labelled: dict[str, LabelledDrop] = {}
    lines_of: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        if line.strip():
            one = _labelled(path, number, line, len(header))
            if one.drop in labelled:
                raise InputError(
                    path,
                    where=f"line {number}",
                    found=f"drop {one.drop}, which line {lines_of[one.drop]} has too",
                    expected="each drop once",
                    advice=_ADVICE,
                )
            labelled[one.drop], lines_of[one.drop] = one, number
    return list(labelled.values())


def keep_labels(folder: Path, labelled: Sequence[LabelledDrop]) -> Path:
    """Write the table into `folder`, named by the digest of its content; returns its path.

    A training reads it hours later: the name guarantees that the content is still the same.
    """
    rows = [COLUMNS, *((one.drop, one.label, one.source) for one in labelled)]
    text = "".join("\t".join(row) + "\n" for row in rows)
    path = folder / f"labels-{sha256(text.encode()).hexdigest()[:12]}.tsv"
    write_text(path, text)
    return path


def _labelled(path: Path, number: int, line: str, columns: int) -> LabelledDrop:
    where, fields = f"line {number}", [field.strip() for field in line.split("\t")]
    if not 2 <= len(fields) <= columns:
        raise InputError(
            path,
            where=where,
            found=counted(len(fields), "field"),
            expected=f"{columns}, separated by tabs, as in the header",
            advice=_ADVICE,
        )
    try:
        return LabelledDrop.model_validate(
            dict(zip(COLUMNS, [check_key(fields[0]), *fields[1:]], strict=False))
        )
    except ValidationError as error:
        raise InputError(
            path,
            where=where,
            found=f"label {excerpt(repr(fields[1]))}",
            expected="virus or others",
            advice=_ADVICE,
        ) from error

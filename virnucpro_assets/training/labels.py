"""Labels: which drops are training sources, of which class, and from which genome each of their reads is.

The table is tab-separated with the header `drop label source`; `source` may be empty or missing. A
source is a genome, or whatever must not stand on both sides of a split. If the table names none for a
drop, the names of its reads tell: what stands before the first colon, as `lambda` in `lambda:1-9000`,
else the whole name, without the `/1` or `/2` of a mate. Or the drop as a whole is one source.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.sequences.read_files import require_plain_file
from virnucpro_assets.storage.drops import check_key
from virnucpro_assets.vocabulary import Label

SourcesBy = Literal["names", "drops"]

COLUMNS = ("drop", "label", "source")
_ADVICE = "Mend the table; its columns are drop, label (virus or others) and, if you like, source."


class LabelledDrop(BaseModel):
    """A drop and its class; `source` is its genome, empty if the names of its reads tell theirs."""

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
    """The source that a read's name tells."""
    before, colon, _ = read.partition(":")
    if colon and before:
        return before
    return read[:-2] if read.endswith(("/1", "/2")) and len(read) > 2 else read


def read_labels(path: Path) -> list[LabelledDrop]:
    """The table at `path`.

    Raises InputError, with the line, for a row that does not fit the columns, a label that is none, a
    key that can be no drop's, or a drop that is named twice, and for what is no plain file.
    """
    require_plain_file(path, "a table of labelled drops")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(path, found="text that is no UTF-8", expected="UTF-8", advice=_ADVICE) from error
    header = tuple(lines[0].split("\t")) if lines else ()
    if header not in {COLUMNS, COLUMNS[:2]}:
        found = repr(lines[0][:80]) if lines else "nothing"
        raise InputError(
            path, where="line 1", found=found, expected="drop, label and source by tabs", advice=_ADVICE
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
                    found=f"drop {one.drop} again, which line {lines_of[one.drop]} has",
                    expected="each drop once",
                    advice=_ADVICE,
                )
            labelled[one.drop], lines_of[one.drop] = one, number
    return list(labelled.values())


def keep_labels(folder: Path, labelled: Sequence[LabelledDrop]) -> Path:
    """Write the table into `folder`, named by the digest of its content; returns its path.

    A training reads it hours later: under this name nobody else can have written another one.
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
            found=f"{len(fields)} fields",
            expected=f"{columns} by tabs, as in the header",
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

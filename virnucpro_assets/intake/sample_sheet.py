"""Sample sheets: tables of samples and their files of reads, as nf-core's pipelines read them.

The header has columns for the sample and its files, in any order; other columns are ignored. Values are separated by
`,`, `;` or tabs, and may be quoted. A row is one file of single reads, one pair, or both; several rows of one sample
are its lanes, and equal rows count once. Relative paths are relative to the sheet. A wrong row is an error of its
sample only.
"""

import codecs
import csv
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from virnucpro_assets.errors import InputError, counted, excerpt
from virnucpro_assets.sequences.formats import ENDINGS
from virnucpro_assets.sequences.read_files import ReadFile, pair_files

# The names of the columns in lower case: of nf-core, nf-core/mag, nf-core/ampliseq, Illumina's fastq_list.csv.
_COLUMNS = {
    "sample": ("sample", "sampleid", "sample_id", "rgsm"),
    "fastq_1": ("fastq_1", "short_reads_1", "forwardreads", "read1file", "fastq1", "r1"),
    "fastq_2": ("fastq_2", "short_reads_2", "reversereads", "read2file", "fastq2", "r2"),
    "single": ("fasta", "long_reads"),
}
_READS = re.compile(rf"\.({'|'.join(ENDINGS)})\b", re.IGNORECASE)
_ADVICE = "Correct the sheet; its columns are sample,fastq_1,fastq_2."
# Enough for the header and some rows; other tables may be large.
_HEAD_BYTES = 1 << 20


@dataclass
class Sample:
    """A sample of a sheet: its files, lane after lane, and the line that names it first.

    `error` is the first error in its rows; `files` has the files that are named correctly.
    """

    name: str
    line: int
    files: list[ReadFile] = field(default_factory=list)
    error: InputError | None = None


def is_sample_sheet(path: Path) -> bool:
    """Whether a table is a sample sheet: it has a column of reads, or samples and names of files of reads.

    An empty file may become one. Raises OSError if it cannot be read.
    """
    with path.open("rb") as stream:
        text = _text(stream.read(_HEAD_BYTES), errors="replace")
    try:
        columns = _columns(_header(csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))))
    except csv.Error:
        columns = {}
    return (
        not text.strip() or "fastq_1" in columns or ("sample" in columns and _READS.search(text) is not None)
    )


def names_in(path: Path) -> set[str]:
    """The file names that a sheet, correct or not, may have: all its values, without folders."""
    text = _text(path.read_bytes(), errors="surrogateescape")
    return {value.strip() for value in re.split(r'[,;\t\r\n"\'/\\]', text)}


def read_sample_sheet(path: Path) -> list[Sample]:
    """The samples of the sheet at `path`, in the order in which they are first named.

    Files get absolute paths and need not be there. Names are not changed. Raises
    InputError, with the line, for a sheet without these columns or with text that is no table or no UTF-8.
    A row that does not fit the columns or has no name or no file, an address instead of a
    path, and a file that two rows name, are the `error` of their samples.
    """
    samples: dict[str, Sample] = {}
    owners: dict[Path, tuple[int, Sample]] = {}
    seen: set[tuple[str, ...]] = set()
    for line, row, error in _records(path):
        key = tuple(row.values())
        if key in seen:
            continue
        seen.add(key)
        sample = samples.setdefault(row["sample"], Sample(row["sample"], line))
        sample.error = sample.error or error
        for file, text in _files(path, line, row, sample):
            if file.path not in owners:
                owners[file.path] = line, sample
                sample.files.append(file)
                continue
            other_line, other = owners[file.path]
            sample.error = sample.error or _wrong(
                path, line, f"{text} as in line {other_line}", "each file once"
            )
            if other is not sample:
                other.error = other.error or _wrong(
                    path, other_line, f"{text} as in line {line}", "each file once"
                )
    return list(samples.values())


def _files(path: Path, line: int, row: dict[str, str], sample: Sample) -> Iterator[tuple[ReadFile, str]]:
    """The files of a row, and their names in the sheet; a wrong name is an error of the sample."""
    mates = [text for text in (row["fastq_1"], row["fastq_2"]) if text]
    named = [(text, position if len(mates) == 2 else 0) for position, text in enumerate(mates, 1)]
    for text, mate in [*named, *([(row["single"], 0)] if row["single"] else [])]:
        try:
            file = _path_in(path, line, text)
        except InputError as error:
            sample.error = sample.error or error
        else:
            yield (ReadFile(file, mate) if mate else pair_files([file])[0]), _short(text)


def _records(path: Path) -> Iterator[tuple[int, dict[str, str], InputError | None]]:
    """Line number and the columns of each row that is not blank, empty if it lacks them, and its error."""
    content = path.read_bytes()
    try:
        text = _text(content)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
        header = _header(reader)
        columns = _checked_columns(path, reader.line_num, header)
        for cells in reader:
            values = [value.strip() for value in cells]
            if any(values):
                row = {
                    name: values[position]
                    if (position := columns.get(name, len(values))) < len(values)
                    else ""
                    for name in _COLUMNS
                }
                yield reader.line_num, row, _error_in(path, reader.line_num, row, (len(values), len(header)))
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"no CSV ({excerpt(error)})", "values between commas") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _wrong(path, line, "bytes that are no UTF-8", "text in UTF-8") from error


def _text(content: bytes, errors: str = "strict") -> str:
    """The text of a sheet: UTF-8, or UTF-16 with its mark, as spreadsheets write."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig", errors)


def _separator(text: str) -> str:
    """The separator of a table: that in its first line (`sep=;`), or the most frequent one there."""
    first = next((line for line in text[:_HEAD_BYTES].splitlines() if line.strip()), "")
    is_named = first.lower().startswith("sep=") and len(first) > len("sep=")
    return first[len("sep=")] if is_named else max(",;\t", key=first.count)


def _header(rows: Iterable[list[str]]) -> list[str]:
    """The first row that is neither blank nor `sep=`, in lower case."""
    for cells in rows:
        header = [cell.strip().lower() for cell in cells]
        if any(header) and not header[0].startswith("sep="):
            return header
    return []


def _columns(header: list[str]) -> dict[str, int]:
    """The positions of the columns in a header."""
    found = {
        column: next((header.index(name) for name in names if name in header), None)
        for column, names in _COLUMNS.items()
    }
    return {column: position for column, position in found.items() if position is not None}


def _checked_columns(path: Path, line: int, header: list[str]) -> dict[str, int]:
    columns = _columns(header)
    missing = [name for name in ("sample", "fastq_1") if name not in columns]
    if missing == ["fastq_1"] and "single" in columns:
        missing = []
    if missing:
        found = f"no column {' and no column '.join(missing)}"
        raise _wrong(path, max(line, 1), found, "the header of a sample sheet")
    repeated = [header[position] for position in columns.values() if header.count(header[position]) > 1]
    if repeated:
        raise _wrong(path, line, f"column {repeated[0]} twice", "each column once")
    return columns


def _error_in(path: Path, line: int, row: dict[str, str], counts: tuple[int, int]) -> InputError | None:
    if counts[0] != counts[1]:
        return _wrong(path, line, counted(counts[0], "value"), f"{counts[1]}")
    if not row["sample"]:
        return _wrong(path, line, "nothing in column sample", "a value")
    if not row["fastq_1"] and (row["fastq_2"] or not row["single"]):
        return _wrong(path, line, "nothing in column fastq_1", "a value")
    return None


def _path_in(sheet: Path, line: int, text: str) -> Path:
    if "://" in text:
        raise _wrong(sheet, line, f"the address {_short(text)}", "the path of a file")
    if "\0" in text:
        raise _wrong(sheet, line, "a path with a NUL in it", "the path of a file")
    # Links are not followed here, but when the file is checked.
    return Path(os.path.normpath(sheet.absolute().parent / text))


def _short(text: str) -> str:
    return repr(text[:80])


def _wrong(path: Path, line: int, found: str, expected: str) -> InputError:
    return InputError(path, where=f"line {line}", found=found, expected=expected, advice=_ADVICE)

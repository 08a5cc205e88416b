"""Sample sheets: which files of reads belong to which sample, as nf-core's pipelines read it.

A CSV file with a header that names at least `sample` and `fastq_1`, in any order, and maybe
`fastq_2`; other columns are left alone. A row is one file of single reads or one pair; several
rows of one sample are its lanes. Relative paths are relative to the sheet.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.sequences.read_files import ReadFile

_ADVICE = "Mend the sheet; its columns are sample,fastq_1,fastq_2."


@dataclass
class Sample:
    """A sample of a sheet: its files, lane after lane, and the line on which it is first named."""

    name: str
    line: int
    files: list[ReadFile] = field(default_factory=list)


def read_sample_sheet(path: Path) -> list[Sample]:
    """The samples of the sheet at `path`, in the order in which they are first named.

    Files get absolute paths and need not be there. Names are taken as they stand. Raises
    InputError, with the line, for a sheet without these columns, a row that does not fit them,
    an address instead of a path, a file that is named twice, and text that is no UTF-8.
    """
    samples: dict[str, Sample] = {}
    lines_of_files: dict[Path, int] = {}
    for line, row in _rows(path):
        name = row["sample"]
        if not name or not row["fastq_1"]:
            missing = "fastq_1" if name else "sample"
            raise _wrong(path, line, f"nothing in column {missing}", "a value")
        sample = samples.setdefault(name, Sample(name, line))
        mates = [text for text in (row["fastq_1"], row.get("fastq_2", "")) if text]
        for position, text in enumerate(mates, 1):
            file = _path_in(path, line, text)
            if file in lines_of_files:
                raise _wrong(
                    path, line, f"{_short(text)} as in line {lines_of_files[file]}", "each file once"
                )
            lines_of_files[file] = line
            sample.files.append(ReadFile(file, position if len(mates) == 2 else 0))
    return list(samples.values())


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and the named columns of each row that is not blank."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            for row in reader:
                values = [value.strip() for value in row]
                if not any(values):
                    continue
                if len(values) != len(header):
                    raise _wrong(path, reader.line_num, f"{len(values)} values", f"{len(header)}")
                yield reader.line_num, dict(zip(header, values, strict=True))
        except csv.Error as error:
            raise _wrong(
                path, reader.line_num, f"no CSV ({excerpt(error)})", "values between commas"
            ) from error
        except UnicodeDecodeError as error:
            raise _wrong(path, reader.line_num + 1, "bytes that are no UTF-8", "text in UTF-8") from error


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in ("sample", "fastq_1") if name not in header]
    if missing:
        raise _wrong(path, 1, f"no column {' and no column '.join(missing)}", "the header of a sample sheet")
    repeated = [name for name in ("sample", "fastq_1", "fastq_2") if header.count(name) > 1]
    if repeated:
        raise _wrong(path, 1, f"column {repeated[0]} twice", "each column once")


def _path_in(sheet: Path, line: int, text: str) -> Path:
    if "://" in text:
        raise _wrong(sheet, line, f"the address {_short(text)}", "the path of a file")
    if "\0" in text:
        raise _wrong(sheet, line, "a path with a NUL in it", "the path of a file")
    # By the letters alone: a link in the way is judged where the file is looked at.
    return Path(os.path.normpath(sheet.absolute().parent / text))


def _short(text: str) -> str:
    return repr(text[:80])


def _wrong(path: Path, line: int, found: str, expected: str) -> InputError:
    return InputError(path, where=f"line {line}", found=found, expected=expected, advice=_ADVICE)

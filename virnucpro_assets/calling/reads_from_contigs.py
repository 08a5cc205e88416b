"""Calls of reads through the contigs that they map to.

The reads of a sample are mapped to its contigs (minimap2 writes PAF), the contigs are called, and each
read gets the call of its best contig. The alignments of a read may be anywhere in the file: all lines are
sorted by the read's name first, on disk, so that memory does not grow with the file.

The rules for the alignments of a read, in this order:

1. Those below the minimum identity (matches ÷ columns of the alignment) or the minimum aligned share
   ((end - start) ÷ length, on the read) are left out.
2. The best is the one with the most matching bases.
3. Where the best alignments of several contigs have as many, the rule for ties decides.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.files.atomic import atomic_file
from virnucpro_assets.files.user_paths import check_outputs, note_outputs, require_plain_file
from virnucpro_assets.sequences.compression import open_decompressed
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches
from virnucpro_assets.storage.sorted_lines import SortedLines

FILE = "read_calls_by_contig.tsv"
HEADER = ("ID", "call", "tier", "contig", "identity", "aligned_share", "contigs", "reason")

Ties = Literal["agree", "first", "none"]
Reason = Literal["unmapped", "low_identity", "low_aligned_share", "tie", "contig_not_called"]

_PAF_COLUMNS = 12
_BYTES = "surrogateescape"
"""Names are bytes for the tools that write these files: names that are not UTF-8 are written unchanged."""


@dataclass(frozen=True)
class MappingRules:
    """Which alignments are used, and the rule for several equally good contigs.

    `ties`: "agree" takes the contig that is first by name if all have the same call, else the read has
    none; "first" always takes the contig that is first by name; "none" gives such a read no call.
    """

    min_identity: float = 0.95
    min_aligned_share: float = 0.75
    ties: Ties = "agree"


class Alignment(NamedTuple):
    """A line of PAF: of a read's `length` bases those from `start` to `stop` are aligned to `contig`."""

    contig: str
    length: int
    start: int
    stop: int
    matches: int
    columns: int

    @property
    def identity(self) -> float:
        """Matching bases as a share of the alignment's columns, gaps among them."""
        return self.matches / self.columns

    @property
    def aligned_share(self) -> float:
        """Aligned bases as a share of the read."""
        return (self.stop - self.start) / self.length


class ContigCall(NamedTuple):
    """A contig's call and its tier."""

    call: str
    tier: str


@dataclass(frozen=True)
class ReadCall:
    """The result for a read: a call with its contig, or the reason why it has none.

    `contigs` counts the contigs that are equally good; `best` is the alignment that decided.
    """

    call: ContigCall | None
    best: Alignment | None = None
    contigs: int = 0
    reason: Reason | None = None


@dataclass
class ReadCallSummary:
    """How many reads got each call, and how many none, by reason."""

    calls: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def write_calls_of_reads(
    paf: Path, contig_calls: Path, out: Path, rules: MappingRules, reads: Iterable[ReadFile] = ()
) -> ReadCallSummary:
    """Write `FILE` into the folder `out`: one line a read, sorted by name, as of PAF and of the files `reads`.

    A read of `reads` without a line in `paf` is `unmapped`. Raises InputError if a file is invalid, if none of the
    contigs of `paf` is in `contig_calls`, or if `out` has an input or a foreign file.
    """
    reads = list(reads)
    for path in (paf, contig_calls, *(file.path for file in reads)):
        require_plain_file(path)
    check_outputs(out, [FILE], [paf, contig_calls, *(file.path for file in reads)])
    calls, summary, is_known = read_contig_calls(contig_calls), ReadCallSummary(), False
    out.mkdir(parents=True, exist_ok=True)
    with SortedLines(out) as lines, atomic_file(out / FILE) as stream:
        for block in _mapped_lines(paf):
            lines.add(block)
        for batch in read_batches(reads):
            lines.add("".join(f"{name}\n" for name in batch.names).encode(errors=_BYTES))
        stream.write(("\t".join(HEADER) + "\n").encode())
        for name, alignments in _by_read(lines):
            found = call_of_read(alignments, calls, rules)
            is_known = is_known or any(one.contig in calls for one in alignments)
            stream.write(_line(name, found).encode(errors=_BYTES))
            summary.calls.update([found.call.call] if found.call else [])
            summary.reasons.update([found.reason] if found.reason else [])
        if not is_known and summary.reasons["unmapped"] < summary.reasons.total():
            raise InputError(
                paf,
                found=f"contigs of which none is in {contig_calls}",
                expected="alignments to the contigs that were called",
                advice="Map the reads to the FASTA file whose calls these are.",
            )
        stream.flush()
        note_outputs(out, {FILE: Path(stream.name)})
    return summary


def call_of_read(
    alignments: list[Alignment], calls: Mapping[str, ContigCall], rules: MappingRules
) -> ReadCall:
    """The call of a read by the rules of this module; the order of `alignments` does not matter."""
    if not alignments:
        return ReadCall(None, reason="unmapped")
    alike = [one for one in alignments if one.identity >= rules.min_identity]
    good = [one for one in alike if one.aligned_share >= rules.min_aligned_share]
    if not good:
        nearest = max(alike or alignments, key=_rank)
        return ReadCall(None, nearest, reason="low_aligned_share" if alike else "low_identity")
    most = max(one.matches for one in good)
    by_contig = {one.contig: one for one in sorted(good, key=_rank) if one.matches == most}
    contig = min(by_contig)
    best, ways = by_contig[contig], {calls.get(name) for name in by_contig}
    if len(by_contig) > 1 and (rules.ties == "none" or (rules.ties == "agree" and len(ways) > 1)):
        return ReadCall(None, best, len(by_contig), "tie")
    call = calls.get(contig)
    return ReadCall(call, best, len(by_contig), None if call else "contig_not_called")


def read_contig_calls(path: Path) -> dict[str, ContigCall]:
    """The calls of `contig_calls.tsv` by contig; InputError if it is another file."""
    with _text(path) as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := {"ID", "call", "tier"} - set(rows.fieldnames or ()):
            raise InputError(
                path,
                where="line 1",
                found=f"no column {' or '.join(sorted(missing))}",
                expected="a table of contig calls",
                advice="Give contig_calls.tsv of the drop of the contigs.",
            )
        return {row["ID"]: ContigCall(row["call"], row["tier"]) for row in rows}


def _rank(alignment: Alignment) -> tuple[int, float, str]:
    return alignment.matches, alignment.identity, alignment.contig


def _mapped_lines(paf: Path) -> Iterator[bytes]:
    """The lines of PAF, checked, as far as they are needed; a read without an alignment is its name alone."""
    with _text(paf) as lines:
        for number, line in enumerate(lines, start=1):
            columns = line.rstrip("\r\n").split("\t", _PAF_COLUMNS)
            if columns == [""]:
                continue
            try:
                read, length, start, stop, _strand, contig, *_of_contig, matches, width, _quality = columns[
                    :_PAF_COLUMNS
                ]
                alignment = Alignment(contig, *map(int, (length, start, stop, matches, width)))
                is_mapped = contig != "*"
                if is_mapped and not (
                    0 <= alignment.start < alignment.stop <= alignment.length
                    and 0 <= alignment.matches <= alignment.columns
                    and alignment.columns > 0
                ):
                    raise ValueError("numbers that contradict each other")
            except ValueError as error:
                raise InputError(
                    paf,
                    where=f"line {number}",
                    found=excerpt(repr(line.rstrip()), 80),
                    expected="an alignment in PAF: 12 columns with tabs between them",
                    advice="Map with `minimap2 contigs.fa reads.fq > reads.paf` (without -a).",
                ) from error
            yield ("\t".join((read, *map(str, alignment))) if is_mapped else read).encode(
                errors=_BYTES
            ) + b"\n"


def _by_read(lines: SortedLines) -> Iterator[tuple[str, list[Alignment]]]:
    """The reads by name, each with its alignments."""
    rows = (
        line.decode(errors=_BYTES).split("\t") for block in lines.merged() for line in block.split(b"\n")[:-1]
    )
    for name, of_read in groupby(rows, key=lambda row: row[0]):
        yield name, [Alignment(row[1], *map(int, row[2:])) for row in of_read if len(row) > 1]


def _line(name: str, found: ReadCall) -> str:
    best = found.best
    columns = (
        name,
        *(found.call or ("", "")),
        best.contig if best else "",
        f"{best.identity:.4f}" if best else "",
        f"{best.aligned_share:.4f}" if best else "",
        str(found.contigs),
        found.reason or "",
    )
    return "\t".join(columns) + "\n"


@contextmanager
def _text(path: Path) -> Iterator[Iterator[str]]:
    with open_decompressed(path) as stream:
        yield (line.decode(errors=_BYTES) for line in stream)

"""The files that VirNucPro's own preparation writes: chunks, and the candidates' two sequences.

The input is read twice: first for the names, because a late name can decide the new name of an earlier repeat, then for
the records, which are written as they are read. Each record is
a header line and one sequence line, in the order of the input. Chunks keep the case of the
input; candidates are in upper case.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from virnucpro_assets.files.atomic import atomic_file, errors_naming, temporary_folder
from virnucpro_assets.files.user_paths import check_outputs, note_outputs, require_plain_file
from virnucpro_assets.sequences.batches import FRAMES, CandidateBatch
from virnucpro_assets.sequences.chunks import chunks_of
from virnucpro_assets.sequences.frames import candidates_of
from virnucpro_assets.sequences.names import DuplicatePolicy, ReadNames, Renames, remarks_on_names
from virnucpro_assets.sequences.ragged import Ragged, gather_segments
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.sequences.reads import read_batches

CHUNKS_FILE = "chunks.fa"
NUCLEOTIDE_FILE = "nucleotide.fa"
PROTEIN_FILE = "protein.faa"
FILES = (CHUNKS_FILE, NUCLEOTIDE_FILE, PROTEIN_FILE)


@dataclass(frozen=True, slots=True)
class PrepareSummary:
    """Counts of what was written, and the renamed reads.

    `with_u` reads have a U, which is read as T; `unreadable` candidates have under half of their codons readable.
    """

    reads: int
    chunks: int
    candidates: int
    with_u: int
    unreadable: int
    renames: Renames

    @property
    def remarks(self) -> list[str]:
        """Remarks about the names of the reads, a line each."""
        examples = self.renames.examples
        example = f" ({examples[0][0]} to {examples[0][1]})" if examples else ""
        return remarks_on_names(self.reads, self.renames.count, self.renames.lone_mates, example)


def prepare(
    files: Sequence[ReadFile], out: Path, *, chunk_length: int, duplicates: DuplicatePolicy = "suffix"
) -> PrepareSummary:
    """Write `chunks.fa`, `nucleotide.fa` and `protein.faa` of the reads in `files` to `out`.

    All three appear together at the end. Raises InputError on wrong input, on a pipe (it cannot be read twice), on a
    repeated name if `duplicates` is "refuse", and if `out` has an input or a file of another origin under one of these
    names; then `out` is left as it was.
    """
    for file in files:
        require_plain_file(file.path)
    check_outputs(out, FILES, [file.path for file in files])
    out.parent.mkdir(parents=True, exist_ok=True)
    renames = _resolved_names(files, out, duplicates)
    reads = chunks = candidates = with_u = unreadable = 0
    with ExitStack() as stack:
        stack.enter_context(errors_naming(out))
        streams = [stack.enter_context(atomic_file(out / name)) for name in FILES]
        for batch in read_batches(files):
            names = renames.apply(batch.first, batch.names)
            found, outcomes = candidates_of(batch, chunk_length)
            with_u += outcomes.with_u
            unreadable += int(outcomes.unreadable.sum())
            reads += len(names)
            chunks += _write_chunks(streams[0], batch.bases, names, chunk_length)
            candidates += _write_candidates(streams[1:], found, batch.first, names)
        # A full disk must be an error before the first of the three gets its name.
        for stream in streams:
            stream.flush()
            os.fsync(stream.fileno())
        note_outputs(out, {name: Path(stream.name) for name, stream in zip(FILES, streams, strict=True)})
    return PrepareSummary(reads, chunks, candidates, with_u, unreadable, renames)


def _resolved_names(files: Sequence[ReadFile], out: Path, duplicates: DuplicatePolicy) -> Renames:
    with errors_naming(out), temporary_folder(out.parent, out.name) as temporary:
        names = ReadNames(temporary, policy=duplicates)
        for batch in read_batches(files):
            names.add(batch.names, batch.file)
        return names.resolve()


def _write_chunks(stream: IO[bytes], bases: Ragged, names: list[str], chunk_length: int) -> int:
    chunks = chunks_of(bases.lengths, chunk_length)
    sequences = gather_segments(bases.data, bases.offsets[chunks.read] + chunks.start, chunks.length)
    ids = [
        f"{names[read]}_chunk_{number}"
        for read, number in zip(chunks.read.tolist(), chunks.number.tolist(), strict=True)
    ]
    stream.write(_fasta(ids, sequences))
    return len(ids)


def _write_candidates(
    streams: Sequence[IO[bytes]], candidates: CandidateBatch, first: int, names: list[str]
) -> int:
    occurrences = zip(
        candidates.read.tolist(), candidates.chunk.tolist(), candidates.frame.tolist(), strict=True
    )
    ids = [f"{names[read - first]}_chunk_{chunk}{FRAMES[frame]}" for read, chunk, frame in occurrences]
    for stream, sequences in zip(streams, (candidates.nucleotides, candidates.proteins), strict=True):
        stream.write(_fasta(ids, sequences))
    return len(ids)


def _fasta(ids: list[str], sequences: Ragged) -> bytes:
    return b"".join(b">%b\n%b\n" % (name.encode(), sequences[i]) for i, name in enumerate(ids))

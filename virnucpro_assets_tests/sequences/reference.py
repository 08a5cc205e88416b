"""What the rules make of reads, one at a time in plain Python, and strategies for reads to try them on.

The letter U is in none of the reads: the original reads it in a way of its own.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import strategies as st

from benchmarks.baselines import preparation
from virnucpro_assets.sequences.batches import FRAMES, CandidateBatch, ReadBatch
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets_tests.frameless import STOPS

CODON = re.compile("[ACGT]{3}", re.IGNORECASE)


class Candidate(NamedTuple):
    """One candidate of a drop; `frame` is its name."""

    read: int
    chunk: int
    frame: str
    nucleotides: bytes
    protein: bytes


def batch_of(reads: list[bytes], first: int = 0) -> ReadBatch:
    """A batch of reads named by their position in the drop."""
    return ReadBatch(first, [f"read{first + i}" for i in range(len(reads))], Ragged.from_strings(reads))


def records_of(batches: Iterable[ReadBatch]) -> list[tuple[str, str]]:
    """The names and letters of the reads of some batches."""
    return [
        (name, batch.bases[place].decode()) for batch in batches for place, name in enumerate(batch.names)
    ]


def listed(batch: CandidateBatch) -> list[Candidate]:
    """The candidates of a batch."""
    places = zip(batch.read.tolist(), batch.chunk.tolist(), batch.frame.tolist(), strict=True)
    return [
        Candidate(read, chunk, FRAMES[frame], batch.nucleotides[i], batch.proteins[i])
        for i, (read, chunk, frame) in enumerate(places)
    ]


def reference_chunks(bases: bytes, chunk_length: int) -> list[str]:
    """The chunks of one read by VirNucPro's own loop."""
    record = SeqRecord(Seq(bases), id="read")
    return [str(chunk.seq) for chunk in preparation.chunks_of(record, chunk_length)]


def reference_candidates(
    reads: list[bytes], chunk_length: int, *, first: int = 0, whole_chunks: bool = False
) -> list[Candidate]:
    """The candidates by VirNucPro's own loop; with `whole_chunks` also those of reads without a stop-free frame."""
    found = []
    for read, bases in enumerate(reads, first):
        chunks = list(enumerate(reference_chunks(bases, chunk_length), 1))
        own = [
            Candidate(read, number, frame, nucleotides.encode(), protein.encode())
            for number, chunk in chunks
            for frame, nucleotides, protein in preparation.candidates_of(chunk)
        ]
        if whole_chunks and not own:
            own = [
                Candidate(read, number, "N0", chunk.upper().encode(), b"")
                for number, chunk in chunks
                if CODON.search(chunk)
            ]
        found += own
    return found


def reason_for(bases: bytes, members: int, chunk_length: int) -> str:
    """Why a read with so many members has none."""
    if members:
        return ""
    if len(bases) < 3:
        return "too_short" if bases else "empty"
    has_codon = any(CODON.search(chunk) for chunk in reference_chunks(bases, chunk_length))
    return "no_stop_free_frame" if has_codon else "no_codon"


def reference_names(names: list[str]) -> list[str]:
    """The final names: the first keeps its own, the next get `_1`, `_2` … that no read of the drop has."""
    existing, seen, final = set(names), set(), []
    for name in names:
        new, number = name, 0
        while new in seen or (number and new in existing):
            number += 1
            new = f"{name}_{number}"
        seen.add(new)
        final.append(new)
    return final


def _bases(letters: str, length: int) -> st.SearchStrategy[bytes]:
    return st.text(letters, min_size=length, max_size=length).map(str.encode)


_letters = st.sampled_from(["ACGT", "acgtACGT", "CCCGGGACGTN", "ACGTnRYKMSWBDHVrykmX-.*"])
_any_bases = st.builds(_bases, _letters, st.integers(0, 120)).flatmap(lambda bases: bases)
_frameless = _any_bases.map(lambda bases: STOPS + bases[:24]) | st.integers(1, 5).map(
    lambda times: STOPS * times
)
_mixed = st.lists(_any_bases | _frameless, min_size=1, max_size=6)
_alike = st.integers(3, 12).flatmap(lambda length: st.lists(_bases("ACG", length), min_size=6, max_size=12))


@st.composite
def drops(draw: st.DrawFn) -> list[bytes]:
    """Reads of random bases, of few known letters, with stops in all frames, or all of one length; some come again."""
    pool = draw(_mixed | _alike)
    return draw(st.lists(st.sampled_from(pool), max_size=12))


chunk_lengths = st.integers(3, 60) | st.sampled_from([24, 48, 300])

"""VirNucPro's own way from reads to candidates: Biopython records, chunk by chunk, codon by codon.

A FASTA file is read with Biopython and written again as chunks; that file is read in its turn, every
chunk is translated in six frames, one codon after the other, by looking it up in a dictionary, and the
frames without a stop codon are written, one file of nucleotides and one of proteins. The rules
are those of Li et al. (Briefings in Bioinformatics 2025, bbaf224), restated; the three files equal
the original's byte by byte.
"""

from collections.abc import Iterator
from pathlib import Path

from Bio import SeqIO
from Bio.Data.CodonTable import unambiguous_dna_by_id
from Bio.SeqRecord import SeqRecord

STANDARD = unambiguous_dna_by_id[1]
RESIDUES = dict(STANDARD.forward_table) | dict.fromkeys(STANDARD.stop_codons, "*")
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}


def prepare(reads: Path, out: Path, chunk_length: int) -> int:
    """Write `chunks.fa`, `nucleotide.fa` and `protein.faa` of a FASTA file to `out`; returns the candidates."""
    with reads.open() as records, (out / "chunks.fa").open("w") as chunks:
        for record in SeqIO.parse(records, "fasta"):
            SeqIO.write(chunks_of(record, chunk_length), chunks, "fasta")
    count = 0
    with (
        (out / "chunks.fa").open() as chunks,
        (out / "nucleotide.fa").open("w") as nucleotides,
        (out / "protein.faa").open("w") as proteins,
    ):
        for chunk in SeqIO.parse(chunks, "fasta"):
            for name, bases, residues in candidates_of(str(chunk.seq)):
                nucleotides.write(f">{chunk.id}{name}\n{bases}\n")
                proteins.write(f">{chunk.id}{name}\n{residues}\n")
                count += 1
    return count


def chunks_of(record: SeqRecord, chunk_length: int) -> Iterator[SeqRecord]:
    """Windows of at most `chunk_length` bases, overlapping so that all but the last are full."""
    length = len(record.seq)
    count = -(-length // chunk_length)
    surplus = count * chunk_length - length
    share = surplus // count if count else 0
    start = 0
    for number in range(1, count + 1):
        yield SeqRecord(
            record.seq[start : start + chunk_length], id=f"{record.id}_chunk_{number}", description=""
        )
        is_longer = number - 1 < surplus - share * (count - 1)
        start += chunk_length - share - is_longer


def candidates_of(sequence: str) -> Iterator[tuple[str, str, str]]:
    """Frame, nucleotides and residues of every frame that has residues and no stop."""
    forward = sequence.upper()
    backward = "".join(COMPLEMENT.get(base, base) for base in reversed(forward))
    for strand, letters in (("F", forward), ("R", backward)):
        for frame in range(3):
            residues = ""
            for place in range(frame, len(letters) - 2, 3):
                codon = letters[place : place + 3]
                if codon in RESIDUES:
                    residues += RESIDUES[codon]
            if residues and "*" not in residues:
                yield f"{strand}{frame + 1}", letters[frame : frame + 1 + 3 * len(residues)], residues

"""The golden files of the preparation, and their one read of RNA, in which the original reads no codon with a U."""

from pathlib import Path

GOLDEN = Path(__file__).parent / "golden" / "prep"
RNA = "uracil_300"


def without_rna(fasta: str) -> str:
    """The records of a FASTA text that are not of the read of RNA."""
    return "".join(f">{record}" for record in fasta.split(">")[1:] if not record.startswith(f"{RNA}_"))

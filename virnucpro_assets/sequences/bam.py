"""Reads of a BAM file, aligned or not, through pysam.

Each read comes once, as the sequencer gave it: secondary and supplementary records are passed
over, and a read aligned to the reverse strand is turned back.
"""

from collections.abc import Iterator
from pathlib import Path

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.sequences.read_files import with_mate

_SECONDARY_OR_SUPPLEMENTARY = 0x100 | 0x800
# The extra field in the header of a gzip member that is a block.
_BGZF, _BGZF_PLACE = b"BC\x02\x00", 12


def bam_records(path: Path, mate: int) -> Iterator[tuple[str, str]]:
    """(name, sequence) of each read; the flags, or else `mate`, say which suffix a name gets.

    A read whose sequence is not stored is empty. A cut or damaged file is an InputError.
    """
    with path.open("rb") as file:
        start = file.read(_BGZF_PLACE + len(_BGZF))
    if not start.startswith(b"BAM\x01") and start[_BGZF_PLACE:] != _BGZF:
        raise InputError(
            path,
            found="BAM data that are packed otherwise than in blocks",
            expected="BAM in BGZF, as samtools writes it",
            advice="Unpack it, and write it again with `samtools view -b`.",
        )
    # Here and not above: most drops have no BAM, and pysam is slow to import.
    import pysam  # noqa: PLC0415

    # htslib writes of its own to standard error; the exceptions say the same.
    verbosity = pysam.set_verbosity(0)
    try:
        with pysam.AlignmentFile(str(path), "rb", check_sq=False) as records:
            for record in records.fetch(until_eof=True):
                if record.flag & _SECONDARY_OR_SUPPLEMENTARY:
                    continue
                flagged = 1 if record.is_read1 else 2 if record.is_read2 else mate
                yield with_mate(record.query_name or "", flagged), record.get_forward_sequence() or ""
    except (OSError, ValueError, NotImplementedError) as error:
        raise InputError(
            path,
            found=f"damaged BAM data ({excerpt(error)})",
            expected="a whole BAM file that ends with its end-of-file block",
            advice="Copy the file again or write it again with `samtools view -b`.",
        ) from error
    finally:
        pysam.set_verbosity(verbosity)

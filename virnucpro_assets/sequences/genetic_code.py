"""The standard genetic code (NCBI translation table 1) as tables for whole arrays.

Bases become digits A 0, C 1, G 2, T and the U of RNA 3, any other letter 4; a codon is the number
25 * first + 5 * second + third, below 125, so a codon with another letter has a number of its own.
The tables are bytes for `bytes.translate`, the fastest look-up by byte.
"""

BASES = b"ACGT"
OTHER = len(BASES)
NO_RESIDUE = 0
STOP = ord("*")

# Residues in the order of NCBI's table: the first, second and third base go through T, C, A, G.
_NCBI_BASES = b"TCAG"
_NCBI_RESIDUES = b"FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"


def _digits() -> bytes:
    table = bytearray([OTHER]) * 256
    for digit, letter in enumerate(BASES):
        table[letter] = table[letter | 0x20] = digit
    return _with_u_as_t(table)


def _complements() -> bytes:
    table = bytearray(UPPER_OF_LETTER)
    for letter, complement in zip(BASES, reversed(BASES), strict=True):
        table[letter] = table[letter | 0x20] = complement
    return _with_u_as_t(table)


def _with_u_as_t(table: bytearray) -> bytes:
    table[ord("U")] = table[ord("u")] = table[ord("T")]
    return bytes(table)


def _residues() -> bytes:
    table = bytearray([NO_RESIDUE]) * 256
    positions = [BASES.index(letter) for letter in _NCBI_BASES]
    codons = [25 * a + 5 * b + c for a in positions for b in positions for c in positions]
    for codon, residue in zip(codons, _NCBI_RESIDUES, strict=True):
        table[codon] = residue
    return bytes(table)


def _reversed_codon(codon: int) -> int:
    first, second, third = codon // 25, codon // 5 % 5, codon % 5
    return 25 * (3 - third) + 5 * (3 - second) + (3 - first)


DIGIT_OF_LETTER = _digits()
"""256 bytes: the digit of a letter of either case."""

UPPER_OF_LETTER = _with_u_as_t(bytearray(range(256)).upper())
"""256 bytes: the upper case of an ASCII letter, T for U."""

COMPLEMENT_OF_LETTER = _complements()
"""256 bytes: the complement of A, C, G, T, U of either case, and the upper case of every other letter."""

RESIDUE_OF_CODON = _residues()
"""256 bytes: the amino acid of a codon, STOP, or NO_RESIDUE if it has another letter."""

REVERSE_RESIDUE_OF_CODON = bytes(
    RESIDUE_OF_CODON[_reversed_codon(codon)] if RESIDUE_OF_CODON[codon] else NO_RESIDUE
    for codon in range(256)
)
"""256 bytes: the amino acid of a codon's reverse complement."""

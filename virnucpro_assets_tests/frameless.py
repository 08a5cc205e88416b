"""Reads in which no frame is stop-free, made from random ones, and a drop that mixes them with others."""

import random

STOPS = b"TAACTAACTAACTTAGTTAGTTAG"
"""Stops in all six frames."""

COMPLEMENT = bytes.maketrans(b"ACGTacgt", b"TGCAtgca")
CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in {"TAA", "TAG", "TGA"}]


def frameless_bases(length: int, seed: int) -> bytes:
    """Random bases with stops in all six frames about every hundred, so that no chunk is without them."""
    rng = random.Random(seed)
    pieces = (STOPS + "".join(rng.choices("ACGT", k=76)).encode() for _ in range(length // 100 + 1))
    return b"".join(pieces)[:length]


def coding_bases(codons: int, seed: int) -> bytes:
    """Random bases whose first frame has no stop."""
    return "".join(random.Random(seed).choices(CODONS, k=codons)).encode()


def mixed_reads() -> dict[str, bytes]:
    """Reads with and without a stop-free frame, by a name that says what each is."""
    frameless = frameless_bases(180, 1)
    return {
        "framed": coding_bases(60, 2),
        "frameless": frameless,
        "lower": frameless.lower(),
        "reverse": frameless.translate(COMPLEMENT)[::-1],
        "half": frameless_bases(300, 3) + coding_bases(100, 4),
        "long": frameless_bases(700, 5),
        "unknown": b"N" * 200,
        "last": frameless_bases(150, 6) + b"N" * 450,
        "again": coding_bases(60, 2),
    }

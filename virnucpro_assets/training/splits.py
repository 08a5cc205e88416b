"""Splits: which rows are for training, validation and test, by genome and not by row.

Rows of one genome resemble each other, so a source is in one split as a whole. The split follows from the source's name
and the seed, in such a way that most sources keep their split when others are added or removed. A class with fewer than
three sources cannot be split this way: each source is cut into three regions in the order of the input instead, and a
chunk between two regions is left out, because neighbours overlap.

Then each split is balanced: as many rows of viruses as of others, and no source with many more rows than the others of
its class. Rows are left out at random, by the seed.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import counted

Integers = npt.NDArray[np.int64]

SPLITS = ("training", "validation", "test")
TRAINING, VALIDATION, TEST = range(3)
LEFT_OUT = -1
FEWEST_SOURCES = 3
FEWEST_CHUNKS = 5
TOO_LARGE = 1.5
"""A source with more than this many times the rows that a split still needs is left for another split."""


def split_of_sources(
    names: Sequence[str], rows: Integers, shares: tuple[float, float], seed: int
) -> Integers:
    """int64 [n]: the split of each of n different sources, at least three, of int64 [n] `rows`.

    `shares` are the shares of all rows for validation and test. Sources are taken in the order of a digest of seed and
    name; those with many more rows than a split still needs are skipped. Each split gets at least one source.
    """
    order = sorted(
        range(len(names)), key=lambda position: hashlib.sha256(f"{seed}\0{names[position]}".encode()).digest()
    )
    splits = np.full(len(names), TRAINING, np.int64)
    for split, share, later in ((TEST, shares[1], 2), (VALIDATION, shares[0], 1)):
        wanted = share * float(rows.sum())
        taken: list[int] = []
        for position in order:
            left = wanted - float(rows[taken].sum())
            if left <= 0 or len(order) - len(taken) == later:
                break
            if rows[position] <= TOO_LARGE * left:
                taken.append(position)
        taken = taken or [min(order, key=lambda position: abs(float(rows[position]) - wanted))]
        splits[taken] = split
        order = [position for position in order if position not in taken]
    return splits


def split_of_regions(positions: Integers, shares: tuple[float, float]) -> Integers:
    """int64 [n]: the split of each row of one source by its position in the input, which is its chunk.

    The first region is for training, then come validation and test with their `shares` of the chunks;
    the chunk at each border is LEFT_OUT. A source of fewer than five chunks is for training as a whole.
    """
    chunks, chunk = np.unique(positions, return_inverse=True)
    count = len(chunks)
    if count < FEWEST_CHUNKS:
        return np.full(len(positions), TRAINING, np.int64)
    validation, test = (max(1, round(share * count)) for share in shares)
    test_begins = count - test
    validation_begins = max(2, test_begins - 1 - validation)
    of_chunk = np.full(count, TRAINING, np.int64)
    of_chunk[validation_begins - 1] = LEFT_OUT
    of_chunk[validation_begins:test_begins] = VALIDATION
    of_chunk[test_begins - 1] = LEFT_OUT
    of_chunk[test_begins:] = TEST
    return of_chunk[chunk]


def balanced(
    is_virus: npt.NDArray[np.bool_], source: Integers, factor: float, random: np.random.Generator
) -> Integers:
    """int64 [k]: the positions of the rows that are kept, ascending.

    `source` int64 [n] is the source of each row. A source keeps at most `factor` times the median number of
    rows of the sources of its class. Then the larger class loses rows of its largest sources until
    both are equal.
    """
    classes = [np.flatnonzero(is_virus), np.flatnonzero(~is_virus)]
    counts = [np.unique(source[rows], return_counts=True) for rows in classes]
    caps = [max(1, int(factor * np.median(of_source))) if len(of_source) else 0 for _, of_source in counts]
    target = min(
        int(np.minimum(of_source, cap).sum()) for (_, of_source), cap in zip(counts, caps, strict=True)
    )
    kept = []
    for rows, (sources, of_source) in zip(classes, counts, strict=True):
        quotas = quotas_of(of_source, target)
        for one, quota in zip(sources.tolist(), quotas.tolist(), strict=True):
            own = rows[source[rows] == one]
            kept.append(random.choice(own, quota, replace=False))
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)


def quotas_of(counts: Integers, target: int) -> Integers:
    """int64 [n]: how many rows each source gives, `target` in all, none more than it has in `counts`.

    The quotas are as equal as they can be: what small sources lack is taken from larger ones. Raises
    ValueError if there are fewer rows than the target.
    """
    if counts.sum() < target:
        raise ValueError(f"{counted(counts.sum(), 'row')} where {target} are to be chosen")
    quotas = np.zeros(len(counts), np.int64)
    order = np.argsort(counts, kind="stable")
    left = target
    for done, position in enumerate(order.tolist()):
        quotas[position] = min(int(counts[position]), left // (len(order) - done))
        left -= quotas[position]
    return quotas

"""Cache hits: the rows of a part that the embedding cache gives, and what a part gives to the cache.

They are looked up before a part is computed, and left out of its packs; the part is then written whole. What
was computed is kept for other drops only after the part is on the disk, and only if it was computed as planned:
no row that was computed again in another precision, and none that holds NaN or Inf. A cache that
cannot be written only costs time later, so that is a warning and no error.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import VirnucproError, describe_os_error
from virnucpro_assets.inference.embedding import Embedded
from virnucpro_assets.inference.messages import PartTask
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.cached_rows import CachedRows
from virnucpro_assets.storage.embedding_cache import EmbeddingCache, Keys, cache_namespace, keep_rows, keys_of
from virnucpro_assets.storage.parts import PartRecord, write_part
from virnucpro_assets.storage.provenance import Incidents, finite_rows

Rows = npt.NDArray[np.int64]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CacheHits:
    """The int64 [m] `rows` of the index that the cache gave and their embeddings, float32 [m, width].

    `missing_keys`, uint64 [n, 2], are those of the rows that it did not give, and `warnings` lines for people.
    """

    rows: Rows
    embeddings: Embeddings
    missing_keys: Keys
    warnings: list[str]

    def joined(self, rows: Rows, computed: Embeddings) -> Embeddings:
        """float32 [m + n, width]: embeddings of the cache and computed ones, in the order of their rows."""
        order = np.argsort(np.concatenate([self.rows, rows]))
        return np.concatenate([self.embeddings, computed])[order]


def look_up(
    cached: CachedRows, rows: Rows, sequences: Ragged, left_out: Collection[int]
) -> tuple[CacheHits, Rows]:
    """The cache's hits among `rows`, without those `left_out`, and the positions of the misses."""
    keys = keys_of(sequences)
    wanted = np.flatnonzero(~np.isin(rows, list(left_out)))
    found = cached.find(keys[wanted])
    positions = wanted[found.positions]
    misses = np.setdiff1d(np.arange(len(rows)), positions)
    return CacheHits(rows[positions], found.embeddings, keys[misses], found.warnings), misses


def write_and_keep(
    task: PartTask, rows: Rows, hits: CacheHits | None, embedded: Embedded, incidents: Incidents
) -> tuple[PartRecord, list[str]]:
    """Write a part of the hits and of what was computed for `rows`; then keep the computed rows for other drops.

    Gives the part's record and warnings.
    """
    computed = embedded.embeddings
    record = write_part(
        task.target,
        task.plan,
        task.recipe,
        computed if hits is None else hits.joined(rows, computed),
        embedded.counts,
        incidents=incidents,
        cached=0 if hits is None else len(hits.rows),
    )
    if hits is None or task.cache is None:
        return record, []
    kept = worth_keeping(rows, computed, incidents)
    warnings = keep_computed(task.cache, cache_namespace(task.recipe), hits, computed, kept)
    return record, [*hits.warnings, *warnings]


def worth_keeping(rows: Rows, computed: Embeddings, incidents: Incidents) -> npt.NDArray[np.bool_]:
    """bool [n]: which of the rows were computed as planned, so that another drop would compute the same."""
    exceptions = [*incidents.recomputed, *(row.row for row in incidents.quarantined)]
    return ~np.isin(rows, exceptions) & finite_rows(computed)


def keep_computed(
    cache: EmbeddingCache,
    namespace: str,
    hits: CacheHits,
    computed: Embeddings,
    kept: npt.NDArray[np.bool_],
) -> list[str]:
    """Keep the rows `kept` of what was computed, float32 [n, width], for other drops; gives warnings."""
    try:
        keep_rows(cache, namespace, hits.missing_keys[kept], computed[kept])
    except (VirnucproError, OSError) as error:
        why = describe_os_error(error) if isinstance(error, OSError) else str(error)
        return [f"no rows were added to the embedding cache: {why}"]
    return []

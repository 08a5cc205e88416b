"""Known rows: those of a part that the embedding cache gives, and what a part gives to the cache.

They are looked up before a part is computed, and left out of its packs; the part is then written whole. What
was computed is kept for others only after the part is on the disk, and only where it is what it should
be: no row that was computed again in another precision, and none that holds NaN or Inf. A cache that
cannot be written costs nothing but time later, so it is said, and no error.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import VirnucproError, describe_os_error
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.cached_rows import CachedRows
from virnucpro_assets.storage.embedding_cache import EmbeddingCache, Keys, keep_rows, keys_of
from virnucpro_assets.storage.incidents import Incidents, finite_rows

Rows = npt.NDArray[np.int64]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class KnownRows:
    """The int64 [m] `rows` of the index that were known and their embeddings, float32 [m, width].

    `keys`, uint64 [n, 2], are those of the rows that were not, and `said` is what people should hear.
    """

    rows: Rows
    embeddings: Embeddings
    keys: Keys
    said: list[str]

    def joined(self, rows: Rows, computed: Embeddings) -> Embeddings:
        """float32 [m + n, width]: known and computed embeddings, in the order of their rows."""
        order = np.argsort(np.concatenate([self.rows, rows]))
        return np.concatenate([self.embeddings, computed])[order]


def look_up(
    cached: CachedRows, rows: Rows, sequences: Ragged, left_out: Collection[int]
) -> tuple[KnownRows, Rows]:
    """What the cache knows of `rows`, of which those `left_out` are not asked for, and the positions of the others."""
    keys = keys_of(sequences)
    asked = np.flatnonzero(~np.isin(rows, list(left_out)))
    found = cached.find(keys[asked])
    positions = asked[found.positions]
    unknown = np.setdiff1d(np.arange(len(rows)), positions)
    return KnownRows(rows[positions], found.rows, keys[unknown], found.warnings), unknown


def worth_keeping(rows: Rows, computed: Embeddings, incidents: Incidents) -> npt.NDArray[np.bool_]:
    """bool [n]: which of the computed rows came about as planned."""
    apart = [*incidents.recomputed, *(row.row for row in incidents.quarantined)]
    return ~np.isin(rows, apart) & finite_rows(computed)


def keep_computed(
    cache: EmbeddingCache, maker: str, known: KnownRows, computed: Embeddings, kept: npt.NDArray[np.bool_]
) -> list[str]:
    """Keep the rows `kept` of what was computed, float32 [n, width], for others; what people should hear."""
    try:
        keep_rows(cache, maker, known.keys[kept], computed[kept])
    except (VirnucproError, OSError) as error:
        why = describe_os_error(error) if isinstance(error, OSError) else str(error)
        return [f"the embedding cache takes nothing up: {why}"]
    return []

"""A recipe of embeddings that no encoder made, for files that are written by hand."""

from virnucpro_assets.storage.provenance import Recipe


def some_recipe(**changes: object) -> Recipe:
    """A recipe in which only `changes` differ from those of other tests."""
    fields = {
        "encoder": "esm2",
        "index_digest": "1" * 64,
        "weights_digest": "2" * 64,
        "precision": "float32",
        "attention": "dense-runs",
        "token_budget": 8192,
        "packs_per_part": 64,
        "ranks": 4,
        "engine_format": 4,
    }
    return Recipe(**fields | changes)

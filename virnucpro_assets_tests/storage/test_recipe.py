"""Digests of recipes: what makes two embeddings the same, and what only their rows."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.storage.embedding_cache import cache_namespace
from virnucpro_assets.storage.provenance import Recipe

NOT_OF_A_ROW = {"index_digest", "token_budget", "packs_per_part", "ranks", "cached"}

recipes = st.fixed_dictionaries(
    {name: st.from_type(field.annotation) for name, field in Recipe.model_fields.items()}
)


@given(recipes, recipes)
def test_every_changed_field_changes_the_digest_and_nothing_else_does(
    fields: dict[str, Any], others: dict[str, Any]
) -> None:
    recipe = Recipe(**fields)
    assert Recipe(**dict(reversed(fields.items()))).digest == recipe.digest
    assert Recipe.model_validate_json(recipe.model_dump_json()).digest == recipe.digest
    for name, value in others.items():
        changed = Recipe(**fields | {name: value})
        is_same = value == fields[name]
        assert (changed.digest == recipe.digest) is is_same
        assert (cache_namespace(changed) == cache_namespace(recipe)) is (is_same or name in NOT_OF_A_ROW)
        assert recipe.differences(changed) == ([] if is_same else [f"{name} {fields[name]} is now {value}"])

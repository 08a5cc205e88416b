"""Digests of recipes: what makes two embeddings the same, and what only their rows; telemetry of parts put together."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.storage.embedding_cache import cache_namespace
from virnucpro_assets.storage.provenance import Recipe, Telemetry

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


def test_figures_of_parts_add_up_and_memory_is_the_largest() -> None:
    one = Telemetry(
        sequences=3,
        flops=40,
        possible_flops=100.0,
        loading=1.5,
        waited_for_input=0.5,
        waited_for_output=0.25,
        peak_memory=7,
    )
    other = Telemetry(
        sequences=2, flops=20, possible_flops=20.0, loading=2.0, waited_for_output=1.0, peak_memory=5
    )
    both = one + other
    assert both == Telemetry(
        sequences=5,
        flops=60,
        possible_flops=120.0,
        loading=3.5,
        waited_for_input=0.5,
        waited_for_output=1.25,
        peak_memory=7,
    )
    assert both.mfu == 0.5


def test_without_a_peak_there_is_no_utilisation() -> None:
    assert Telemetry(flops=40).mfu is None

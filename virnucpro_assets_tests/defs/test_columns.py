"""What the UI says of columns: every one has a meaning, and is made from columns that are there."""

import dagster as dg
import pytest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.columns import COLUMNS, of_arrays, of_table
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import READ_SCHEMA
from virnucpro_assets.storage.prediction_tables import PREDICTION_SCHEMA


@pytest.mark.parametrize(
    ("asset", "schema"), [("predictions", PREDICTION_SCHEMA), ("virus_calls", READ_SCHEMA)]
)
def test_every_column_of_a_table_has_its_type_and_a_meaning(asset, schema):
    shown = of_table(asset, schema)["dagster/column_schema"].columns

    assert [column.name for column in shown] == schema.names == list(COLUMNS[asset])
    assert [column.type for column in shown] == [str(field.type) for field in schema]
    assert [column.constraints.nullable for column in shown] == [field.nullable for field in schema]
    assert all(column.description for column in shown)


def test_a_column_is_made_from_columns_of_assets_that_its_asset_depends_on():
    graph = build_definitions(Settings()).resolve_asset_graph()
    assets = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}

    for asset, columns in COLUMNS.items():
        inputs = {key.to_user_string() for key in assets[asset].parent_keys}
        for name, (_, sources) in columns.items():
            for source in sources.split():
                made_from, _, column = source.partition(".")
                assert made_from in inputs, (asset, name, source)
                assert column in COLUMNS[made_from]


def test_the_lineage_of_embeddings_names_what_was_embedded():
    shown = of_arrays("esm2_embeddings", {"rows": "int64", "embeddings": "float32[64]"})

    assert shown["dagster/column_lineage"].deps_by_column == {
        "embeddings": [dg.TableColumnDep(dg.AssetKey("sequence_index"), "protein")]
    }
    assert [column.type for column in shown["dagster/column_schema"].columns] == ["int64", "float32[64]"]


def test_every_asset_has_the_owner_of_the_settings_a_group_kinds_and_a_description():
    definitions = build_definitions(Settings(owner="olga@example.org"))

    for spec in definitions.resolve_all_asset_specs():
        assert list(spec.owners) == ["olga@example.org"]
        assert spec.group_name != "default"
        assert spec.kinds
        assert spec.description

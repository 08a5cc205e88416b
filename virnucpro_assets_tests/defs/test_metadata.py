"""Metadata as the UI shows it; every column has a meaning, and is made from columns that are there."""

import base64
from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from virnucpro_assets.defs import metadata
from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.call_tables import READ_SCHEMA
from virnucpro_assets.storage.prediction_tables import PREDICTION_SCHEMA


def test_a_path_is_shown_from_the_root():
    assert metadata.path(Path("here")).value == str(Path.cwd() / "here")


def test_a_picture_is_shown_in_place():
    shown = metadata.picture(b"png").value

    assert shown == f"![plot](data:image/png;base64,{base64.b64encode(b'png').decode()})"


def test_counts_are_a_table_of_two_columns():
    assert metadata.counts_table({"empty": 1200, "too_short": 3}, "reason").value.splitlines() == [
        "| reason | count |",
        "| --- | ---: |",
        "| empty | 1,200 |",
        "| too_short | 3 |",
    ]


def test_a_page_is_a_link_where_the_settings_say_at_which_address_pages_are_served(tmp_path: Path) -> None:
    place = tmp_path / "data" / "d1" / "0123456789ab" / "report.html"
    assert metadata.page(place, Settings(data_root=tmp_path / "data")) == dg.MetadataValue.path(str(place))
    served = Settings(data_root=tmp_path / "data", reports_url="https://host.example/reports/")
    assert metadata.page(place, served) == dg.MetadataValue.url(
        "https://host.example/reports/d1/0123456789ab/report.html"
    )


def test_an_address_of_pages_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="reports_url"):
        Settings(reports_url="host.example/reports")


@pytest.mark.parametrize(
    ("asset", "schema"), [("predictions", PREDICTION_SCHEMA), ("virus_calls", READ_SCHEMA)]
)
def test_every_column_of_a_table_has_its_type_and_a_meaning(asset, schema):
    shown = metadata.columns_of_table(asset, schema)["dagster/column_schema"].columns

    assert [column.name for column in shown] == schema.names == list(metadata.COLUMNS[asset])
    assert [column.type for column in shown] == [str(field.type) for field in schema]
    assert [column.constraints.nullable for column in shown] == [field.nullable for field in schema]
    assert all(column.description for column in shown)


def test_a_column_is_made_from_columns_of_assets_that_its_asset_depends_on():
    graph = build_definitions(Settings()).resolve_asset_graph()
    assets = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}

    for asset, columns in metadata.COLUMNS.items():
        inputs = {key.to_user_string() for key in assets[asset].parent_keys}
        for name, (_, sources) in columns.items():
            for source in sources.split():
                made_from, _, column = source.partition(".")
                assert made_from in inputs, (asset, name, source)
                assert column in metadata.COLUMNS[made_from]


def test_the_lineage_of_embeddings_names_what_was_embedded():
    shown = metadata.columns_of_arrays("esm2_embeddings", {"rows": "int64", "embeddings": "float32[64]"})

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

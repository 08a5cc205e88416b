"""A drop through `dagster asset materialize`, and what the instance holds of it afterwards."""

from itertools import pairwise
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.shards import read_shard
from virnucpro_assets_tests.deployments import BY_DROP, BY_RANK

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:.*is in beta:dagster_shared.utils.warnings.BetaWarning"),
    pytest.mark.slow,
]

MODULE = ("-m", "virnucpro_assets.definitions")
RANKS = [f"d1|{rank}" for rank in range(4)]
CHECKS = {
    "sequence_index": ["every_read_accounted_for"],
    "dnabert_s_embeddings": ["finite_values", "packing_efficiency"],
    "esm2_embeddings": ["finite_values", "packing_efficiency"],
    "merged_embeddings": ["completeness"],
    "predictions": [
        "precision_in_use_matches_float32",
        "float16_matches_float32",
        "packed_matches_one_at_a_time",
    ],
}


@pytest.fixture(scope="module")
def materialised(new_deployment):
    """A deployment whose drop d1, of 40 reads, went through the commands of its runs, rank by rank."""
    deployment = new_deployment()
    deployment.deliver("d1", 40)
    materialise = ("dagster", "asset", "materialize", *MODULE)
    for selection, partition in (
        ("classifier,sequence_drop,sequence_index", ("--partition", "d1")),
        *((",".join(BY_RANK), ("--partition", rank)) for rank in RANKS),
        ("merged_embeddings,predictions,virus_calls,drop_report,check_report", ("--partition", "d1")),
    ):
        deployment.command(*materialise, "--select", selection, *partition)
    return deployment


@pytest.fixture(scope="module")
def records(materialised) -> dict[str, list[dg.EventLogRecord]]:
    """Every materialisation of every asset, the oldest first."""
    with materialised.instance() as instance:
        return {
            asset: list(
                instance.fetch_materializations(dg.AssetKey(asset), limit=100, ascending=True).records
            )
            for asset in ("classifier", *BY_DROP, *BY_RANK)
        }


def test_each_asset_is_materialised_once_for_each_partition(records):
    found = {
        asset: sorted(str(record.partition_key) for record in of_asset) for asset, of_asset in records.items()
    }

    assert found == {
        "classifier": ["None"],
        **{asset: ["d1"] for asset in BY_DROP},
        **dict.fromkeys(BY_RANK, RANKS),
    }


def test_every_check_of_every_partition_is_recorded_once_and_has_passed(materialised):
    with materialised.instance() as instance:
        for asset, names in CHECKS.items():
            partitions = RANKS if asset in BY_RANK else ["d1"]
            for name in names:
                history = _history(instance, asset, name)
                assert sorted(str(record.partition) for record in history) == partitions, name
                assert {record.status.value for record in history} == {"SUCCEEDED"}, name


def test_every_check_speaks_of_the_latest_materialisation_of_its_partition(materialised):
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for asset in CHECKS for name in CHECKS[asset]]
    with materialised.instance() as instance:
        states = instance.event_log_storage.get_asset_check_partition_info(keys)

    assert len(states) == 1 + 2 * 2 * 4 + 1 + 3
    assert all(state.is_current for state in states)


def test_each_rank_shows_its_own_figures(materialised, records):
    folder = DropStore(materialised.root / "data").current("d1")[1]
    for asset in BY_RANK:
        kind = asset.removesuffix("_embeddings")
        shards = [read_shard(folder.shard(kind, rank, 4)) for rank in range(4)]
        metadata = {record.partition_key: _metadata(record) for record in records[asset]}

        assert [metadata[rank]["dagster/row_count"] for rank in RANKS] == [shard.rows for shard in shards]
        assert [metadata[rank]["tokens"] for rank in RANKS] == [shard.counts.tokens for shard in shards]
        assert len({metadata[rank]["tokens"] for rank in RANKS}) == 4
        assert [metadata[rank]["recipe"]["digest"] for rank in RANKS] == [
            shard.recipe.digest for shard in shards
        ]


def test_each_check_shows_the_figures_of_its_rank(materialised, records):
    with materialised.instance() as instance:
        for asset in BY_RANK:
            rows = {
                record.partition: record.event.dagster_event.event_specific_data.metadata["rows"].value
                for record in _history(instance, asset, "finite_values")
            }
            tokens = {
                record.partition: record.event.dagster_event.event_specific_data.metadata["tokens"].value
                for record in _history(instance, asset, "packing_efficiency")
            }
            for record in records[asset]:
                metadata = _metadata(record)
                assert rows[record.partition_key] == metadata["dagster/row_count"]
                assert tokens[record.partition_key] == metadata["tokens"]


def test_the_data_version_of_embeddings_is_the_digest_of_their_recipe(records):
    for asset in BY_RANK:
        for record in records[asset]:
            tags = record.asset_materialization.tags
            assert tags["dagster/data_version"] == _metadata(record)["recipe"]["digest"]


def test_a_rank_names_the_index_it_was_made_from(records):
    (index,) = records["sequence_index"]
    for asset in BY_RANK:
        for record in records[asset]:
            tags = record.asset_materialization.tags
            assert tags["dagster/input_event_pointer/sequence_index"] == str(index.storage_id)
            assert (
                tags["dagster/input_data_version/sequence_index"]
                == index.asset_materialization.tags["dagster/data_version"]
            )


def test_nothing_of_the_drop_is_stale(materialised):
    assert materialised.stale() == []


def test_listing_the_same_files_again_makes_nothing_stale(materialised):
    assert materialised.run("index_drop", "d1").success

    assert materialised.stale() == []


def test_a_rank_that_is_run_again_adds_one_record_and_one_evaluation_and_reuses_its_parts(materialised):
    with materialised.instance() as instance:
        before = _history(instance, "esm2_embeddings", "finite_values")
    selection = ["esm2_embeddings"]

    result = materialised.run("embed_drop", "d1", ranks=(2, 2), selection=selection)

    with materialised.instance() as instance:
        after = _history(instance, "esm2_embeddings", "finite_values")
    assert result.success
    assert [m.partition for m in materialised.recorded(result, "esm2_embeddings")] == ["d1|2"]
    assert len(after) == len(before) + 1
    (evaluation,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "finite_values"]
    assert evaluation.partition == "d1|2"
    (record,) = materialised.recorded(result, "esm2_embeddings")
    assert record.metadata["reused_parts"].value == record.metadata["parts"].value > 0
    assert materialised.stale() == []


def test_the_report_is_shown_as_a_path_and_pictures(records):
    (report,) = records["drop_report"]
    metadata = report.asset_materialization.metadata

    assert metadata["report"].value.endswith("report.html")
    assert metadata["scores"].value.startswith("![plot](data:image/png;base64,")
    assert not any(isinstance(value, dg.UrlMetadataValue) for value in metadata.values())
    assert metadata["checks"].value == 1 + 2 * 2 * 4 + 1 + 3
    assert metadata["failed_checks"].value == 0


def test_the_calls_show_how_many_reads_were_scored_by_which_route(records, materialised):
    (calls,) = records["virus_calls"]
    folder = DropStore(materialised.root / "data").current("d1")[1]
    found = pq.read_table(folder.calls / "read_calls.parquet", columns=["route"])["route"].to_pylist()
    expected = f"| route | count |\n| --- | ---: |\n| joint | {found.count('joint')} |"
    assert _metadata(calls)["reads_by_route"] == expected


def test_ranks_were_recorded_as_they_were_finished_not_at_the_end(records):
    for asset in BY_RANK:
        times = [record.timestamp for record in records[asset]]
        assert all(earlier < later for earlier, later in pairwise(times))


def _metadata(record: dg.EventLogRecord) -> dict[str, Any]:
    found = record.asset_materialization
    assert found is not None
    return {name: value.value for name, value in found.metadata.items()}


def _history(instance: dg.DagsterInstance, asset: str, name: str) -> list[Any]:
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    return list(instance.event_log_storage.get_asset_check_execution_history(key, limit=100))

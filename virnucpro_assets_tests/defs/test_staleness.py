"""A partition recorded by an event of its own becomes stale when, and only when, its input changes."""

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from virnucpro_assets.defs.records import input_tags, materialisation
from virnucpro_assets.storage.provenance import ENGINE_FORMAT

PARTITIONS = dg.StaticPartitionsDefinition(["a", "b"])


class Version(dg.Config):
    version: str


@dg.asset(partitions_def=PARTITIONS, code_version=str(ENGINE_FORMAT))
def index(config: Version):
    return dg.MaterializeResult(data_version=dg.DataVersion(config.version))


@dg.multi_asset(
    specs=[dg.AssetSpec("shard", deps=["index"], code_version=str(ENGINE_FORMAT), skippable=True)],
    partitions_def=PARTITIONS,
)
def shard(context: dg.AssetExecutionContext):
    key = context.partition_key
    inputs = input_tags(context.instance, "index", [key])
    yield materialisation("shard", key, digest="recipe", shown={}, tags=inputs)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def make_index(instance, version, partition="a"):
    config = {"ops": {"index": {"config": {"version": version}}}}
    assert dg.materialize([index], partition_key=partition, instance=instance, run_config=config).success


def status_of_shard(instance):
    graph = dg.Definitions([index, shard]).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return resolver.get_status(dg.AssetKey("shard"), "a").value


@pytest.mark.parametrize(
    ("version", "partition", "status"),
    [("first", "a", "FRESH"), ("second", "a", "STALE"), ("second", "b", "FRESH")],
    ids=["same content", "other content", "other partition"],
)
def test_a_shard_is_stale_when_its_index_has_other_content(instance, version, partition, status):
    make_index(instance, "first")
    assert dg.materialize([index, shard], partition_key="a", instance=instance, selection=["shard"]).success
    assert status_of_shard(instance) == "FRESH"

    make_index(instance, version, partition)

    assert status_of_shard(instance) == status

"""The definitions as a whole: jobs, pools and checks."""

import dagster as dg
import pytest

from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.devices import POOL
from virnucpro_assets.defs.partitions import ASSETS, CLASSIFIER, JOBS, TRAINING
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.provenance import ENGINE_FORMAT


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(Settings(ranks=3))


def test_the_three_jobs_of_a_drop_make_each_of_its_assets_once(definitions):
    graph = definitions.resolve_asset_graph()
    assets = {key.to_user_string() for key in graph.materializable_asset_keys}
    of_jobs = [
        key.to_user_string()
        for job in JOBS
        for key in definitions.resolve_job_def(job.name).asset_layer.selected_asset_keys
    ]

    assert sorted(of_jobs) == sorted(ASSETS)
    assert assets == {CLASSIFIER, *ASSETS}
    assert {key.to_user_string() for key in graph.external_asset_keys} == set(TRAINING)


def test_every_step_that_drives_devices_takes_a_slot_of_the_pool(definitions):
    pools = {
        node.name: node.definition.pool
        for job in JOBS
        for node in definitions.resolve_job_def(job.name).graph.nodes
    }

    assert {name for name, pool in pools.items() if pool} == {"embed"}
    assert {pool for pool in pools.values() if pool} == {POOL}


def test_every_check_is_cut_like_its_asset_and_all_but_two_hold_back_what_follows(definitions):
    graph = definitions.resolve_asset_graph()
    checks = {key: graph.get(key) for key in graph.asset_check_keys}

    not_blocking = {key.name for key, node in checks.items() if not node.blocking}
    assert not_blocking == {"packing_efficiency", "float16_matches_float32"}
    for key, node in checks.items():
        assert node.partitions_def == graph.get(key.asset_key).partitions_def, key
    assert len(checks) == 1 + 2 * 2 + 1 + 3 + 1


def test_every_asset_has_a_description_a_group_and_the_version_of_the_engine(definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.group_name in {"sequences", "embeddings", "calls", "models", "training"}, key
        assert node.code_version == str(ENGINE_FORMAT), key


def test_the_ranks_of_the_settings_are_the_partitions(definitions):
    partitions = definitions.resolve_asset_graph().get(dg.AssetKey("esm2_embeddings")).partitions_def

    assert isinstance(partitions, dg.MultiPartitionsDefinition)
    assert partitions.get_partitions_def_for_dimension("rank").get_partition_keys() == ["0", "1", "2"]

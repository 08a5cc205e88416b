"""Records of single partitions carry what Dagster itself writes."""

import dagster as dg
import pytest

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.defs.records import evaluation, input_tags, materialisation
from virnucpro_assets.storage.provenance import ENGINE_FORMAT

PARTITIONS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(partitions_def=PARTITIONS, code_version=str(ENGINE_FORMAT))
def upstream():
    return dg.MaterializeResult(data_version=dg.DataVersion("version of upstream"))


@dg.asset(partitions_def=PARTITIONS, code_version=str(ENGINE_FORMAT), deps=[upstream])
def downstream():
    return dg.MaterializeResult(data_version=dg.DataVersion("version of downstream"))


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_the_tags_are_those_that_dagster_writes_for_a_step_of_its_own(instance):
    assert dg.materialize([upstream, downstream], partition_key="a", instance=instance).success
    (record,) = instance.fetch_materializations(dg.AssetKey("downstream"), limit=1).records
    written = record.asset_materialization.tags

    inputs = input_tags(instance, "upstream", ["a"])
    ours = materialisation("downstream", "a", digest="version of downstream", shown={}, tags=inputs).tags

    assert set(ours) == set(written)
    # Of partitions that it loads as inputs, Dagster writes one hash over their versions.
    differing = {name for name in ours if ours[name] != written[name]}
    assert differing <= {"dagster/input_data_version/upstream"}


def test_an_input_without_a_record_is_named_as_dagster_names_it(instance):
    assert input_tags(instance, "upstream", ["a"]) == {
        "dagster/input_data_version/upstream": "INITIAL",
        "dagster/input_event_pointer/upstream": "NULL",
    }


def test_a_check_speaks_of_the_last_materialisation_of_its_partition(instance):
    for _ in range(2):
        assert dg.materialize([upstream], partition_key="a", instance=instance).success
    records = instance.fetch_materializations(dg.AssetKey("upstream"), limit=5).records

    result = CheckResult(asset="upstream", name="complete", passed=True, threshold="all")
    target = evaluation(instance, "a", result).target_materialization_data

    assert target.storage_id == max(record.storage_id for record in records)
    assert target.run_id == records[0].run_id
    assert evaluation(instance, "b", result).target_materialization_data is None

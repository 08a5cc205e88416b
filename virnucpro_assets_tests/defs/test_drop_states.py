"""What Dagster has on record of a drop, and the table of all drops."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from virnucpro_assets.defs.drop_states import drop_states, lines_of, records_of, state_of_drop
from virnucpro_assets.defs.failures import failure_of
from virnucpro_assets.defs.partitions import DROPS, PARTITION
from virnucpro_assets.defs.steps import PROCESS, this_process
from virnucpro_assets.errors import DeviceError, InputError
from virnucpro_assets.reports.drop_state import DropState, OnRecord
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_sources import DropSource
from virnucpro_assets.storage.drops import DropStore

BY_DROP = dg.DynamicPartitionsDefinition(name=DROPS)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DROPS, ["a", "b", "c"])
        yield instance


@dg.asset(partitions_def=BY_DROP)
def sequence_index(context: dg.AssetExecutionContext) -> None:
    """Fails for drops `a` and `b`, each with an error of its own."""
    errors = {"a": InputError("a.fa", found="x", expected="y", advice="Z."), "b": DeviceError("no GPU")}
    raise failure_of([(drop, error) for drop, error in errors.items() if drop in context.partition_keys])


@dg.asset(partitions_def=BY_DROP)
def sequence_drop() -> None:
    """A bug."""
    raise ZeroDivisionError("one\ntwo")


def run(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, first: str, last: str = "") -> str:
    tags = {PARTITION: first}
    if last:
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    definitions = dg.Definitions([asset], jobs=[dg.define_asset_job("work", [asset])])
    job = definitions.resolve_job_def("work")
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).run_id


A, B = "a.fa: found x; expected y. Z.", "no GPU"


def test_the_error_line_and_the_exit_code_of_the_last_failed_run_are_on_record(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = Settings(data_root=tmp_path, ranks=2)
    run(instance, sequence_index, "a")
    both = run(instance, sequence_index, "a", "c")
    assert records_of(instance, settings) == {
        "a": OnRecord(failed=f"{A} (run {both})", exit_code=2),
        "b": OnRecord(failed=f"{B} (run {both})", exit_code=4),
        # Dagster counts a partition as failed if its run failed before it was made.
        "c": OnRecord(failed=f"{A} (run {both})", exit_code=1),
    }
    alone, bug = run(instance, sequence_index, "b"), run(instance, sequence_drop, "a")
    instance.report_runless_asset_event(dg.AssetMaterialization("sequence_index", partition="c"))
    assert records_of(instance, settings) == {
        "a": OnRecord(failed=f"ZeroDivisionError: one (run {bug})", exit_code=1),
        "b": OnRecord(failed=f"{B} (run {alone})", exit_code=4),
        "c": OnRecord(),
    }


def test_a_run_that_is_at_work_is_named_and_one_whose_process_was_killed_has_failed(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    @dg.job
    def work() -> None:
        pass

    host, pid, started = this_process().split()
    ours, dead = (
        instance.create_run_for_job(
            work, status=dg.DagsterRunStatus.STARTED, tags={PARTITION: drop}
        ).run_id
        for drop in ("a", "b")
    )  # fmt: skip
    for run_id, time in ((ours, started), (dead, "1")):
        instance.add_run_tags(run_id, {PROCESS: f"{run_id} {host} {pid} {time}"})
    found = records_of(instance, Settings(data_root=tmp_path))
    assert found["a"] == OnRecord(running=f"run {ours} of work is queued or at work")
    assert found["b"] == OnRecord()
    ended = instance.get_run_by_id(dead)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE


def test_each_drop_is_a_line_with_its_state_and_its_reason(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = Settings(data_root=tmp_path, ranks=3)
    for name in ("b", "later_with_a_long_name"):
        DropStore(tmp_path).register(name, DropSource(chunk_length=300, files=[]))
    failed = run(instance, sequence_index, "b")
    assert list(lines_of(drop_states(instance, settings))) == [
        "drop                    state      why",
        "a                       not begun  its files are not listed",
        f"b                       failed     no GPU (run {failed})",
        "c                       not begun  its files are not listed",
        "later_with_a_long_name  not begun  its files are not listed",
    ]
    instance.add_dynamic_partitions(DROPS, ["../a b"])
    assert drop_states(instance, settings)["../a b"] == DropState(
        "not begun", "this is not a valid name of a drop", 2
    )
    assert state_of_drop(instance, settings, "b").exit_code == 4
    assert state_of_drop(instance, settings, "later_with_a_long_name").exit_code == 2
    with pytest.raises(
        InputError, match=r"^drop nobody: found no such drop; expected a drop that `virnucpro drops` shows"
    ):
        state_of_drop(instance, settings, "nobody")


def test_an_installation_without_drops_has_a_header_only(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert list(lines_of(drop_states(instance, Settings(data_root=tmp_path)))) == ["drop  state  why"]

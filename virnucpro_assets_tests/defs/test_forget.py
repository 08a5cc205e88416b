"""What of a drop goes and what stays, in Dagster and on the disk."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from virnucpro_assets.defs.maintenance import forget_drop
from virnucpro_assets.defs.partitions import DROPS, PARTITION, RANGE_END, RANGE_START
from virnucpro_assets.drops.disk_space import readable_size
from virnucpro_assets.drops.stage_locks import registration_lock
from virnucpro_assets.errors import BusyError, InputError, VirnucproError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_root=tmp_path / "data", drops_folder=tmp_path / "drops", ranks=2)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def make(
    instance: dg.DagsterInstance, settings: Settings, *, data: bool = True, partition: bool = True
) -> Path:
    """A drop `d` whose files are listed, and its partition."""
    reads = settings.data_root.parent / "reads.fa"
    reads.write_text(">a\nACGT\n")
    if data:
        register_reads("d", [ReadFile(reads)], settings)
        list_drop("d", settings)
    if partition:
        instance.add_dynamic_partitions(DROPS, ["d", "other"])
    return reads


def test_the_default_only_says_what_would_go(instance: dg.DagsterInstance, settings: Settings) -> None:
    reads = make(instance, settings)
    size = sum(path.stat().st_size for path in (settings.data_root / "d").rglob("*.toml"))

    lines = list(forget_drop(instance, settings, "d"))

    assert lines == [
        f"would remove: {settings.data_root / 'd'}, 1 generation, {readable_size(size)}",
        "would remove: partition d of sequence_drops",
        f"stays: {reads}",
        "nothing was removed (--delete does it)",
    ]
    assert instance.has_dynamic_partition(DROPS, "d")
    assert (settings.data_root / "d" / "source.toml").exists()


@pytest.mark.parametrize(
    ("data", "partition", "removed"), [(True, True, 2), (True, False, 1), (False, True, 1)]
)
def test_partition_and_data_go_and_runs_stay_and_are_named(
    instance: dg.DagsterInstance, settings: Settings, data: bool, partition: bool, removed: int
) -> None:
    reads = make(instance, settings, data=data, partition=partition)

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name=DROPS))
    def sequence_index() -> None:
        raise dg.Failure("wrong")

    if partition:
        job = dg.Definitions([sequence_index], jobs=[dg.define_asset_job("index", [sequence_index])])
        runs = [
            job.resolve_job_def("index").execute_in_process(
                instance=instance, partition_key=key, raise_on_error=False
            ).run_id
            for key in ("d", "other", "d")
        ]  # fmt: skip

    lines = list(forget_drop(instance, settings, "d", delete=True))

    assert [line for line in lines if line.startswith("removed: ")] == lines[:removed]
    assert (f"stays: {reads}" in lines) == data
    if partition:
        assert lines[-1] == (
            f"stays in the run history: 2 runs with all events ({runs[0]}, {runs[2]}); `dagster run delete RUN_ID` "
            "removes one"
        )
        assert [instance.has_run(run) for run in runs] == [True] * 3
        assert instance.get_dynamic_partitions(DROPS) == ["other"]
    assert not (settings.data_root / "d").exists()
    with pytest.raises(InputError):
        list(forget_drop(instance, settings, "d"))


def test_a_delivery_that_stays_is_said_to_be_listed_again(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    delivered = settings.drops_folder / "d.fa"
    delivered.parent.mkdir()
    delivered.write_text(">a\nACGT\n")
    register_reads("d", [ReadFile(delivered)], settings)
    lines = list(forget_drop(instance, settings, "d", delete=True))
    assert lines[-1] == f"stays: {delivered}, a delivery: `virnucpro drops --missing` lists it again"
    assert delivered.exists()


def test_a_partition_that_no_drop_can_be_called_goes_too(
    instance: dg.DagsterInstance, settings: Settings
) -> None:
    instance.add_dynamic_partitions(DROPS, ["../a b"])
    lines = list(forget_drop(instance, settings, "../a b", delete=True))
    assert lines == ["removed: partition ../a b of sequence_drops"]
    assert instance.get_dynamic_partitions(DROPS) == []


@pytest.mark.parametrize("name", ["nobody", "", "..", "../d", "_cache", "dagster", "a|0"])
def test_what_is_no_drop_is_refused(instance: dg.DagsterInstance, settings: Settings, name: str) -> None:
    make(instance, settings)
    with pytest.raises(InputError) as error:
        list(forget_drop(instance, settings, name, delete=True))
    assert str(error.value) == (
        f"drop {name}: found no such drop; expected a drop that `virnucpro drops` shows. Check the name."
    )
    assert (settings.data_root / "d" / "source.toml").exists()


@pytest.mark.parametrize(
    "tags", [{PARTITION: "d"}, {RANGE_START: "d|0", RANGE_END: "d|1"}, {RANGE_START: "d", RANGE_END: "other"}]
)
@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_drop_with_a_run_is_left_alone(
    instance: dg.DagsterInstance, settings: Settings, tags: dict[str, str], status: str
) -> None:
    make(instance, settings)

    @dg.job
    def work() -> None:
        pass

    run = instance.create_run_for_job(work, status=dg.DagsterRunStatus[status], tags=tags)
    for delete in (False, True):
        with pytest.raises(BusyError) as error:
            list(forget_drop(instance, settings, "d", delete=delete))
        assert str(error.value) == (
            f"drop d: found that run {run.run_id} of work is queued or at work; expected no work on it. Wait, or "
            "end that run."
        )
        assert error.value.exit_code == 4
    assert instance.has_dynamic_partition(DROPS, "d")
    assert (settings.data_root / "d" / "source.toml").exists()


def test_a_drop_that_a_command_holds_is_left_alone(instance: dg.DagsterInstance, settings: Settings) -> None:
    make(instance, settings)
    with (
        registration_lock("d", settings, [].append),
        pytest.raises(VirnucproError, match="registration of drop d"),
    ):
        list(forget_drop(instance, settings, "d", delete=True))
    assert instance.has_dynamic_partition(DROPS, "d")

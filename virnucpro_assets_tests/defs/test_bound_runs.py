"""A run is bound to the generation and the options of a drop with which it began."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from virnucpro_assets.defs import calls, runs
from virnucpro_assets.defs.build import build_definitions
from virnucpro_assets.defs.partitions import DROPS, STAGES
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("ours", "theirs"):
        (tmp_path / f"{name}.fa").write_text(f">{name}\nATGGCTGCAGGTCTG\n")
    return Settings(data_root=tmp_path / "data")


def register(settings: Settings, name: str, **options: Any) -> None:
    register_reads("d", [ReadFile(settings.data_root.parent / f"{name}.fa")], settings, **options)


@pytest.mark.parametrize(
    "meanwhile",
    [
        ("theirs", {}),
        ("ours", {"chunk_length": 500}),
        ("ours", {"min_score": 0.99}),
        ("ours", {"per_pair": True}),
    ],
)
@pytest.mark.parametrize("last", [1, 2])
def test_the_jobs_of_a_command_end_where_somebody_else_changed_the_drop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, meanwhile: tuple[str, dict[str, Any]], last: int
) -> None:
    done: list[int] = []

    def run(instance: Any, settings: Settings, job: str, tags: Any, **_: object) -> None:
        done.append(list(STAGES).index(job))
        if done[-1] in {0, last}:
            name, options = ("ours", {}) if done[-1] == 0 else meanwhile
            register(settings, name, **options)
            list_drop("d", settings)

    monkeypatch.setattr(runs, "_run", run)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(IntegrityError, match=r"drop d: found generation .* registered meanwhile; expected"),
    ):
        runs.materialise_drop(instance, settings, "d")
    assert done == list(range(last + 1))


def test_a_run_works_on_one_generation_whatever_is_registered_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(settings, "ours")
    listed = list_drop("d", settings)
    reported: list[Any] = []

    def merge(work: DropWork) -> None:
        register(settings, "theirs", replace=True)
        assert list_drop("d", settings).digest != listed.digest
        raise IntegrityError("merge", found="none", expected="shards", advice="")

    def report(work: DropWork) -> None:
        reported.append(work.drop)
        raise IntegrityError("report", found="none", expected="one", advice="")

    monkeypatch.setattr(calls, "merge_drop", merge)
    monkeypatch.setattr(calls, "write_check_report", report)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DROPS, ["d"])
        job = build_definitions(settings).resolve_job_def("call_drop")
        assert not job.execute_in_process(instance=instance, partition_key="d", raise_on_error=False).success
    assert reported == [listed]

"""A run is bound to the generation and the options of a drop with which it began."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from virnucpro_assets.defs import runs
from virnucpro_assets.defs.chains import Turn
from virnucpro_assets.drops.recipes import EncoderChoices
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
    "meanwhile", [("theirs", {}), ("ours", {"chunk_length": 500}), ("ours", {"min_score": 0.99})]
)
@pytest.mark.parametrize("last", [1, 2])
def test_the_jobs_of_a_command_end_where_somebody_else_changed_the_drop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, meanwhile: tuple[str, dict[str, Any]], last: int
) -> None:
    done: list[int] = []

    def run(job: int, *_: object) -> None:
        done.append(job)
        if job in {0, last}:
            name, options = ("ours", {}) if job == 0 else meanwhile
            register(settings, name, **options)
            list_drop("d", settings)

    monkeypatch.setattr(runs, "_run", run)
    jobs: Any = (0, 1, 2)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(IntegrityError, match=r"drop d: found generation .* registered meanwhile; expected"),
    ):
        runs.materialise_drop(jobs, instance, settings, "d")
    assert done == list(range(last + 1))


def test_all_links_of_a_chain_work_on_one_generation(settings: Settings) -> None:
    register(settings, "ours")
    listed = list_drop("d", settings)
    turn = Turn("d", settings, lambda _: None, EncoderChoices(settings))
    assert turn.work.drop == listed

    register(settings, "theirs", replace=True)
    other = list_drop("d", settings)

    assert other.digest != listed.digest
    assert turn.work.drop == listed

"""The one state of a drop: what decides it, and what the disk of a drop says at each step of its work."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.checks.results import CheckResult
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.reports.drop_state import (
    DropState,
    OnDisk,
    OnRecord,
    missing_drops,
    require_done,
    state_of,
    state_on_disk,
)
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import Removed, note_removed
from virnucpro_assets.storage.drop_sources import DropSource
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.tables import MANIFEST, TablesManifest

RUNNING, FAILED = (
    OnRecord(running="run 1 of index_drop is queued or at work"),
    OnRecord(failed="no reads (run 2)", exit_code=2),
)
WHOLE, HALF = (
    OnDisk(result="/d/report.html"),
    OnDisk("made; next: calls", is_begun=True, result="/d/report.html"),
)
NEW = OnDisk("next: the index")
REFUSED, DAMAGED = OnDisk("it has no calls", held_back="check c"), OnDisk(damaged="found other bytes")
BOTH = OnDisk("it has no calls", held_back="check c", damaged="found other bytes")


@pytest.mark.parametrize(
    ("disk", "record", "state", "reason", "exit_code"),
    [
        (WHOLE, OnRecord(), "done", "/d/report.html", 0),
        (WHOLE, FAILED, "done", "/d/report.html; a later run failed: no reads (run 2)", 0),
        (WHOLE, RUNNING, "running", "run 1 of index_drop is queued or at work", 4),
        (HALF, OnRecord(), "unfinished", "made; next: calls", 2),
        (NEW, OnRecord(), "not begun", "next: the index", 2),
        (NEW, FAILED, "failed", "no reads (run 2)", 2),
        (HALF, FAILED, "failed", "no reads (run 2)", 2),
        (HALF, OnRecord(failed="no GPU (run 2)", exit_code=4), "failed", "no GPU (run 2)", 4),
        (HALF, OnRecord(failed="a bug (run 2)"), "failed", "a bug (run 2)", 1),
        (HALF, OnRecord(RUNNING.running, "no reads (run 2)", 2), "running", RUNNING.running, 4),
        (REFUSED, OnRecord(), "held back", "check c", 5),
        (REFUSED, FAILED, "held back", "check c", 5),
        (REFUSED, RUNNING, "running", "run 1 of index_drop is queued or at work", 4),
        (OnDisk(held_back="check c", result="/d/report.html"), OnRecord(), "held back", "check c", 5),
        (DAMAGED, OnRecord(), "failed", "found other bytes", 3),
        (DAMAGED, FAILED, "failed", "found other bytes", 3),
        (BOTH, FAILED, "failed", "found other bytes", 3),
    ],
)  # fmt: skip
def test_a_drop_has_one_state_with_its_reason_and_its_exit_code(
    disk: OnDisk, record: OnRecord, state: str, reason: str, exit_code: int
) -> None:
    found = state_of(disk, record)
    assert (found.state, found.reason, found.exit_code) == (state, reason, exit_code)
    if state == "done":
        require_done("d", found)
        return
    with pytest.raises(VirnucproError) as error:
        require_done("d", found)
    assert (str(error.value), error.value.exit_code) == (f"drop d is {state}: {reason}", exit_code)


def _calls_of_others(work: DropWork) -> None:
    path = work.folder.calls / MANIFEST
    calls = read_manifest(path, TablesManifest)
    write_manifest(path, calls.model_copy(update={"inputs": calls.inputs | {"predictions": "0" * 64}}))


def _refused(work: DropWork, *, blocking: bool) -> None:
    path = work.folder.checks / "merged_embeddings.completeness.toml"
    result = read_manifest(path, CheckResult)
    figures = {"index_rows": 3, "merged_rows": 2, "parts": 1}
    write_manifest(
        path, result.model_copy(update={"passed": False, "blocking": blocking, "figures": figures})
    )


def _former(work: DropWork) -> None:
    path = work.folder.checks / "merged_embeddings.completeness.toml"
    result = read_manifest(path, CheckResult)
    write_manifest(path, result.model_copy(update={"passed": False, "subject": "0" * 64}))


def _removed(work: DropWork) -> None:
    shutil.rmtree(work.folder.index)
    note_removed(
        work.folder,
        Removed.model_validate(
            {"what": "data", "at": "2026-01-02T03:04:05Z", "size": 1, "why": "finished long ago"}
        ),
    )


def _changed(work: DropWork) -> None:
    source = work.drop.source
    DropStore(work.settings.data_root).register("d", source.model_copy(update={"chunk_length": 500}))


def _without(*names: str) -> Callable[[DropWork], None]:
    def remove(work: DropWork) -> None:
        for name in names:
            path = work.folder.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


DISKS: list[tuple[Callable[[DropWork], None], str, str]] = [
    (lambda _: None, "done", "report.html"),
    (_without("report.html"), "unfinished", "the calls are made; next: the report"),
    (_without("calls", "report.html"), "unfinished", "the predictions are made; next: the calls"),
    (_without("calls"), "unfinished", "the predictions are made; next: the calls"),
    (_calls_of_others, "unfinished", "the predictions are made; next: the calls"),
    (
        _without("predictions", "calls", "report.html"),
        "unfinished",
        "the embeddings are put together; next: the predictions",
    ),
    (_without("merged.toml"), "unfinished", "the embeddings are made; next: putting them together"),
    (
        _without("esm2/rank-01-of-04"),
        "unfinished",
        "the embeddings are made in part (dnabert_s 4 of 4 ranks, esm2 3 of 4 ranks); next: the other ranks",
    ),
    (
        _without("dnabert_s/rank-00-of-04", "esm2"),
        "unfinished",
        "the embeddings are made in part (dnabert_s 3 of 4 ranks, esm2 0 of 4 ranks); next: the other ranks",
    ),
    (_without("dnabert_s", "esm2"), "unfinished", "the index is made; next: the embeddings"),
    (_without("index"), "not begun", "its files are listed; next: the index"),
    (_without("../current.toml"), "not begun", "its files are not listed"),
    (_changed, "not begun", "its files changed"),
    (
        lambda work: _refused(work, blocking=True),
        "held back",
        "check completeness of merged_embeddings: index rows 3, merged rows 2, parts 1; needed each row of the index "
        "once, rank after rank; every digest as recorded",
    ),
    (lambda work: _refused(work, blocking=False), "done", "report.html"),
    (_former, "done", "report.html"),
    (_removed, "done", "data removed by the clean-up on 2026-01-02: finished long ago"),
    (
        lambda work: [(work.folder.calls / MANIFEST).unlink(), (work.folder.calls / MANIFEST).mkdir()],
        "failed",
        "calls/manifest.toml: found Is a directory",
    ),
    (
        lambda work: (work.folder.calls / MANIFEST).write_text("x"),
        "failed",
        "calls/manifest.toml: found content",
    ),
    (
        lambda work: work.folder.manifest.write_text("x"),
        "failed",
        "drop.toml: found content that does not match",
    ),
    (
        lambda work: (work.settings.data_root / "d" / "source.toml").write_text("x"),
        "failed",
        "source.toml: found content that does not match",
    ),
]


@pytest.mark.parametrize(("change", "state", "reason"), DISKS)
def test_the_disk_says_what_a_drop_lacks(
    finished: DropWork, change: Callable[[DropWork], None], state: str, reason: str
) -> None:
    change(finished)
    found = state_of(state_on_disk("d", finished.settings), OnRecord())
    assert found.state == state
    assert reason in found.reason
    assert "\n" not in found.reason
    assert list(missing_drops(finished.settings, {})) == ([] if state == "done" else ["d"])


def test_a_drop_that_teaches_is_done_with_its_embeddings(finished: DropWork) -> None:
    source = finished.drop.source.model_copy(update={"label": "virus"})
    manifest = finished.drop.model_copy(update={"source": source})
    DropStore(finished.settings.data_root).register("d", source)
    write_manifest(finished.folder.manifest, manifest)
    _without("report.html", "calls", "predictions")(finished)
    assert state_on_disk("d", finished.settings) == OnDisk(
        is_begun=True, result=str(finished.folder.path / "merged.toml")
    )
    _without("merged.toml")(finished)
    assert (
        state_on_disk("d", finished.settings).missing
        == "the embeddings are made; next: putting them together"
    )
    assert missing_drops(finished.settings, {}) == {}, "nobody waits for its predictions"


def test_what_the_orchestrator_knows_of_a_drop_is_told_of_it_where_it_is_missing(tmp_path: Path) -> None:
    settings = Settings(data_root=tmp_path / "data", drops_folder=tmp_path / "drops")
    (tmp_path / "a.fa").write_text(">a\nACGT\n")
    for key in ("failed", "never", "running"):
        register_reads(key, [ReadFile(tmp_path / "a.fa")], settings)
    DropStore(settings.data_root).register("taught", DropSource(chunk_length=300, files=[], label="virus"))
    for name in ("new", "taught"):
        (tmp_path / "drops" / name).mkdir(parents=True)
        (tmp_path / "drops" / name / "reads.fa").write_text(">a\nACGT\n")
    assert missing_drops(settings, {"failed": FAILED, "running": RUNNING, "new": FAILED}) == {
        "failed": DropState("failed", "no reads (run 2)", 2),
        "never": DropState("not begun", "its files are not listed", 2),
        "new": DropState("failed", "no reads (run 2)", 2),
        "running": DropState("running", "run 1 of index_drop is queued or at work", 4),
    }

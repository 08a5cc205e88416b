"""Clean-up: what it finds by value, what it removes, and what it leaves alone."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from virnucpro_assets.drops.stage_records import StageRecord
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError
from virnucpro_assets.files.digests import VerifiedFiles
from virnucpro_assets.files.locks import FileLock
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.intake.standard_input import keep_standard_input
from virnucpro_assets.maintenance.cleanup import CleanUp, clean_up
from virnucpro_assets.pipeline.report import report_drop
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.reports.drop_lines import summary_lines
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import removed_of
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.merged import read_merged
from virnucpro_assets.storage.tables import read_tables

HOLD = """
import sys
from pathlib import Path
from virnucpro_assets.files.locks import locked
with locked(Path(sys.argv[1]), "esm2 rank 1 of drop d", "refuse", print):
    print("held", flush=True)
    sys.stdin.readline()
"""
FORMER = "0123456789ab"


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of each file under a folder but its locks, links by what they point to."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink()) and path.suffix != ".lock"
    }


def found(outcome: CleanUp) -> dict[str, tuple[str, int]]:
    """Kind and size of each thing by its place under the data root."""
    return {str(r.path.relative_to(outcome.root)): (r.kind, r.size) for r in outcome.candidates}


def finish_at(work: DropWork, when: datetime | None) -> None:
    """Let the records of the drop say when it was finished, and its embeddings computed."""
    for path in work.folder.stages.glob("*.toml"):
        write_manifest(path, read_manifest(path, StageRecord).model_copy(update={"ended_at": when}))


def days_ago(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def change(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update=changes)


def test_standard_input_goes_when_no_drop_is_made_of_it(tmp_path: Path) -> None:
    settings = Settings(data_root=tmp_path)
    used, unused, fresh = (
        keep_standard_input(settings, io.BytesIO(content))
        for content in (b">a\nAC\n", b">b\nAC\n", b">c\nA\n")
    )
    register_reads("d", [ReadFile(used)], settings)
    for path in (used, unused):
        os.utime(path, (0, days_ago(1.1).timestamp()))
    listed = clean_up(settings)
    assert found(listed) == {f"_stdin/{unused.name}": ("standard input", 6)}
    assert list(listed.lines())[-1] == "1 thing, 6 bytes; nothing was removed (--delete does it)"
    assert list(clean_up(settings, delete=True).lines())[-1] == "1 thing, 6 bytes removed"
    assert [path.exists() for path in (used, unused, fresh)] == [True, False, True]


@pytest.fixture
def littered(finished: DropWork) -> DropWork:
    """The finished drop with something of every kind that is not a matter of age."""
    generation = finished.folder.path
    (generation / "esm2" / "rank-01-of-04" / "part-00000.h5.quarantine-1").write_bytes(b"q" * 100)
    superseded = generation / "dnabert_s" / "rank-02-of-04.superseded-1"
    superseded.mkdir()
    (superseded / "part-00000.h5").write_bytes(b"s" * 50)
    (superseded / "manifest.toml").write_bytes(b"s" * 25)
    (superseded / "part-00001.h5.quarantine-1").write_bytes(b"s" * 5)
    (generation / "predictions" / "scores.npy.partial-9-ab").write_bytes(b"p" * 10)
    (generation / "index.partial-9-ab").mkdir()
    (generation / "index.partial-9-ab" / "rows.parquet").write_bytes(b"p" * 7)
    fresh, old = (generation / "checks" / f"x.toml.partial-{n}-ab" for n in (1, 2))
    fresh.write_bytes(b"f")
    old.write_bytes(b"old")
    os.utime(old, (0, days_ago(1.1).timestamp()))
    shutil.copytree(generation / "stages", generation.parent / FORMER / "stages")
    return finished


def expected(work: DropWork) -> dict[str, tuple[str, int]]:
    here = f"d/{work.drop.generation}"
    former = sum(p.stat().st_size for p in (work.folder.path.parent / FORMER).rglob("*") if p.is_file())
    return {
        f"{here}/esm2/rank-01-of-04/part-00000.h5.quarantine-1": ("quarantined", 100),
        f"{here}/dnabert_s/rank-02-of-04.superseded-1": ("superseded", 80),
        f"{here}/predictions/scores.npy.partial-9-ab": ("unfinished", 10),
        f"{here}/index.partial-9-ab": ("unfinished", 7),
        f"{here}/checks/x.toml.partial-2-ab": ("unfinished", 3),
        f"d/{FORMER}": ("former", former),
    }


def test_a_dry_run_lists_everything_with_its_size_and_touches_nothing(littered: DropWork) -> None:
    root = littered.settings.data_root
    before = tree(root), sorted(root.rglob("*"))

    outcome = clean_up(littered.settings)

    assert found(outcome) == expected(littered)
    assert outcome.size == sum(size for _, size in expected(littered).values())
    assert not outcome.skipped
    assert (tree(root), sorted(root.rglob("*"))) == before
    lines = list(outcome.lines())
    assert lines[-1].endswith("nothing was removed (--delete does it)")
    assert len(lines) == 1 + len(outcome.candidates) + 1


def test_deleting_removes_what_the_dry_run_listed_and_nothing_else(littered: DropWork) -> None:
    root = littered.settings.data_root
    before, listed = tree(root), expected(littered)

    outcome = clean_up(littered.settings, delete=True)

    assert found(outcome) == listed
    gone = {path for path in before if any(path == name or path.startswith(f"{name}/") for name in listed)}
    assert len(gone) > len(listed)
    assert tree(root) == {path: digest for path, digest in before.items() if path not in gone}
    assert not (root / "d" / FORMER).exists()
    assert not clean_up(littered.settings, delete=True).candidates
    read_merged(littered.folder.path, verified=VerifiedFiles())
    read_tables(littered.folder.calls)


def test_a_former_generation_stays_until_the_new_one_is_finished(littered: DropWork) -> None:
    (littered.folder.calls / "manifest.toml").unlink()

    outcome = clean_up(littered.settings, delete=True)

    assert f"d/{FORMER}" not in found(outcome)
    assert (littered.settings.data_root / "d" / FORMER / "stages" / "calls.toml").exists()


def test_a_generation_that_a_run_works_on_is_left_alone_and_the_holder_is_named(littered: DropWork) -> None:
    root = littered.settings.data_root
    lock = littered.folder.path / "esm2" / "rank-01-of-04.lock"
    before = tree(root)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    outcome = clean_up(littered.settings, delete=True)
    holder.communicate("\n")

    assert [(kept.path, f"process {holder.pid}" in kept.why) for kept in outcome.skipped] == [
        (root / "d", True)
    ]
    own = f"d/{littered.drop.generation}/"
    assert {name for name in tree(root) if name.startswith(own)} == {n for n in before if n.startswith(own)}
    assert set(found(clean_up(littered.settings, delete=True))) >= {
        name for name in expected_names(littered) if name.startswith(own)
    }


def expected_names(work: DropWork) -> set[str]:
    here = f"d/{work.drop.generation}"
    return {f"{here}/index.partial-9-ab", f"{here}/dnabert_s/rank-02-of-04.superseded-1"}


def test_a_drop_on_which_a_run_is_at_work_between_two_steps_is_left_alone(littered: DropWork) -> None:
    before = tree(littered.settings.data_root)

    outcome = clean_up(littered.settings, delete=True, at_work={"d": "run 12 is at work on it"})

    assert [(kept.path.name, kept.why) for kept in outcome.skipped] == [("d", "run 12 is at work on it")]
    assert not outcome.candidates
    assert tree(littered.settings.data_root) == before


@pytest.mark.parametrize("where", ["drop", "generation", "encoder", "superseded", "partial"])
def test_nothing_is_removed_through_a_symbolic_link(littered: DropWork, tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    generation, root = littered.folder.path, littered.settings.data_root
    place = {
        "drop": root / "d",
        "generation": root / "d" / FORMER,
        "encoder": generation / "dnabert_s",
        "superseded": generation / "dnabert_s" / "rank-02-of-04.superseded-1",
        "partial": generation / "predictions" / "scores.npy.partial-9-ab",
    }[where]
    place.rename(outside)
    place.symlink_to(outside)
    before = tree(outside) if outside.is_dir() else outside.read_bytes()

    outcome = clean_up(change(littered.settings, keep_embeddings_days=0.5), delete=True, now=days_ago(-1))

    assert place in [kept.path for kept in outcome.skipped]
    assert place.is_symlink()
    assert bool(outcome.candidates) == (where != "drop")
    assert (tree(outside) if outside.is_dir() else outside.read_bytes()) == before

    clean_up(change(littered.settings, keep_drops_days=0.5), delete=True, now=days_ago(-1))

    assert (tree(outside) if outside.is_dir() else outside.read_bytes()) == before


@pytest.mark.slow
def test_embeddings_go_after_their_time_and_results_stay_and_can_be_made_again(finished: DropWork) -> None:
    settings = change(finished.settings, keep_embeddings_days=30)
    finish_at(finished, days_ago(29.5))
    assert not clean_up(settings).candidates
    finish_at(finished, days_ago(31))
    report_drop(finished)
    before = tree(finished.folder.path)
    page = finished.folder.report.read_text()

    outcome = clean_up(settings, delete=True)

    gone = {name for name in before if name.endswith(".h5")}
    assert len(gone) == 2 + 2 * 4 * 2
    after = tree(finished.folder.path)
    assert after.pop("removed.toml")
    assert after == {name: digest for name, digest in before.items() if name not in gone}
    assert list(found(outcome)) == [f"d/{finished.drop.generation}"]
    assert outcome.candidates[0].why == "finished 31 days ago, more than 30, keep_embeddings_days"
    record = removed_of(finished.folder)
    assert record is not None
    assert (record.what, record.size) == ("embeddings", outcome.size)
    report_drop(finished)
    assert finished.folder.report.read_text() == page
    assert any("embeddings removed by the clean-up on" in line for line in summary_lines("d", settings))
    assert not clean_up(settings, delete=True).candidates

    folder = run_drop("d", finished.settings, [].append)

    assert removed_of(folder) is None
    now = tree(folder.path)
    tables = [name for name in before if name.startswith(("predictions/", "calls/"))]
    assert {name: now[name] for name in tables} == {name: before[name] for name in tables}
    assert gone <= set(now)


def test_all_data_go_after_their_time_and_the_drop_is_still_known(finished: DropWork) -> None:
    settings = change(finished.settings, keep_drops_days=90, keep_embeddings_days=30)
    finish_at(finished, days_ago(91))
    before = tree(settings.data_root)
    counts = read_tables(finished.folder.calls).counts

    outcome = clean_up(settings, delete=True)

    here = f"d/{finished.drop.generation}"
    left = tree(settings.data_root)
    assert set(left) - {f"{here}/removed.toml"} == {"d/source.toml", "d/current.toml", f"{here}/drop.toml"}
    assert all(left[name] == before[name] for name in left if name in before)
    record = removed_of(finished.folder)
    assert record is not None
    assert (record.what, record.counts) == ("data", counts)
    assert [(r.kind, r.size) for r in outcome.candidates] == [("data", record.size)]
    assert DropStore(settings.data_root).current("d")[0].digest == finished.drop.digest
    with pytest.raises(InputError, match="data removed by the clean-up on"):
        list(summary_lines("d", settings))
    assert not clean_up(settings, delete=True).candidates


def test_age_is_what_the_record_says_and_not_the_time_of_files(finished: DropWork) -> None:
    settings = change(finished.settings, keep_drops_days=10)
    finish_at(finished, days_ago(1))
    for path in finished.folder.path.rglob("*"):
        os.utime(path, (0, 0))
    assert not clean_up(settings).candidates

    finish_at(finished, days_ago(11))
    assert [r.kind for r in clean_up(settings).candidates] == ["data"]

    finish_at(finished, None)
    assert not clean_up(settings).candidates
    for path in finished.folder.stages.iterdir():
        os.utime(path, (0, days_ago(11).timestamp()))
    assert [r.kind for r in clean_up(settings).candidates] == ["data"]


@pytest.mark.parametrize("stage", ["esm2", "dnabert_s", "merge"])
def test_embeddings_that_were_computed_again_count_from_then(finished: DropWork, stage: str) -> None:
    settings = change(finished.settings, keep_drops_days=10, keep_embeddings_days=5)
    finish_at(finished, days_ago(100))
    assert [r.kind for r in clean_up(settings).candidates] == ["data"]
    path = finished.folder.stages / f"{stage}.toml"

    write_manifest(path, read_manifest(path, StageRecord).model_copy(update={"ended_at": days_ago(1)}))
    assert not clean_up(settings).candidates
    write_manifest(path, read_manifest(path, StageRecord).model_copy(update={"ended_at": days_ago(6)}))
    assert [r.kind for r in clean_up(settings).candidates] == ["embeddings"]


def test_a_drop_that_a_command_holds_is_left_alone_between_its_steps_too(littered: DropWork) -> None:
    lock = littered.settings.data_root / "_registrations" / "d.lock"
    before = tree(littered.settings.data_root)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        outcome = clean_up(littered.settings, delete=True)
        holder.communicate("\n")

    assert [(kept.path.name, f"process {holder.pid}" in kept.why) for kept in outcome.skipped] == [
        ("d", True)
    ]
    assert not outcome.candidates
    assert tree(littered.settings.data_root) == before


def test_a_drop_that_is_not_finished_is_kept_whatever_its_age(finished: DropWork) -> None:
    finish_at(finished, days_ago(1000))
    (finished.folder.calls / "manifest.toml").unlink()

    assert not clean_up(change(finished.settings, keep_drops_days=1, keep_embeddings_days=1)).candidates


def test_what_a_killed_clean_up_left_is_found_by_the_next(littered: DropWork) -> None:
    root = littered.settings.data_root
    trash = (root / "d" / FORMER).rename(root / "d" / f"{FORMER}.partial-77-abcdef01")
    os.utime(trash, (0, days_ago(2).timestamp()))

    outcome = clean_up(littered.settings, delete=True)

    assert found(outcome)[f"d/{trash.name}"][0] == "unfinished"
    assert not trash.exists()


def test_other_drops_than_those_asked_for_are_not_looked_at(littered: DropWork) -> None:
    root = littered.settings.data_root
    shutil.copytree(root / "d", root / "e")

    outcome = clean_up(littered.settings, keys=["e"], delete=True)

    assert {name.split("/")[0] for name in found(outcome)} == {"e"}
    assert set(expected(littered)) == set(found(clean_up(littered.settings, keys=["d"])))
    with pytest.raises(InputError, match="drop nope: found no such drop"):
        clean_up(littered.settings, keys=["nope"])


def test_two_clean_ups_do_not_delete_at_once(littered: DropWork) -> None:
    lock = FileLock(littered.settings.data_root / "cleanup.lock", "another clean-up")
    assert lock.try_acquire() is None
    try:
        with pytest.raises(Exception, match="another clean-up") as raised:
            clean_up(littered.settings, delete=True)
    finally:
        lock.release()
    assert raised.value.exit_code == 4


def test_a_damaged_record_keeps_its_drop_and_the_others_are_cleaned(littered: DropWork) -> None:
    root = littered.settings.data_root
    shutil.copytree(root / "d", root / "e")
    record = root / "d" / littered.drop.generation / "stages" / "calls.toml"
    record.write_text(record.read_text() + "x")
    before = tree(root / "d")

    outcome = clean_up(littered.settings, delete=True)

    assert [(kept.path, str(record) in kept.why) for kept in outcome.skipped] == [(root / "d", True)]
    assert {name.split("/")[0] for name in found(outcome)} == {"e"}
    assert tree(root / "d") == before


def test_of_the_embedding_cache_only_what_is_damaged_or_left_over_goes(finished: DropWork) -> None:
    folder = finished.settings.cache_folder / ("a" * 64)
    folder.mkdir(parents=True)
    names = [f"{'b' * 64}.npy", f"{'c' * 64}.npy.quarantine-1", "d.npy.partial-1-ab", "e.npy.partial-2-cd"]
    for size, name in enumerate(names, start=1):
        (folder / name).write_bytes(b"x" * size)
    long_ago = days_ago(2).timestamp()
    os.utime(folder / names[2], (long_ago, long_ago))
    outcome = clean_up(finished.settings, delete=True)
    place = f"_cache/{'a' * 64}"
    assert {name: thing for name, thing in found(outcome).items() if name.startswith("_cache")} == {
        f"{place}/{names[1]}": ("quarantined", 2),
        f"{place}/{names[2]}": ("unfinished", 3),
    }
    assert sorted(path.name for path in folder.iterdir()) == [names[0], names[3]]
    assert found(clean_up(finished.settings, keys=["d"])) == {}


def test_of_the_registry_only_what_killed_imports_left_goes(finished: DropWork, tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "models"
    link.symlink_to(disk)
    for name in (".mine.partial-ab", ".other.partial-cd", "mine", "mine.replaced-1", ".downloads"):
        (disk / name).mkdir(parents=True)
        (disk / name / "model.safetensors").write_bytes(b"x" * 9)
    (disk / "mine" / "reference.npz.partial-9-ab").write_bytes(b"y" * 4)
    long_ago = days_ago(2).timestamp()
    for path in (*disk.rglob("*"), *disk.iterdir()):
        os.utime(path, (long_ago, long_ago))
    # The folder of an import is old, but it still writes.
    os.utime(disk / ".other.partial-cd" / "model.safetensors")
    settings = change(finished.settings, models=link)
    expected = {
        disk / ".mine.partial-ab": ("unfinished", 9),
        disk / "mine" / "reference.npz.partial-9-ab": ("unfinished", 4),
    }
    for delete in (False, True):
        outcome = clean_up(settings, delete=delete)
        assert {
            r.path: (r.kind, r.size) for r in outcome.candidates if r.path.is_relative_to(disk)
        } == expected
        assert any(str(disk / ".mine.partial-ab") in line for line in outcome.lines())
    assert sorted(str(path.relative_to(disk)) for path in disk.rglob("*")) == [
        ".downloads",
        ".downloads/model.safetensors",
        ".other.partial-cd",
        ".other.partial-cd/model.safetensors",
        "mine",
        "mine.replaced-1",
        "mine.replaced-1/model.safetensors",
        "mine/model.safetensors",
    ]

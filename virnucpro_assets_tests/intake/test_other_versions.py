"""Files that another version wrote: named with a repair that works, and replaced where that is asked for."""

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError, OtherVersionError
from virnucpro_assets.files.locks import locked
from virnucpro_assets.files.manifests import _sealed, read_manifest
from virnucpro_assets.intake.registration import OF_GENERATION, register_reads, set_aside_other_versions
from virnucpro_assets.maintenance.cleanup import clean_up
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.hdf5 import open_sealed, write_sealed
from virnucpro_assets.storage.shards import ShardManifest, set_aside_shard

RESULTS = (
    "predictions/prediction_results.txt",
    "calls/prediction_results_highestscore.csv",
    "calls/read_calls.parquet",
)


def spoil(path: Path) -> None:
    """Let a record have a field that this version does not know, under the right digest."""
    body = path.read_bytes().partition(b"\n")[2]
    if path.name == "current.toml":
        path.write_bytes(_sealed(body.replace(b"digest", b"field_of_tomorrow")))
    else:
        path.write_bytes(_sealed(b"field_of_tomorrow = 1\n" + body))


def spoil_part(path: Path) -> None:
    """Let the recipe in a part have such a field."""
    with open_sealed(path) as (file, _):
        attributes = dict(file.attrs)
        data = {name: file[name][:] for name in file}
    attributes["recipe"] = attributes["recipe"].replace("{", '{"field_of_tomorrow": 1, ', 1)

    def fill(file: h5py.File) -> None:
        for name, rows in data.items():
            file[name] = rows
        file.attrs.update(attributes)

    write_sealed(path, fill)


def records(work: DropWork) -> list[Path]:
    """Every record of the drop that this version reads, those of indexes and shards left out."""
    folder = work.folder.path
    found = [path for pattern in OF_GENERATION for path in folder.glob(pattern)]
    return [*found, folder.parent / "source.toml", folder.parent / "current.toml"]


def reads_of(work: DropWork) -> list[ReadFile]:
    return [ReadFile(file.path) for file in work.drop.source.files]


def test_a_record_of_another_version_is_named_with_what_replaces_it(finished: DropWork) -> None:
    store, folder = DropStore(finished.settings.data_root), finished.folder.path
    spoil(folder / "drop.toml")
    with pytest.raises(OtherVersionError) as raised:
        store.current("d")
    assert str(raised.value) == (
        f"{folder / 'drop.toml'}: found 'Extra inputs are not permitted' at field_of_tomorrow, so another version "
        "wrote it; expected a DropManifest of this version. Go back to that version, or replace the file. Files of a "
        "drop are replaced by `virnucpro materialize DROP --replace`, any other may be moved away and made again."
    )
    spoil(folder.parent / "source.toml")
    with pytest.raises(
        OtherVersionError, match=r"virnucpro predict READS\.\.\. --out DIR --name DROP --replace"
    ):
        register_reads("d", reads_of(finished), finished.settings)


def test_every_record_of_another_version_is_set_aside_and_found_by_the_clean_up(finished: DropWork) -> None:
    store, found = DropStore(finished.settings.data_root), records(finished)
    assert {path.name for path in found} >= {"drop.toml", "merged.toml", "calls.toml", "manifest.toml"}
    assert set_aside_other_versions(store, "d", source=True) == []
    for path in found:
        spoil(path)
    aside = set_aside_other_versions(store, "d", source=True)
    assert sorted(aside) == sorted(path.with_name(f"{path.name}.superseded-1") for path in found)
    assert not any(path.exists() for path in found)

    register_reads("d", reads_of(finished), finished.settings)
    store.list_files("d")
    listed = {remains.path for remains in clean_up(finished.settings).candidates}
    assert set(aside) <= listed


@pytest.mark.parametrize("spoilt", [spoil, Path.touch])
def test_only_the_source_stays_where_nobody_registers_it_anew(
    finished: DropWork, spoilt: Callable[[Path], None]
) -> None:
    source = finished.folder.path.parent / "source.toml"
    spoilt(source)
    assert set_aside_other_versions(DropStore(finished.settings.data_root), "d") == []
    assert source.exists()


def test_a_drop_on_which_a_run_is_at_work_is_not_touched(finished: DropWork) -> None:
    folder = finished.folder.path
    spoil(folder / "merged.toml")
    with (
        locked(folder / "calls.lock", "a run", "refuse", [].append),
        pytest.raises(BusyError, match=r"calls\.lock: found it held by a run"),
    ):
        set_aside_other_versions(DropStore(finished.settings.data_root), "d")
    assert (folder / "merged.toml").exists()


@pytest.mark.parametrize("what", ["manifest", "part"])
def test_a_shard_of_another_version_is_set_aside_where_it_may_be_replaced(
    finished: DropWork, what: str
) -> None:
    folder = finished.folder.shard("esm2", 1, 4)
    part = next(folder.glob("part-*.h5"))

    recipe = read_manifest(folder / "manifest.toml", ShardManifest).recipe
    assert set_aside_shard(folder, recipe) is None
    if what == "manifest":
        spoil(folder / "manifest.toml")
    else:
        spoil_part(part)
    assert set_aside_shard(folder, recipe) == folder.with_name("rank-01-of-04.superseded-1")
    assert not folder.exists()


@pytest.mark.slow
def test_with_replace_a_drop_of_another_version_is_made_anew_with_the_same_results(
    finished: DropWork,
) -> None:
    folder, settings = finished.folder.path, finished.settings
    before = {name: (folder / name).read_bytes() for name in RESULTS}
    spoilt = [*records(finished), folder / "index" / "manifest.toml"]
    spoilt += [folder / kind / "rank-02-of-04" / "manifest.toml" for kind in ("esm2", "dnabert_s")]
    for path in spoilt:
        spoil(path)
    spoil_part(next((folder / "esm2" / "rank-00-of-04").glob("part-*.h5")))
    with pytest.raises(OtherVersionError):
        register_reads("d", reads_of(finished), settings)

    register_reads("d", reads_of(finished), settings, replace=True)
    run_drop("d", settings, [].append, replace=True)

    assert {name: (folder / name).read_bytes() for name in RESULTS} == before
    assert [(folder / "esm2" / f"rank-0{rank}-of-04.superseded-1").is_dir() for rank in range(4)] == [
        True,
        False,
        True,
        False,
    ]

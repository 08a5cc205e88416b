"""What is taken back of a drop: all that a command registered in vain, or all there is of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError, InputError, IntegrityError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.maintenance.cleanup import clean_up
from virnucpro_assets.maintenance.forget import data_of, kept_if_indexed, remove_data
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore

GOOD, WRONG = ">a\nATGGCTGCAGGTCTG\n", ">a\nMKVL\n"


class Place:
    """A data root in which commands register files for the drop `d`, and make its index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = Settings(
            data_root=root / "data", drops_folder=root / "drops", devices="cpu:1", ranks=2
        )
        self.store = DropStore(self.settings.data_root)
        self.forgotten = 0

    def command(self, name: str, content: str, *, replace: bool = False) -> None:
        """What a command does with a file until there is an index."""
        path = self.root / name
        path.write_text(content)

        def forgotten() -> None:
            self.forgotten += 1

        with kept_if_indexed("d", self.settings, forgotten):
            register_reads("d", [ReadFile(path)], self.settings, replace=replace)
            self.index()

    def index(self) -> None:
        list_drop("d", self.settings)
        index_drop(DropWork.on("d", self.settings, [].append))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def _nothing(place: Place) -> None:
    pass


def _killed(place: Place) -> None:
    (place.root / "killed.fa").write_text(WRONG)
    register_reads("d", [ReadFile(place.root / "killed.fa")], place.settings)
    list_drop("d", place.settings)


def _partition_only(place: Place) -> None:
    place.settings.data_root.mkdir()


@pytest.mark.parametrize("before", [_nothing, _killed, _partition_only])
def test_a_drop_whose_files_never_became_an_index_is_not_kept(
    place: Place, before: Callable[[Place], None]
) -> None:
    before(place)
    with pytest.raises(InputError, match="found 'L'; expected nucleotide letters"):
        place.command("wrong.fa", WRONG)
    assert not (place.settings.data_root / "d").exists()
    assert place.store.keys() == []
    assert place.forgotten == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_however_the_command_ends(place: Place, error: type[BaseException]) -> None:
    with pytest.raises(error), kept_if_indexed("d", place.settings):
        _killed(place)
        raise error
    assert not (place.settings.data_root / "d").exists()


def test_a_drop_that_got_its_index_is_kept_whatever_fails_later(place: Place) -> None:
    with pytest.raises(KeyError), kept_if_indexed("d", place.settings):
        place.command("good.fa", GOOD)
        raise KeyError
    assert place.store.is_indexed("d")
    assert place.forgotten == 0


@pytest.mark.parametrize("name", ["other.fa", "good.fa"])
def test_a_drop_that_had_an_index_gets_back_its_files_and_its_generation(place: Place, name: str) -> None:
    place.command("good.fa", GOOD)
    source, (drop, _) = place.store.source("d"), place.store.current("d")
    with pytest.raises(InputError):
        place.command(name, WRONG, replace=True)
    assert place.store.source("d") == source
    assert place.store.current("d")[0] == drop
    assert place.store.is_indexed("d")
    assert place.forgotten == 0


def test_a_delivery_is_still_one_after_a_command_with_other_files(place: Place) -> None:
    (place.root / "drops" / "d").mkdir(parents=True)
    (place.root / "drops" / "d" / "reads.fa").write_text(WRONG)
    with pytest.raises(InputError):
        place.index()
    source = place.store.source("d")
    assert source is not None
    assert source.follows_delivery
    with pytest.raises(InputError):
        place.command("wrong.fa", WRONG)
    assert place.store.source("d") == source
    assert place.forgotten == 0


def test_what_another_version_wrote_is_left_alone(place: Place) -> None:
    place.command("good.fa", GOOD)
    record = place.settings.data_root / "d" / "source.toml"
    record.write_text(record.read_text().replace("suffix", "prefix"))
    before = sorted(place.settings.data_root.rglob("*"))
    with pytest.raises(IntegrityError):
        place.command("wrong.fa", WRONG)
    assert sorted(place.settings.data_root.rglob("*")) == before


def test_all_there_is_of_a_drop_is_removed_and_its_reads_stay(place: Place) -> None:
    place.command("good.fa", GOOD)
    place.command("other.fa", GOOD.replace("a", "b"), replace=True)
    data = data_of("d", place.settings)
    assert data is not None
    assert (data.generations, data.reads) == (2, (place.root / "other.fa",))
    files = [path for path in data.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert data.size == sum(path.stat().st_size for path in files) > 0

    remove_data("d", place.settings)

    assert data_of("d", place.settings) is None
    assert place.store.keys() == []
    assert (place.root / "other.fa").read_text() == GOOD.replace("a", "b")


@pytest.mark.parametrize("content", [GOOD, WRONG], ids=["indexed", "never indexed"])
def test_files_of_others_in_the_folder_of_a_drop_stay(place: Place, content: str) -> None:
    folder = place.settings.data_root / "d"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "hits.fasta").write_text(">mine\nACGT\n")
    (folder / "0123456789ab").write_text("a file, not a generation")
    (folder / "sources.toml").write_text("not the record")
    (folder / "source.toml.bak").write_text("a copy that somebody made")
    reads = folder / "reads.fa"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if content == GOOD:
        place.command("data/d/reads.fa", content)
        data = data_of("d", place.settings)
        assert data is not None
        assert set(data.foreign) == {
            folder / "results",
            folder / "0123456789ab",
            folder / "source.toml.bak",
            folder / "sources.toml",
            reads,
        }
        assert data.size == sum(
            path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".lock" and path not in before and path != reads
        )
        remove_data("d", place.settings)
    else:
        with pytest.raises(InputError, match="expected nucleotide letters"):
            place.command("data/d/reads.fa", content)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before | {
        reads: content.encode()
    }
    assert data_of("d", place.settings) is None
    assert place.store.keys() == []


def test_a_drop_with_a_damaged_record_can_be_forgotten(place: Place) -> None:
    place.command("good.fa", GOOD)
    (place.settings.data_root / "d" / "source.toml").write_text("damaged")
    data = data_of("d", place.settings)
    assert data is not None
    assert data.reads == ()
    remove_data("d", place.settings)
    assert data_of("d", place.settings) is None


def test_a_drop_on_which_a_process_works_is_not_removed(place: Place) -> None:
    place.command("good.fa", GOOD)
    lock = place.store.current("d")[1].path / "predictions.lock"
    program = (
        "import fcntl, sys; lock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=r"predictions.lock: found it held by"):
            remove_data("d", place.settings)
        holder.communicate()
    assert place.store.is_indexed("d")


def test_a_link_is_not_followed(place: Place, tmp_path: Path) -> None:
    place.command("good.fa", GOOD)
    elsewhere = tmp_path / "elsewhere"
    (place.settings.data_root / "d").rename(elsewhere)
    (place.settings.data_root / "d").symlink_to(elsewhere)
    with pytest.raises(IntegrityError, match="found a symbolic link out of"):
        remove_data("d", place.settings)
    assert (elsewhere / "source.toml").exists()


def test_what_a_killed_removal_leaves_is_no_drop_and_goes_with_the_next_clean_up(place: Place) -> None:
    place.command("good.fa", GOOD)
    left = place.settings.data_root / "d.partial-7-abcdef01"
    (place.settings.data_root / "d").rename(left)
    assert place.store.keys() == []

    os.utime(left, (1, 1))
    found = clean_up(place.settings, delete=True)

    assert [(remains.kind, remains.path) for remains in found.candidates] == [("unfinished", left)]
    assert not left.exists()

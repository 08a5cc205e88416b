"""When a delivery is complete: slow copies, pauses, markers, late files, clocks, restarts."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virnucpro_assets.files import digests
from virnucpro_assets.intake.registration import list_drop, register_delivery, register_reads
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets_tests.arriving import READS, Arrivals

COPIER = """
import sys
target = open(sys.argv[1], "ab", buffering=0)
for line in sys.stdin:
    target.write(b"ACGT" * int(line))
    print("written", flush=True)
"""


def write_sealed(path: Path, body: str) -> None:
    """A manifest with this body, and its digest in the first line."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    path.write_text(f"# virnucpro manifest sha256={digest}\n{body}")


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals.under(tmp_path)


@pytest.fixture
def copier(arrivals: Arrivals) -> Iterator[Callable[[int], None]]:
    """A process that appends to drops/d/a.fa, so many times four bytes, whenever it is told to."""
    path = arrivals.write("d/a.fa", ">a\n")
    with subprocess.Popen(
        [sys.executable, "-c", COPIER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def write(number: int) -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "written\n"

        yield write
        process.stdin.close()


def test_a_folder_is_ready_a_settle_time_after_it_was_seen_first(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    found = [arrivals.scan() for _ in range(4)]
    assert [scan.deliveries[0].state for scan in found] == ["settling"] * 2 + ["ready"] * 2
    reasons = [scan.deliveries[0].reason for scan in found[:2]]
    assert reasons == ["files that have just come or changed", "files that must stay the same for 60 s"]
    ready = found[2].deliveries[0]
    assert (ready.name, ready.key, ready.files) == ("d/", "d", (ReadFile(arrivals.drops / "d" / "a.fa"),))
    assert found[3].deliveries[0] == ready
    assert arrivals.store.keys() == []


def test_what_is_registered_and_listed_is_known_without_another_look(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    (ready,) = arrivals.wait().of("ready")
    register_delivery(ready, arrivals.settings)
    assert arrivals.states() == {"d/": "ready"}
    list_drop("d", arrivals.settings)
    assert arrivals.states() == {"d/": "known"}
    assert arrivals.names_of("d") == [("a.fa", 0)]
    before = arrivals.store.source("d")
    register_delivery(ready, arrivals.settings)
    assert arrivals.store.source("d") == before


def test_a_file_that_grows_is_no_drop_until_it_is_whole(
    arrivals: Arrivals, copier: Callable[[int], None]
) -> None:
    sizes = []
    for _ in range(8):
        copier(25)
        sizes.append((arrivals.drops / "d" / "a.fa").stat().st_size)
        assert arrivals.states() == {"d/": "settling"}
    assert sizes == [3 + 100 * number for number in range(1, 9)]
    assert [arrivals.states()["d/"] for _ in range(2)] == ["settling", "ready"]


def test_a_pause_shorter_than_the_settle_time_makes_no_drop(
    arrivals: Arrivals, copier: Callable[[int], None]
) -> None:
    for _ in range(3):
        copier(25)
        assert arrivals.states() == {"d/": "settling"}
        # 59 s after the file was first seen with this size.
        assert arrivals.states(59) == {"d/": "settling"}
    assert arrivals.states(1.5) == {"d/": "ready"}


@pytest.mark.parametrize(
    ("files", "marker", "name"),
    [
        (["d/a.fa"], "d/READY", "d/"),
        (["d/a.fa", "d/b.fa"], "d.READY", "d/"),
        (["d.fa"], "d.fa.READY", "d.fa"),
        (["d_R1.fq", "d_R2.fq"], "d.READY", "d_R1.fq d_R2.fq"),
    ],
)
def test_a_marker_makes_ready_at_once(arrivals: Arrivals, files: list[str], marker: str, name: str) -> None:
    for file in files:
        arrivals.write(file)
    arrivals.write(marker, b"")
    (found,) = arrivals.scan().deliveries
    assert (found.name, found.key, found.state) == (name, "d", "ready")
    assert [str(file.path.relative_to(arrivals.drops)) for file in found.files] == files


def test_a_marker_that_came_before_a_file_says_nothing_about_it(arrivals: Arrivals) -> None:
    marker = arrivals.write("d/READY", b"")
    file = arrivals.write("d/a.fa")
    while file.stat().st_ctime_ns <= marker.stat().st_ctime_ns:
        file.write_text(READS)
    os.utime(marker, (2e9, 2e9))
    while file.stat().st_ctime_ns <= marker.stat().st_ctime_ns:
        os.utime(file, (1, 1))
    assert arrivals.states() == {"d/": "settling"}
    assert arrivals.wait().of("ready")


def test_a_marker_does_not_make_ready_what_is_still_being_copied(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.write("d/.b.fa.x7Gh2k")
    arrivals.write("d/READY", b"")
    (found,) = arrivals.wait().deliveries
    assert (found.state, found.reason) == ("settling", ".b.fa.x7Gh2k, which is still being copied")
    (arrivals.drops / "d" / ".b.fa.x7Gh2k").rename(arrivals.drops / "d" / "b.fa")
    (arrivals.drops / "d" / "READY").touch()
    (found,) = arrivals.scan().of("ready")
    assert [file.path.name for file in found.files] == ["a.fa", "b.fa"]


def test_another_marker_may_be_chosen(tmp_path: Path) -> None:
    arrivals = Arrivals.under(tmp_path, ready_marker="done")
    arrivals.write("d/a.fa")
    arrivals.write("d/done", b"")
    assert arrivals.states() == {"d/": "ready"}


@pytest.mark.parametrize(
    "name",
    [
        "d/a.fa.part",
        "d/a.fa.partial",
        "d/a.fa.filepart",
        "d/a.fa.tmp",
        "d/.a.fa.Ab3dE6",
        "d/.in.a.fa.",
        "d/a.fa.6eF78aBc",
        "d/a.fa.crdownload",
        "d/.~tmp~/x",
        "d/.hidden",
        "d.part/x",
    ],
)
def test_a_temporary_name_holds_its_delivery_back_while_it_is_there(arrivals: Arrivals, name: str) -> None:
    arrivals.write("d/b.fa")
    temporary = arrivals.write(name)
    states = [arrivals.states()["d/"] for _ in range(5)]
    assert states == ["settling"] * 5
    temporary.unlink()
    if temporary.parent.name != "d":
        temporary.parent.rmdir()
    (ready,) = arrivals.wait().of("ready")
    assert [file.path.name for file in ready.files] == ["b.fa"]


@pytest.mark.parametrize("name", ["d/.DS_Store", "d/._b.fa", "d/.directory"])
def test_litter_of_desktops_holds_nothing_back_and_is_no_file_of_reads(arrivals: Arrivals, name: str) -> None:
    arrivals.write("d/b.fa")
    arrivals.write(name)
    (ready,) = arrivals.wait().of("ready")
    assert [file.path.name for file in ready.files] == ["b.fa"]


def test_a_late_file_makes_a_new_generation_once_it_has_settled(
    arrivals: Arrivals, copier: Callable[[int], None]
) -> None:
    copier(100)
    arrivals.take(arrivals.wait())
    first, folder = arrivals.store.current("d")
    (folder.path / "kept").touch()
    arrivals.write("d/b.fa", ">b\nATG\n")
    for _ in range(4):
        copier(10)
        assert arrivals.states() == {"d/": "settling"}
        list_drop("d", arrivals.settings)
        assert arrivals.names_of("d") == [("a.fa", 0)]
    (changed,) = arrivals.wait(3).of("changed")
    assert [file.path.name for file in changed.files] == ["a.fa", "b.fa"]
    arrivals.take(arrivals.scan())
    second, _ = arrivals.store.current("d")
    assert arrivals.names_of("d") == [("a.fa", 0), ("b.fa", 0)]
    assert [record.size for record in second.records] == [3 + 4 * 140, 7]
    assert first.generation != second.generation
    assert (folder.path / "kept").exists()
    assert arrivals.states() == {"d/": "known"}


def test_a_mate_that_arrives_later_joins_the_drop(arrivals: Arrivals) -> None:
    arrivals.write("s_R1.fastq", "@r\nACGT\n+\nIIII\n")
    (first,) = arrivals.take(arrivals.wait())
    assert (first.key, arrivals.names_of("s")) == ("s", [("s_R1.fastq", 0)])
    arrivals.write("s_R2.fastq", "@r\nTTTT\n+\nIIII\n")
    assert arrivals.states() == {"s_R1.fastq s_R2.fastq": "settling"}
    (second,) = arrivals.take(arrivals.wait(3))
    assert (second.key, second.state) == ("s", "changed")
    assert arrivals.names_of("s") == [("s_R1.fastq", 1), ("s_R2.fastq", 2)]
    assert arrivals.states() == {"s_R1.fastq s_R2.fastq": "known"}


def test_new_times_alone_make_no_new_generation_and_new_content_makes_one(arrivals: Arrivals) -> None:
    path = arrivals.write("d/a.fa")
    arrivals.take(arrivals.wait())
    assert arrivals.states() == {"d/": "known"}
    first, _ = arrivals.store.current("d")
    os.utime(path, (1, 1))
    assert [arrivals.states()["d/"] for _ in range(3)] == ["settling"] * 2 + ["changed"]
    arrivals.take(arrivals.scan())
    again, _ = arrivals.store.current("d")
    assert (again.digest, again.records) == (first.digest, first.records)
    assert arrivals.states() == {"d/": "known"}
    path.write_text(READS.replace("ATGG", "TTTT"))
    arrivals.take(arrivals.wait())
    second, _ = arrivals.store.current("d")
    assert second.generation != first.generation


@pytest.mark.parametrize("by_name", [False, True], ids=["found by a scan", "named by a command"])
def test_new_times_of_the_inode_alone_change_nothing(
    by_name: bool, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", 0)
    path = arrivals.write("d/a.fa")
    if by_name:
        list_drop("d", arrivals.settings)
    else:
        arrivals.take(arrivals.wait())
    assert arrivals.states() == {"d/": "known"}
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        path.chmod(0o640)
    (arrivals.root / "backup.fa").hardlink_to(path)
    assert arrivals.states() == {"d/": "known"}
    path.write_text(READS.replace("ATGG", "TTTT"))
    (changed,) = arrivals.wait().deliveries
    assert changed.state == "changed"


def test_a_file_that_grows_after_it_was_taken_makes_a_new_generation(arrivals: Arrivals) -> None:
    path = arrivals.write("d/a.fa")
    (ready,) = arrivals.wait().of("ready")
    path.write_text(READS * 2)
    arrivals.take(arrivals.scan())
    register_delivery(ready, arrivals.settings)
    half = list_drop("d", arrivals.settings)
    assert [record.size for record in half.records] == [2 * len(READS)]
    path.write_text(READS * 3)
    (changed,) = arrivals.take(arrivals.wait())
    assert changed.state == "changed"
    whole, _ = arrivals.store.current("d")
    assert [record.size for record in whole.records] == [3 * len(READS)]
    assert arrivals.states() == {"d/": "known"}


def test_a_file_that_cannot_be_opened_is_refused(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch) -> None:
    path = arrivals.write("d/a.fa")
    arrivals.wait(2)
    open_path = Path.open

    def refuse(self: Path, *arguments: str) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return open_path(self, *arguments)

    # Tests may run as root, who may read everything.
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        (found,) = arrivals.scan().deliveries
    assert (found.state, found.reason) == ("refused", "a.fa, which cannot be read (Permission denied)")
    assert arrivals.states() == {"d/": "ready"}


def test_records_of_earlier_versions_are_read_and_known(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.take(arrivals.wait())
    path = arrivals.settings.data_root / "d" / "source.toml"
    body = path.read_text().partition("\n")[2]
    assert body.count("seen = ") == 1
    write_sealed(path, body.replace("seen = ", f'content = "{"0" * 32}"\nseen = '))
    arrivals.cursor = None
    assert arrivals.states() == {"d/": "known"}
    assert arrivals.store.is_listed("d")


def test_a_clock_that_is_set_back_makes_nothing_ready_earlier(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.wait(2)
    assert arrivals.states(-7200) == {"d/": "settling"}
    assert [arrivals.states(20)["d/"] for _ in range(3)] == ["settling", "settling", "ready"]


def test_a_clock_that_is_set_back_again_and_again_only_delays(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.scan()
    assert [arrivals.states(step)["d/"] for step in (40, -40) * 5] == ["settling"] * 10
    assert arrivals.states(61) == {"d/": "ready"}


def test_a_lost_cursor_makes_new_ones_settle_again_and_leaves_known_ones_known(arrivals: Arrivals) -> None:
    arrivals.write("old/a.fa")
    arrivals.take(arrivals.wait())
    arrivals.write("new/a.fa")
    arrivals.wait(2)
    for lost in (None, "", "{}", "no json", '{"pending": 3}'):
        arrivals.cursor = lost
        assert arrivals.states(60) == {"new/": "settling", "old/": "known"}
    assert arrivals.wait(2).of("ready")[0].key == "new"


def test_what_was_registered_in_a_scan_whose_outcome_was_lost_is_ready_again(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.wait(2)
    before = arrivals.cursor
    (ready,) = arrivals.scan().of("ready")
    register_delivery(ready, arrivals.settings)
    arrivals.cursor = before
    assert arrivals.scan().of("ready") == [ready]
    arrivals.cursor = None
    assert arrivals.scan().of("ready") == [ready]


def test_a_drop_that_was_asked_for_by_name_is_known(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.write("s.fa")
    for key in ("d", "s"):
        list_drop(key, arrivals.settings)
    assert arrivals.states() == {"d/": "known", "s.fa": "known"}
    arrivals.write("d/b.fa", ">b\nATG\n")
    (changed,) = arrivals.take(arrivals.wait())
    assert (changed.key, changed.state) == ("d", "changed")
    assert arrivals.names_of("d") == [("a.fa", 0), ("b.fa", 0)]


def test_a_delivery_does_not_take_the_name_of_another_drop(arrivals: Arrivals) -> None:
    (arrivals.root / "mine.fa").write_text(READS)
    register_reads("d", [ReadFile(arrivals.root / "mine.fa")], arrivals.settings)
    list_drop("d", arrivals.settings)
    arrivals.write("d/a.fa")
    (found,) = arrivals.wait().deliveries
    assert (found.state, found.reason) == (
        "refused",
        "the name of a drop that was made of other files (`virnucpro forget d` frees it)",
    )


def test_a_delivery_that_goes_leaves_its_drop_as_it_is(arrivals: Arrivals) -> None:
    path = arrivals.write("d/a.fa")
    arrivals.take(arrivals.wait())
    path.unlink()
    assert arrivals.states() == {"d/": "settling"}
    path.parent.rmdir()
    assert arrivals.states() == {}
    assert arrivals.names_of("d") == [("a.fa", 0)]


def test_without_a_drops_folder_nothing_is_found(arrivals: Arrivals) -> None:
    arrivals.drops.rmdir()
    assert arrivals.states() == {}

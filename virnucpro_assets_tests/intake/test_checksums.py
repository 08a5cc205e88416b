"""Lists of checksums that come with a delivery."""

import hashlib
import re
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.registration import left_aside, list_drop, register_reads
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets_tests.arriving import READS, Arrivals

MD5 = hashlib.md5(READS.encode(), usedforsecurity=False).hexdigest()
SHA1 = hashlib.sha1(READS.encode(), usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(READS.encode()).hexdigest()
OTHER = "0" * 32


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals.under(tmp_path)


@pytest.mark.parametrize(
    ("path", "text", "digest"),
    [
        ("d/md5sum.txt", "{}  a.fa\n", MD5),
        ("d/md5sum.txt", "{} *a.fa\r\n", MD5),
        ("d/MD5.txt", "{}  ./raw/S1/a.fa\n", MD5.upper()),
        ("d/md5.md5", "{}  C:\\out\\a.fa\n", MD5),
        ("d/a.fa.md5", "{}\n", MD5),
        ("d/a.fa.md5", "{}  -\n", None),
        ("d/CHECKSUMS.md5", "MD5 (a.fa) = {}\n", MD5),
        ("d/checksum.tab", "a.fa\t{}\n", MD5),
        ("d/md5.csv", 'file,md5\n"a.fa",{}\n', MD5),
        ("d/md5.csv", "md5,file\n{},a.fa\n", MD5),
        ("d/SHA256SUMS", "{}  a.fa\n", SHA256),
        ("d/a.fa.sha1", "{}  a.fa\n", SHA1),
        ("d/md5sum.txt", "{}  b.fa\n", None),
        ("d/md5sum.txt", "# sums\n\n{}  b.fa\n", None),
        ("d/notes.txt", "{}  a.fa\n", None),
        ("md5sum.txt", "{}  a.fa\n", None),
    ],
)
@pytest.mark.parametrize("is_right", [True, False])
def test_a_file_must_be_as_the_lists_of_its_delivery_say(
    arrivals: Arrivals, path: str, text: str, digest: str | None, is_right: bool
) -> None:
    reads = arrivals.write("d/a.fa")
    expected = (digest or OTHER) if is_right else OTHER.ljust(len(digest or OTHER), "0")
    beside = arrivals.write(path, text.format(expected))
    if is_right or digest is None:
        arrivals.take(arrivals.wait())
        assert arrivals.names_of("d") == [("a.fa", 0)]
        return
    kind, right = {32: ("MD5", MD5), 40: ("SHA1", SHA1), 64: ("SHA256", SHA256)}[len(expected)]
    with pytest.raises(InputError) as caught:
        list_drop("d", arrivals.settings)
    assert str(caught.value) == (
        f"{reads}: found {kind} {right}; expected {expected}, as {beside.name} says. Copy the file again; or correct "
        f"or remove {beside}."
    )
    assert not arrivals.store.was_listed("d")
    beside.unlink()
    assert list_drop("d", arrivals.settings).read_files == [ReadFile(reads)]


def test_lists_count_for_files_in_folders_below_and_for_those_beside_them_in_the_drops_folder(
    arrivals: Arrivals,
) -> None:
    arrivals.write("d/fastq/a.fa")
    arrivals.write("d/md5sum.txt", f"{OTHER}  fastq/a.fa\n")
    arrivals.write("b.fa")
    arrivals.write("b.fa.md5", f"{OTHER}\n")
    for key, name in (("d", "md5sum.txt"), ("b", "b.fa.md5")):
        with pytest.raises(
            InputError, match=rf"found MD5 {MD5}; expected {OTHER}, as {re.escape(name)} says"
        ):
            list_drop(key, arrivals.settings)


def test_a_delivery_that_settled_is_checked_too(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.write("d/md5sum.txt", f"{OTHER}  a.fa\n")
    with pytest.raises(InputError, match=r"as md5sum\.txt says"):
        arrivals.take(arrivals.wait())


def test_what_is_left_aside_of_a_drop_is_named(arrivals: Arrivals) -> None:
    for name in ("d/a.fa", "other/a.fa"):
        arrivals.write(name)
    for name in ("d/RunInfo.xml", "other/RunInfo.xml", "run.html"):
        arrivals.write(name, "<a/>")
    assert left_aside("d", arrivals.settings) == [
        "d/RunInfo.xml: left aside, for there are no reads of a sample in it"
    ]


def test_files_that_a_person_gave_are_not_checked(arrivals: Arrivals) -> None:
    reads = arrivals.write("d/a.fa")
    arrivals.write("d/md5sum.txt", f"{OTHER}  a.fa\n")
    register_reads("x", [ReadFile(reads)], arrivals.settings)
    assert list_drop("x", arrivals.settings).read_files == [ReadFile(reads)]

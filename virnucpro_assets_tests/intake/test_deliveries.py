"""What may be a delivery: names, kinds of files, links, and sample sheets."""

import gzip
import os
import re
import socket
import tempfile
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.drops_folder import find_deliveries
from virnucpro_assets.intake.registration import check_arrived, key_from_name, list_drop
from virnucpro_assets_tests.arriving import READS, Arrivals, without_rights
from virnucpro_assets_tests.names_of_mates import NAMES_OF_MATES

NO_KEY = "a name that no drop can have"


IN_FOLDERS = (
    "reads in the folder {} in it; the reads of a delivery lie in one folder, so move them up, make deliveries of the "
    "folders, or name the files in a sample sheet"
)


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals.under(tmp_path)


def refusals(arrivals: Arrivals) -> dict[str, str]:
    """Reasons by name after some scans; nothing else may be there, or be made of it."""
    found = arrivals.wait()
    assert found.of("ready", "changed", "settling") == []
    assert not arrivals.settings.data_root.exists()
    return {delivery.name: delivery.reason for delivery in found.deliveries}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", "a|b/"),
        ("a b", "a b/"),
        ("a,b", "a,b/"),
        ("a...b", "a...b/"),
        ("*", "*/"),
        ("..d", None),
        ("-rf", "-rf/"),
        ("_d", "_d/"),
        ("dröp", "dröp/"),
        ("d\n", r"d\n/"),
        ("a\x1b[31mb\x07", r"a\x1b[31mb\x07/"),
        ("a\u202eb", r"a\u202eb/"),
        ("$(reboot)", "$(reboot)/"),
        ("a" * 65, "a" * 65 + "/"),
        ("a" * 255, "a" * 79 + "…/"),
        (os.fsdecode(b"a\xffb"), None),
    ],
)
def test_a_folder_with_a_name_that_no_drop_can_have_is_refused(
    arrivals: Arrivals, name: str, shown: str | None
) -> None:
    arrivals.write(f"{name}/a.fa")
    if shown is None:
        assert arrivals.wait().of("ready", "changed", "known") == []
        return
    ((found, reason),) = refusals(arrivals).items()
    assert found == shown
    assert reason.startswith(NO_KEY)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a b.fastq.gz", NO_KEY),
        ("a|b.fa", NO_KEY),
        ("-a.fa", NO_KEY),
        (".fa", None),
        ("x" * 65 + ".fa", NO_KEY),
        ("a\n.fa", NO_KEY),
        ("README.txt", "a name without an ending of reads"),
        ("a.fastq.gz.md5", "a name without an ending of reads"),
        ("gz", "a name without an ending of reads"),
        ("dagster.fa", "the name of a folder of the platform in the data root"),
    ],
)
def test_a_file_with_a_name_that_makes_no_key_is_refused(
    arrivals: Arrivals, name: str, reason: str | None
) -> None:
    arrivals.write(name)
    found = refusals(arrivals) if reason else arrivals.states()
    assert [text.startswith(reason or "") for text in found.values()] == [True] * (reason is not None)


def test_a_file_that_is_there_twice_by_links_refuses_its_delivery_and_no_other(arrivals: Arrivals) -> None:
    arrivals.write("d/a.fa")
    arrivals.write("e/a.fa")
    (arrivals.drops / "d" / "b.fa").hardlink_to(arrivals.drops / "d" / "a.fa")
    (arrivals.drops / "d" / "c.fa").symlink_to("a.fa")
    found = {one.name: one for one in arrivals.wait().deliveries}
    assert {name: one.state for name, one in found.items()} == {"d/": "refused", "e/": "ready"}
    assert found["d/"].reason.startswith(f"{arrivals.drops / 'd' / 'b.fa'}: found the same file as ")


def test_names_of_300_characters_end_where_the_system_ends_them_and_print_in_80(arrivals: Arrivals) -> None:
    text = f"sample,fastq_1\n{'n' * 300},a.fa\n{'../' * 100}etc,b.fa\n"
    arrivals.write("s.csv", text)
    arrivals.write("a.fa")
    arrivals.write("b.fa")
    found = {one.name: one for one in arrivals.wait().deliveries}
    assert [one.state for one in found.values()] == ["known", "refused", "refused"]
    assert list(found)[1:] == [
        f"s.csv, line 2: {'n' * 79}…",
        f"s.csv, line 3: {('../' * 100)[:79]}…",
    ]
    assert {one.key for one in found.values()} == {""}


@pytest.mark.parametrize("key", ["../d", "..", "/etc", "a/b", "", "d\n", "a" * 65])
def test_a_key_is_checked_before_a_path_is_made_of_it(arrivals: Arrivals, key: str) -> None:
    arrivals.write("d/a.fa")
    for use in (check_arrived, list_drop):
        with pytest.raises(InputError, match=re.escape(f"drop key, {key!r}")):
            use(key, arrivals.settings)


@pytest.mark.parametrize(
    ("link", "target", "reason"),
    [
        ("out", "..", "out, which lies outside the drops folder"),
        ("out.fa", "../secret.fa", "out.fa, which lies outside the drops folder"),
        ("d/out.fa", "../../secret.fa", "out.fa, which lies outside the drops folder"),
        ("d/etc.fa", "/etc/passwd", "etc.fa, which lies outside the drops folder"),
        ("d/twice.fa", "../hop.fa", "twice.fa, which lies outside the drops folder"),
        ("d/gone.fa", "nothing", "gone.fa, a symbolic link that leads nowhere (No such file or directory)"),
        (
            "d/loop.fa",
            "loop.fa",
            "loop.fa, a symbolic link that leads nowhere (Too many levels of symbolic links)",
        ),
        ("d/beside.fa", "../../drops-other/x.fa", "beside.fa, which lies outside the drops folder"),
    ],
)
def test_a_link_out_of_the_drops_folder_or_to_nowhere_is_refused(
    arrivals: Arrivals, link: str, target: str, reason: str
) -> None:
    (arrivals.root / "secret.fa").write_text(READS)
    (arrivals.root / "drops-other").mkdir()
    (arrivals.root / "drops-other" / "x.fa").write_text(READS)
    path = arrivals.drops / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    if target == "../hop.fa":
        (arrivals.drops / "hop.fa").symlink_to("../secret.fa")
    found = refusals(arrivals)
    assert found[link if "/" not in link else "d/"] == reason


def test_a_link_within_the_drops_folder_is_the_file_that_it_leads_to(arrivals: Arrivals) -> None:
    target = arrivals.write("d/a.fa")
    (arrivals.drops / "e").mkdir()
    (arrivals.drops / "e" / "b.fa").symlink_to("../d/a.fa")
    arrivals.take(arrivals.wait())
    assert arrivals.names_of("e") == [("b.fa", 0)]
    target.write_text(READS + READS)
    assert arrivals.states() == {"d/": "settling", "e/": "settling"}


def test_a_drops_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    arrivals = Arrivals.under(tmp_path)
    (tmp_path / "link").symlink_to("drops")
    arrivals.settings = arrivals.settings.model_copy(update={"drops_folder": tmp_path / "link"})
    arrivals.write("d/a.fa")
    arrivals.write("d/b.fa")
    arrivals.write("e/c.fa")
    (tmp_path / "drops" / "d" / "c.fa").symlink_to("../e/c.fa")
    assert [file.path.name for file in arrivals.wait().of("ready")[0].files] == ["a.fa", "b.fa", "c.fa"]


def test_pipes_and_sockets_are_refused_and_never_opened(arrivals: Arrivals) -> None:
    for name in ("pipe", "socket", "device"):
        arrivals.write(f"{name}/a.fa")
    os.mkfifo(arrivals.drops / "pipe" / "b.fa")
    os.mkfifo(arrivals.drops / "top.fa")
    (arrivals.drops / "device" / "null.fa").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(arrivals.drops / "socket")
        try:
            listener.bind("b.fa")
        finally:
            os.chdir(here)
    assert refusals(arrivals) == {
        "device/": "null.fa, which lies outside the drops folder",
        "pipe/": "b.fa, no regular file but a pipe",
        "socket/": "b.fa, no regular file but a socket",
        "top.fa": "top.fa, no regular file but a pipe",
    }


def test_what_cannot_be_read_is_refused_until_it_can() -> None:
    # Permission bits bind on every folder of the way, and those above tmp_path are closed.
    with tempfile.TemporaryDirectory(prefix="drops-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        arrivals = Arrivals.under(root)
        file = arrivals.write("d/a.fa")
        closed = arrivals.write("closed/a.fa").parent
        arrivals.write("fine/a.fa")
        file.chmod(0)
        closed.chmod(0)
        with without_rights():
            found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
        assert found == {
            "closed/": ("refused", "a folder that cannot be read (Permission denied)"),
            "d/": ("refused", "a.fa, which cannot be read (Permission denied)"),
            "fine/": ("ready", ""),
        }
        file.chmod(0o644)
        closed.chmod(0o755)
        with without_rights():
            assert {one.key for one in arrivals.wait().of("ready")} == {"closed", "d", "fine"}


def test_two_deliveries_of_one_key_are_refused_both(arrivals: Arrivals) -> None:
    arrivals.write("s/a.fa")
    arrivals.write("s.fa")
    arrivals.write("t.fa")
    arrivals.write("t.fastq.gz")
    arrivals.write("u_1.fq")
    arrivals.write("u_2.fa")
    assert refusals(arrivals) == {
        "s/": "a name that s.fa has too",
        "s.fa": "a name that s/ has too",
        "t.fa t.fastq.gz": "2 files of one name that are no pair; they belong in a folder",
        "u_1.fq u_2.fa": "2 files of one name that are no pair; they belong in a folder",
    }
    with pytest.raises(InputError, match=r"drops/s\.fa: found a name that s/ has too"):
        list_drop("s", arrivals.settings)


def test_a_drop_keeps_its_name_against_a_later_delivery(arrivals: Arrivals) -> None:
    arrivals.write("s/a.fa")
    arrivals.take(arrivals.wait())
    arrivals.write("s.fa")
    found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
    assert found == {"s/": ("known", ""), "s.fa": ("refused", "a name that s/ has too")}


def test_an_empty_folder_waits_and_one_with_folders_is_refused(arrivals: Arrivals) -> None:
    (arrivals.drops / "empty").mkdir()
    arrivals.write("nested/a.fa")
    arrivals.write("nested/more/b.fa")
    found = {one.name: (one.state, one.reason) for one in arrivals.wait().deliveries}
    assert found == {
        "empty/": ("settling", "a folder without files of reads"),
        "nested/": (
            "refused",
            IN_FOLDERS.format("more"),
        ),
    }


def test_the_data_of_the_platform_is_no_delivery(tmp_path: Path) -> None:
    arrivals = Arrivals.under(tmp_path)
    data = arrivals.drops / "data"
    arrivals.settings = arrivals.settings.model_copy(update={"data_root": data})
    arrivals.write("d/a.fa")
    arrivals.take(arrivals.wait())
    assert arrivals.states() == {"d/": "known", "data/": "refused"}


@pytest.mark.parametrize(
    ("names", "key", "mates"),
    [
        (["a.fastq"], "a", [0]),
        (["a.FASTQ.GZ"], "a", [0]),
        (["a.fa.zst"], "a", [0]),
        (["a.fq.bz2"], "a", [0]),
        (["a_R1.fq.xz", "a_R2.fq.xz"], "a", [1, 2]),
        (["a.bam"], "a", [0]),
        (["a_R1.fq.gz", "a_R2.fq.gz"], "a", [1, 2]),
        (["a_1.fq", "a_2.fq"], "a", [1, 2]),
        (["a_S1_L001_R1_001.fastq.gz", "a_S1_L001_R2_001.fastq.gz"], "a_S1_L001", [1, 2]),
        (["a_R2.fq"], "a", [0]),
        (["a_12.fq"], "a_12", [0]),
        (["a_3.fq"], "a_3", [0]),
        (["a.trimmed.fq"], "a-trimmed", [0]),
        (["a_1.fq", "a_2.fq.gz"], "a", [1, 2]),
        (["ERR1.fastq.gz", "ERR1_1.fastq.gz", "ERR1_2.fastq.gz"], "ERR1", [0, 1, 2]),
        (["s_1P.fq", "s_1U.fq", "s_2P.fq", "s_2U.fq"], "s", [1, 1, 2, 2]),
        (["s_1P.fq", "s_1U.fq", "s_2P.fq"], "s", [1, 0, 2]),
        (["s_R1_unpaired_1.fq", "s_R1_val_1.fq", "s_R2_val_2.fq"], "s", [0, 1, 2]),
        (["s.interleaved.fq"], "s-interleaved", [3]),
    ],
)
def test_a_file_gives_its_drop_the_name_without_endings_and_mates(
    arrivals: Arrivals, names: list[str], key: str, mates: list[int]
) -> None:
    for name in names:
        arrivals.write(name)
    (found,) = arrivals.wait().of("ready")
    assert found.key == key
    assert [(file.path.name, file.mate) for file in found.files] == list(zip(names, mates, strict=True))


@pytest.mark.parametrize(("origin", "one", "two", "drop"), NAMES_OF_MATES)
def test_a_pair_has_one_name_in_the_drops_folder_and_on_the_command_line(
    arrivals: Arrivals, origin: str, one: str, two: str, drop: str
) -> None:
    names = [name.replace(".txt.gz", ".fq.gz") for name in (one, two)]
    paths = [arrivals.write(name) for name in names]
    (found,) = find_deliveries(arrivals.settings)
    assert (found.key, found.state, [file.mate for file in found.files]) == (drop, "complete", [1, 2]), origin
    assert {key_from_name(path) for path in paths} == {drop}


@pytest.mark.parametrize(
    "names",
    [
        ("s_1.fq", "s_1_trimmed.fq", "s_2.fq", "s_2_trimmed.fq"),
        ("s.fa", "s_1.fq", "s_2.fq"),
        ("s_R1.fq", "s_R1_trimmed.fq"),
        ("s_R1_001.fq", "s_R1_002.fq", "s_R2_001.fq", "s_R2_002.fq"),
    ],
)
def test_files_of_one_name_that_are_no_set_are_refused(arrivals: Arrivals, names: tuple[str, ...]) -> None:
    for name in names:
        arrivals.write(name)
    assert refusals(arrivals) == {
        " ".join(names): f"{len(names)} files of one name that are no pair; they belong in a folder"
    }


READY = ("ready", "")


ASIDE = ("aside", "left aside, for there are no reads of a sample in it")


@pytest.mark.parametrize(
    ("files", "expected", "reads"),
    [
        (
            {
                "d/a.fq": "@a\nA\n+\nI\n",
                "d/md5sum.txt": "d41d8  b.fq\n",
                "d/RunInfo.xml": '<?xml version="1.0"?>',
                "d/multiqc_report.html": "<!DOCTYPE html>",
                "d/fastp.json": "{}",
            },
            {"d/": READY, "d/RunInfo.xml, fastp.json, md5sum.txt, multiqc_report.html": ASIDE},
            "a.fq",
        ),
        (
            {
                "d/a.fq.gz": gzip.compress(b"@a\nA\n+\nI\n"),
                "d/a.fq.gz.md5": "d41d8",
                "d/a_fastqc.zip": b"PK\x03\x04",
                "d/a.fq.gz_trimming_report.txt": "SUMMARISING RUN PARAMETERS\n",
                "d/README": "Dear customer\n",
                "d/checkSize.xls": "1\ta.fq.gz\n",
                "d/a.log": "",
                "d/stats.pdf": b"%PDF-1.5",
            },
            {
                "d/": READY,
                "d/README, a.fq.gz.md5, a.fq.gz_trimming_report.txt, a.log, a_fastqc.zip and 2 more": ASIDE,
            },
            "a.fq.gz",
        ),
        (
            {"d/lane1": "@a\nA\n+\nI\n", "d/reads.txt": ">a\nACGT\n", "d/x.dat": gzip.compress(b">a\nA\n")},
            {"d/": READY},
            "lane1 reads.txt x.dat",
        ),
        (
            {f"d/s_S1_L001_{kind}_001.fastq": "@a\nACGT\n+\nIIII\n" for kind in ("I1", "I2", "R1", "R2")},
            {"d/": READY, "d/s_S1_L001_I1_001.fastq, s_S1_L001_I2_001.fastq": ASIDE},
            "s_S1_L001_R1_001.fastq s_S1_L001_R2_001.fastq",
        ),
        ({"d/s.cram": "CRAM", "d/t.fastq.bz2": "BZh9"}, {"d/": READY}, "s.cram t.fastq.bz2"),
        ({"d/lane1": gzip.compress(b">a\nACGT\n")[:12]}, {"d/": READY}, "lane1"),
        (
            {"d/RunInfo.xml": "<a/>"},
            {"d/": ("settling", "a folder without files of reads"), "d/RunInfo.xml": ASIDE},
            "",
        ),
        (
            {"a.fq": ">a\nA\n", "a.fq.md5": "d41", "run.html": "<html>"},
            {"a.fq": READY, "a.fq.md5, run.html": ASIDE},
            "a.fq",
        ),
        (
            {"README": ">a\nA\n"},
            {"README": ("refused", "a name without an ending of reads (.fastq.gz, .fa, .bam ...)")},
            "",
        ),
        ({"d/fastq/a.fq": ">a\nA\n", "d/RunInfo.xml": "<a/>"}, {"d/": READY, "d/RunInfo.xml": ASIDE}, "a.fq"),
        (
            {
                "d/Unaligned/Project_x/Sample_y/y_R1.fq": ">a\nA\n",
                "d/Unaligned/Project_x/Sample_y/y_R2.fq": ">a\nA\n",
                "d/Unaligned/Reports/html/index.html": "<html>",
                "d/Stats/Stats.json": "{}",
            },
            {"d/": READY, "d/Stats/, Reports/": ASIDE},
            "y_R1.fq y_R2.fq",
        ),
        (
            {"d/a.fq": ">a\nA\n", "d/fastqc/a.html": "<html>", "d/e/f.txt": ""},
            {"d/": READY, "d/e/, fastqc/": ASIDE},
            "a.fq",
        ),
        ({"d/a.fq": ">a\nA\n", "d/more/b.fq": ">a\nA\n"}, {"d/": ("refused", IN_FOLDERS.format("more"))}, ""),
        ({"d/A/a.fq": ">a\nA\n", "d/B/a.fq": ">a\nA\n"}, {"d/": ("refused", IN_FOLDERS.format("A"))}, ""),
        (
            {"d/fastq/a.fq": ">a\nA\n", "d/fastq/s.csv": "sample,fastq_1\nx,a.fq\n"},
            {"d/": ("refused", IN_FOLDERS.format("fastq"))},
            "",
        ),
        (
            {"d/fastq/a.fq": ">a\nA\n", "d/fastq/b.fq.part": ">a\nA\n"},
            {"d/": ("settling", "b.fq.part, which is still being copied")},
            "",
        ),
        (
            {
                "d/A/a.fq": ">a\nA\n",
                "d/B/a.fq": ">a\nA\n",
                "s.csv": "sample,fastq_1\nx,d/A/a.fq\ny,d/B/a.fq\n",
            },
            {"s.csv": ("known", ""), "s.csv, line 2: x": READY, "s.csv, line 3: y": READY},
            "a.fq a.fq",
        ),
    ],
)
def test_a_delivery_as_it_comes_is_taken_with_what_lies_beside_the_reads(
    arrivals: Arrivals, files: dict[str, str | bytes], expected: dict[str, tuple[str, str]], reads: str
) -> None:
    for name, content in files.items():
        arrivals.write(name, content)
    found = arrivals.wait()
    assert {one.name: (one.state, one.reason) for one in found.deliveries} == expected
    assert [file.path.name for one in found.of("ready") for file in one.files] == reads.split()

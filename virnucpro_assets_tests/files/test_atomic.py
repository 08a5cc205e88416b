import os
from pathlib import Path

import pytest

from virnucpro_assets.errors import describe_os_error
from virnucpro_assets.files.atomic import atomic_file, atomic_path, temporary_folder, write_bytes, write_text


def test_a_finished_block_leaves_the_content_and_no_other_file(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "new" / "a.txt") as stream:
        stream.write(b"one")
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"a.txt": b"one"}


@pytest.mark.parametrize("writer", [atomic_file, atomic_path])
def test_an_error_in_the_block_leaves_the_old_content_and_no_other_file(tmp_path: Path, writer) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="in the middle"), writer(target) as opened:
        if isinstance(opened, Path):
            opened.write_bytes(b"half")
        else:
            opened.write(b"half")
        assert target.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
        raise RuntimeError("in the middle")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"old"}


def test_a_target_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"x" * 1000)
    with target.open("rb") as reader:
        write_bytes(target, b"new")
        assert reader.read() == b"x" * 1000
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("writer", [atomic_file, atomic_path])
def test_content_reaches_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path: Path, writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, order = tmp_path / "a.txt", list[tuple[str, bool]]()
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        order.append(("folder" if path == tmp_path else "content", target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    with writer(target) as opened:
        (opened.write_bytes if isinstance(opened, Path) else opened.write)(b"new")

    assert order == [("content", False), ("folder", True)]


def test_an_error_of_the_disk_names_the_file_that_was_to_be(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space left on device") as raised, atomic_path(target) as temporary:
        temporary.symlink_to("/dev/full")
        with temporary.open("wb") as stream:
            stream.write(b"x" * 100_000)
    assert describe_os_error(raised.value) == (
        f"{target}: found No space left on device. Check the path, who may use it, and the space on its disk."
    )
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_names_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, atomic_file(tmp_path / "a.txt"):
        (tmp_path / "other").read_bytes()
    assert str(raised.value.filename) == str(tmp_path / "other")


def test_a_folder_that_takes_no_files_is_an_error_of_the_file_that_was_to_be() -> None:
    with pytest.raises(OSError, match="No such file") as raised:
        write_text(Path("/proc/a.txt"), "x")
    assert raised.value.filename == "/proc/a.txt"


def test_a_temporary_folder_is_gone_after_its_block_unless_it_was_renamed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), temporary_folder(tmp_path / "models", ".a") as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert list((tmp_path / "models").iterdir()) == []

    with temporary_folder(tmp_path / "models", ".a") as folder:
        (folder / "whole").write_text("whole")
        assert folder.name.startswith(".a.partial-")
        folder.rename(tmp_path / "models" / "a")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["a"]
    assert (tmp_path / "models" / "a" / "whole").read_text() == "whole"

"""Locks between real processes: who waits, who is refused, and what a dead holder leaves."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virnucpro_assets.errors import BusyError, IntegrityError
from virnucpro_assets.files import locks
from virnucpro_assets.files.locks import FileLock, locked

HOLD = """
import sys
from pathlib import Path
from virnucpro_assets.files.locks import locked
with locked(Path(sys.argv[1]), sys.argv[2], sys.argv[3], lambda line: print(line, flush=True)):
    print("held", flush=True)
    sys.stdin.readline()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that hold a lock until they are told to end."""
    started: list[subprocess.Popen[str]] = []

    def begin(path: Path, owner: str, when_busy: str = "refuse") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), owner, when_busy],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_held_lock_is_refused_with_the_holder_named(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "new" / "a.lock"
    holder = start(path, "esm2 rank 0 of drop x")
    assert said(holder) == "held"
    with (
        pytest.raises(BusyError) as raised,
        locked(path, "another", "refuse", [].append),
    ):
        pass
    assert raised.value.exit_code == 4
    assert str(raised.value) == (
        f"{path}: found it held by esm2 rank 0 of drop x (process {holder.pid} on {os.uname().nodename}); "
        "expected it free. Wait until that ends, or set VIRNUCPRO_WHEN_BUSY=wait."
    )


def test_a_second_process_says_for_whom_it_waits_and_then_has_the_lock(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "a.lock"
    first = start(path, "the first")
    assert said(first) == "held"
    second = start(path, "the second", "wait")
    expected = f"waiting for {path}, which the first (process {first.pid} on {os.uname().nodename}) holds"
    assert said(second) == expected
    time.sleep(0.5)
    assert json.loads(path.read_text())["owner"] == "the first"
    first.communicate("end\n")
    assert said(second) == "held"
    assert json.loads(path.read_text()) == {
        "owner": "the second",
        "pid": second.pid,
        "host": os.uname().nodename,
    }


def test_what_a_killed_holder_left_is_no_obstacle(tmp_path: Path, start: Start) -> None:
    path = tmp_path / "a.lock"
    holder = start(path, "the killed")
    assert said(holder) == "held"
    assert FileLock(path, "me").try_acquire() is not None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads(path.read_text())["pid"] == holder.pid
    with locked(path, "me", "refuse", [].append):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_child_of_the_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    program = [sys.executable, "-c", "print('started', flush=True); input()"]
    with locked(path, "me", "refuse", [].append):
        child = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
        )
        said_first = said(child)
    holder = FileLock(path, "next").try_acquire()
    child.communicate("\n")
    assert (said_first, holder, child.returncode) == ("started", None, 0)


def test_an_error_in_the_block_gives_the_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with pytest.raises(KeyError), locked(path, "me", "refuse", [].append):
        raise KeyError
    assert FileLock(path, "next").try_acquire() is None


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b'{"owner": "x"}'])
def test_a_holder_that_has_not_said_who_it_is_is_another_process(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.lock"
    with locked(path, "me", "refuse", [].append):
        path.write_bytes(content)
        with (
            pytest.raises(BusyError, match="found it held by another process"),
            locked(path, "x", "refuse", [].append),
        ):
            pass


def test_a_symbolic_link_is_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match=r"a\.lock: found a symbolic link; expected the file of a lock"):
        FileLock(tmp_path / "a.lock", "me").try_acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.lock")
    with pytest.raises(IntegrityError, match=r"a\.lock: found something that is no plain file"):
        FileLock(tmp_path / "a.lock", "me").try_acquire()


def test_a_folder_that_takes_no_files_is_named() -> None:
    with pytest.raises(OSError, match="/proc/") as raised:
        FileLock(Path("/proc/a.lock"), "me").try_acquire()
    assert raised.value.filename == "/proc/a.lock"


def test_a_file_that_has_another_name_too_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of somebody else")
    (tmp_path / "a.lock").hardlink_to(victim)
    with pytest.raises(IntegrityError, match=r"a\.lock: found a file that has another name too"):
        FileLock(tmp_path / "a.lock", "me").try_acquire()
    assert victim.read_text() == "of somebody else"


@pytest.mark.parametrize(
    ("folder", "file"), [(0o1777, 0o666), (0o770, 0o660), (0o755, 0o644), (0o700, 0o600)]
)
def test_a_lock_may_be_taken_by_whoever_may_make_files_in_its_folder(
    tmp_path: Path, folder: int, file: int
) -> None:
    path = tmp_path / "locks" / "a.lock"
    path.parent.mkdir()
    path.parent.chmod(folder)
    former = os.umask(0o077)
    try:
        with locked(path, "me", "refuse", [].append):
            assert stat.S_IMODE(path.stat().st_mode) == file
    finally:
        os.umask(former)


def test_a_file_that_was_removed_after_it_was_opened_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "a.lock", locks._open

    def open_and_remove(path: Path) -> int:
        descriptor = opened(path)
        path.unlink()
        monkeypatch.setattr(locks, "_open", opened)
        return descriptor

    monkeypatch.setattr(locks, "_open", open_and_remove)
    lock = FileLock(path, "me")
    assert lock.try_acquire() is None
    assert locks._open is opened
    assert FileLock(path, "next").try_acquire() == f"me (process {os.getpid()} on {os.uname().nodename})"
    lock.release()


def test_a_lock_that_this_object_holds_is_not_taken_twice(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock", "me")
    assert lock.try_acquire() is None
    with pytest.raises(ValueError, match=r"a\.lock is held by this object already"):
        lock.try_acquire()
    lock.release()
    assert lock.try_acquire() is None


def test_a_file_system_without_locks_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match=r"No locks available: '.*a\.lock'"):
        FileLock(tmp_path / "a.lock", "me").try_acquire()


@pytest.mark.parametrize(("failures", "is_taken"), [(3, True), (locks.OPEN_ATTEMPTS, False)])
def test_a_file_that_another_user_makes_just_now_is_tried_again_for_a_moment(
    failures: int, is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, left = locks._opened, iter(range(failures))

    def closed_at_first(path: Path) -> int:
        if next(left, None) is not None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path)

    monkeypatch.setattr(locks, "_opened", closed_at_first)
    lock = FileLock(tmp_path / "a.lock", "me")
    if is_taken:
        assert lock.try_acquire() is None
    else:
        with pytest.raises(PermissionError, match=r"a\.lock"):
            lock.try_acquire()


def test_a_file_that_another_process_makes_at_the_same_moment_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, system_open = tmp_path / "a.lock", os.open

    def made_meanwhile(target: str | Path, flags: int, mode: int = 0o777, **options: int) -> int:
        if flags & os.O_EXCL:
            path.touch(mode=0o600)
        return system_open(target, flags, mode, **options)

    monkeypatch.setattr(os, "open", made_meanwhile)
    assert FileLock(path, "me").try_acquire() is None
    assert json.loads(path.read_text())["owner"] == "me"

"""The device process: owns one device, loads encoders, works through orders.

Started by the pool as a fresh interpreter, `python -P -m virnucpro_assets.inference.device_process`,
which looks for no modules in the working folder.
In this order: die with the parent; keep standard output for replies; own the device, by a
lock that the kernel gives back when this process ends; see that device only; then orders from
standard input, one line each, until it is closed.
"""

import argparse
import ctypes
import os
import signal
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from virnucpro_assets.errors import BusyError, IntegrityError, describe_os_error
from virnucpro_assets.files.locks import FileLock, acquire
from virnucpro_assets.inference.messages import Refused, Replies, Waiting

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run a device process until its standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--uuid", required=True)
    parser.add_argument("--any-of", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--locks", type=Path, required=True)
    parser.add_argument("--when-busy", choices=["wait", "refuse"], required=True)
    options = parser.parse_args()
    _die_with_parent(options.parent)
    replies = Replies(_claim_standard_output())
    replies.beat()
    owner = f"a run of process {options.parent}"
    names: list[str] | list[int] = [options.uuid] if options.uuid else _slots(options.number, options.any_of)
    locks = [FileLock(lock_of(options.locks, options.kind, name), owner) for name in names]
    try:
        acquire(locks, options.when_busy, lambda reason: replies.send(Waiting(reason=reason)))
    except (BusyError, IntegrityError) as error:
        replies.send(Refused(reason=str(error)))
        return
    except OSError as error:
        replies.send(Refused(reason=describe_os_error(error)))
        return
    os.environ["CUDA_VISIBLE_DEVICES"] = options.uuid

    # torch looks at the visible devices and at the number of threads when it is imported.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if options.kind == "cuda":
        # Triton keeps what it has compiled in the home otherwise, which a service may have no access to.
        os.environ.setdefault("TRITON_CACHE_DIR", str(kernel_cache(Path(tempfile.gettempdir()))))
    from virnucpro_assets.inference.worker import Worker  # noqa: PLC0415

    worker = Worker("cuda:0" if options.kind == "cuda" else "cpu", options.threads, replies)
    worker.serve(sys.stdin.fileno())


def lock_of(folder: Path, kind: str, name: str | int) -> Path:
    """The lock file of a device of this machine: of a GPU by its UUID, of a CPU slot by its number."""
    return folder / f"virnucpro-{kind}-{name}.lock"


def kernel_cache(temporary: Path) -> Path:
    """A folder of this user in `temporary`, the same for all processes.

    Code is loaded from it, so one that another user made or may write to is not taken: the process then
    has a new folder, and compiles again.
    """
    folder = temporary / f"virnucpro-kernels-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="virnucpro-kernels-", dir=temporary))


def _slots(number: int, any_of: int) -> list[int]:
    """The slots of which one is enough, the one of this number first; it alone if `any_of` is 0."""
    return [number, *(slot for slot in range(any_of) if slot != number)]


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("the parent ended before the device process began")


def _claim_standard_output() -> IO[bytes]:
    """Keep the pipe for replies; whatever a library prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return replies


if __name__ == "__main__":
    main()

"""Ten faults put into a copy of the package, one after the other, and the test of `make test` that finds each.

python -m virnucpro_assets_tests.mutations: a table of which test of the fault's own folder fails first. Ends with 1
if a fault is found by none, or if a line that is to be changed is no longer there. Each folder must first pass
without any fault: a test that fails anyway would find everything.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """A fault: in a file of the package, `now` becomes `then`; `tests` is the folder that must notice."""

    name: str
    file: str
    now: str
    then: str
    tests: str


MUTATIONS = (
    Mutation(
        "wrong frame", "sequences/frames.py", "shift = frame % 3", "shift = (frame + 1) % 3", "sequences"
    ),
    Mutation(
        "wrong junction",
        "sequences/chunks.py",
        "longer_shifts = surplus - share * (per_read - 1)",
        "longer_shifts = surplus - share * per_read",
        "sequences",
    ),
    Mutation(
        "budget off by one",
        "inference/plans.py",
        "used + token_budget,",
        "used + token_budget + 1,",
        "inference",
    ),
    Mutation(
        "rank order reversed",
        "storage/parts.py",
        "return plan.rank + np.arange",
        "return ranks - 1 - plan.rank + np.arange",
        "storage",
    ),
    Mutation(
        "label swapped",
        "storage/prediction_tables.py",
        'PREDICTED_LABELS = ("others", "virus")',
        'PREDICTED_LABELS = ("virus", "others")',
        "storage",
    ),
    Mutation(
        "digest ignored",
        "storage/hdf5.py",
        "if seal != _seal(image):",
        "if not seal:",
        "storage",
    ),
    Mutation(
        "lock not taken",
        "files/locks.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        "files",
    ),
    Mutation("fsync left out", "files/atomic.py", "            sync_file(temporary)\n", "", "files"),
    Mutation(
        "threshold of a check ignored",
        "checks/results.py",
        "passed=efficiency >= minimum or not judged",
        "passed=True",
        "checks",
    ),
    Mutation(
        "partition key mixed up",
        "defs/partitions.py",
        'drop if rank is None else f"{drop}|{rank}"',
        'drop if rank is None else f"{rank}|{drop}"',
        "defs",
    ),
)


def main() -> int:
    """Print the table; 0 if every fault is found by a test that passes without it."""
    for tests in dict.fromkeys(mutation.tests for mutation in MUTATIONS):
        if failed := first_failure(tests):
            raise SystemExit(f"{failed}: found a failure without any fault; expected none. Correct it first.")
    found = [first_failure(mutation.tests, mutation) for mutation in MUTATIONS]
    lines = ["| fault | in | found by |", "|---|---|---|"]
    for mutation, test in zip(MUTATIONS, found, strict=True):
        lines.append(f"| {mutation.name} | `{mutation.file}` | {f'`{test}`' if test else 'no test'} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(found) else 1


def first_failure(tests: str, mutation: Mutation | None = None) -> str | None:
    """The first test of a folder that fails in a copy with a fault, or None."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        if mutation:
            _put_in(mutation, copy / "virnucpro_assets" / mutation.file)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", f"virnucpro_assets_tests/{tests}"],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
        )
    if done.returncode and not (
        failed := re.search(r"^FAILED virnucpro_assets_tests/(\S+)", done.stdout, re.MULTILINE)
    ):
        raise SystemExit(
            f"{tests}: found tests that do not run; expected a failed one.\n{done.stdout[-2000:]}"
        )
    return failed[1] if done.returncode and failed else None


def _put_in(mutation: Mutation, path: Path) -> None:
    content = path.read_text()
    if content.count(mutation.now) != 1:
        raise SystemExit(
            f"{mutation.file}: found {mutation.now!r} {content.count(mutation.now)} times; expected once"
        )
    path.write_text(content.replace(mutation.now, mutation.then))


if __name__ == "__main__":
    sys.exit(main())

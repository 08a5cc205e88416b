"""Has anything become slower? Ratios of a fresh quick run against those of a committed quick run.

    python -m benchmarks.check [--committed benchmarks/results/quick] [--fresh FOLDER | --record]

Every number named `ratio` in a committed result says how many times faster ours is than what it was
measured beside. Each benchmark in CHECKED runs again, as quickly, and a ratio that lost more than
LOSS_ALLOWED of the committed one fails, as does one that is gone; a loss is measured a second time
and counts if it shows again. A quick run is compared with a quick one, because ratios depend on how much is
measured. With `--fresh` nothing runs: the results in that folder are compared. With `--record`
nothing is compared: what is measured becomes what later runs are compared with.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOSS_ALLOWED = 0.15

CHECKED = {
    "encoders_cpu.json": ("-m", "benchmarks.encoders_cpu", "--quick"),
    "front.json": ("-m", "benchmarks.front", "--reads", "250000", "--baseline-reads", "20000"),
    "back.json": ("-m", "benchmarks.back", "--quick"),
}
"""What makes a fresh version of each committed result, together with `--out FILE`."""


def ratios_of(result: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Every number named `ratio` in a result, with the names that lead to it."""
    if isinstance(result, dict):
        for name, value in result.items():
            if name == "ratio":
                yield " / ".join(place) or "ratio", float(value)
            else:
                yield from ratios_of(value, (*place, name))


def losses(committed: Any, fresh: Any) -> dict[str, str]:
    """Each committed ratio that fell by more than LOSS_ALLOWED or is gone, and what to say of it."""
    found = dict(ratios_of(fresh))
    lines = {}
    for name, ratio in ratios_of(committed):
        if name not in found:
            lines[name] = f"{name}: found no ratio; expected about {ratio:.2f}"
        elif found[name] < (1 - LOSS_ALLOWED) * ratio:
            loss = 1 - found[name] / ratio
            lines[name] = (
                f"{name}: found a ratio of {found[name]:.2f}, {loss:.0%} less than {ratio:.2f}; "
                f"expected a loss of at most {LOSS_ALLOWED:.0%}"
            )
    return lines


def compare(committed: Path, fresh: Path) -> dict[str, str]:
    """The losses of all results that are checked, by file and ratio."""
    lines = {}
    for name in CHECKED:
        results = (json.loads((folder / name).read_bytes()) for folder in (committed, fresh))
        lines |= {f"{name}: {ratio}": f"{name}: {line}" for ratio, line in losses(*results).items()}
    return lines


def measure(folder: Path) -> None:
    """Run every benchmark that is checked, its result in `folder`."""
    for name, command in CHECKED.items():
        subprocess.run([sys.executable, *command, "--out", str(folder / name)], check=True)


def main() -> None:
    """Measure unless there are fresh results, compare, and fail if something was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--committed", type=Path, default=Path(__file__).parent / "results/quick")
    one_of = parser.add_mutually_exclusive_group()
    one_of.add_argument("--fresh", type=Path)
    one_of.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.record:
        options.committed.mkdir(exist_ok=True)
        measure(options.committed)
        return
    with tempfile.TemporaryDirectory() as folder:
        fresh = options.fresh or Path(folder)
        if options.fresh is None:
            measure(fresh)
        lost = compare(options.committed, fresh)
        if lost and options.fresh is None:
            measure(fresh)
            again = compare(options.committed, fresh)
            lost = {name: line for name, line in again.items() if name in lost}
    if lost:
        raise SystemExit("\n".join(lost.values()))
    print("no ratio lost more than it may")


if __name__ == "__main__":
    main()

"""What a person waits for: the help, the list of drops, the definitions, a drop of one read; and the imports in it.

    python -m benchmarks.waiting [--rounds 5] [--out benchmarks/results/waiting.json]

Each command is a process of its own, with the demo models and one finished drop on record. Seconds are the medians of
all rounds, by the clock and of all processors. Imports are those of the definitions, by `-X importtime`: the seconds in
the modules of each package, without those of other packages that they import.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

READ = ">r\n" + "ATGGCTGCAGGTCTGAAAGATCTGGCTAAAGCA" * 3 + "\n"
VIRNUCPRO = (sys.executable, "-W", "ignore", "-m", "virnucpro_assets.cli")
COMMANDS = {
    "virnucpro --help": (*VIRNUCPRO, "--help"),
    "virnucpro drops": (*VIRNUCPRO, "drops"),
    "the definitions": (sys.executable, "-W", "ignore", "-c", "import virnucpro_assets.definitions"),
    "virnucpro predict, one read": (*VIRNUCPRO, "predict", "r.fa", "--out", "out", "--replace"),
}


def seconds_of(command: tuple[str, ...], folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds by the clock and of all processors, children included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports(environment: dict[str, str]) -> dict[str, float]:
    """The packages whose own modules take longest to import with the definitions, and the seconds."""
    command = (
        sys.executable,
        "-W",
        "ignore",
        "-X",
        "importtime",
        "-c",
        "import virnucpro_assets.definitions",
    )
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr
    spent: Counter[str] = Counter()
    for microseconds, module in re.findall(
        r"^import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)$", printed, re.MULTILINE
    ):
        spent[module.partition(".")[0]] += int(microseconds)
    return {package: round(total / 1e6, 3) for package, total in spent.most_common(8)}


def measure(rounds: int) -> dict[str, Any]:
    """Medians of all commands, and the imports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "r.fa").write_text(READ)
        own = {"VIRNUCPRO_DATA_ROOT": str(folder / "data"), "DAGSTER_HOME": str(folder / "dagster")}
        environment = os.environ | own | {"PYTHONPATH": str(Path.cwd())}
        seconds_of(COMMANDS["virnucpro predict, one read"], folder, environment)
        found: dict[str, Any] = {}
        for command, words in COMMANDS.items():
            times = [seconds_of(words, folder, environment) for _ in range(rounds)]
            walls, processor = zip(*times, strict=True)
            found[command] = {
                "seconds": round(statistics.median(walls), 2),
                "processor_seconds": round(statistics.median(processor), 2),
            }
        return {"processors": os.cpu_count(), "commands": found, "imports": imports(environment)}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/waiting.json"))
    options = parser.parse_args()
    result = measure(options.rounds)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

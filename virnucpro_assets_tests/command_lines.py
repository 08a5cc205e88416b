"""Run command lines of `virnucpro` one after the other in one process, which starts up once.

Standard input is a JSON list of {"arguments": [...], "environment": {...}}, standard output a list
of {"exit_code", "stdout", "stderr", "trace"}.
"""

import json
import sys
import tempfile
import traceback
from pathlib import Path

from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.inference import pool
from virnucpro_assets_tests.warm_devices import WarmDevices


def main() -> None:
    """Run what standard input says, on device processes that stay warm from one line to the next."""
    with tempfile.TemporaryDirectory() as locks:
        warm = WarmDevices(Path(locks))
        pool.ProcessHandle = warm
        json.dump(outcomes_of(json.load(sys.stdin)), sys.stdout)
        warm.close()


def outcomes_of(lines: list[dict]) -> list[dict]:
    """What each line came to."""
    outcomes = []
    for line in lines:
        result = CliRunner().invoke(app, line["arguments"], env=line["environment"], prog_name="virnucpro")
        is_exit = isinstance(result.exception, SystemExit | None)
        outcomes.append(
            {
                "exit_code": result.exit_code,
                "stdout": result.stdout,
                "stderr": result.stderr,
                "trace": "" if is_exit else "".join(traceback.format_exception(result.exception)),
            }
        )
    return outcomes


if __name__ == "__main__":
    main()

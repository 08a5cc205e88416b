"""Run command lines of `virnucpro` one after the other in one process, which starts up once.

Standard input is a JSON list of {"arguments": [...], "environment": {...}}, standard output a list
of {"exit_code", "stdout", "stderr", "trace"}.
"""

import json
import sys
import traceback

from typer.testing import CliRunner

from virnucpro_assets.cli import app


def main() -> None:
    """Run what standard input says."""
    outcomes = []
    for line in json.load(sys.stdin):
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
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()

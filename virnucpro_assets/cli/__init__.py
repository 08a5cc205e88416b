"""The command line: commands on drops, training, and groups of commands on models and classifiers.

A mistake that a person can fix ends with one line on standard error and an exit code: 2 for
wrong input, 3 for a damaged or foreign file, 4 for a device, 5 for a failed check, 130 for an interruption,
141 for a closed pipe, 1 else.
Imports stand inside the commands, so that `--help` answers at once.
"""

import atexit
import gc
import os
import signal
import sys

try:
    # Each of these adds its commands to the application when it is imported.
    from virnucpro_assets.cli import drops, predict, tables, training, ui  # noqa: F401
    from virnucpro_assets.cli.app import app
    from virnucpro_assets.cli.errors import one_line_errors, take_over_streams
    from virnucpro_assets.cli.models import models
except KeyboardInterrupt:
    # The console script imports this first: an interruption has no trace here either.
    raise SystemExit(130) from None

GARBAGE_AFTER = (100_000, 20, 100)
"""Imports make many objects and no garbage: Python looks for it rarely, so that commands start faster."""

app.add_typer(models, name="models")
app.add_typer(training.classifiers, name="classifiers")


def main() -> None:
    """The console script `virnucpro`. In a locale of another encoding it starts again in Python's UTF-8 mode."""
    if sys.getfilesystemencoding() != "utf-8":
        again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONUTF8": "1"})  # noqa: S606
    gc.set_threshold(*GARBAGE_AFTER)
    # Nor is there any at the end, where Python would look through all of them again.
    atexit.register(gc.freeze)
    take_over_streams()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a script starts what it puts in the background. Dagster gives SIGTERM the handler of SIGINT, and `kill`
        # would be ignored too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with one_line_errors():
        app(prog_name="virnucpro")

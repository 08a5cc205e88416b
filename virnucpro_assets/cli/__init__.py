"""The command line: commands on drops, training, and groups of commands on models and classifiers.

A mistake that a person can mend ends with one line on standard error and an exit code: 2 for
wrong input, 3 for a damaged or foreign file, 4 for a device, 5 for a failed check, 130 for an interruption, 1 else.
Imports stand inside the commands, so that `--help` answers at once.
"""

from virnucpro_assets.cli.drops import app
from virnucpro_assets.cli.models import models
from virnucpro_assets.cli.training import classifiers

app.add_typer(models, name="models")
app.add_typer(classifiers, name="classifiers")


def main() -> None:
    """The console script `virnucpro`."""
    app(prog_name="virnucpro")

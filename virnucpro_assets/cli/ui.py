"""The commands about Dagster's own programs: the UI on the drops of this installation, and the files that they need."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from virnucpro_assets.cli.app import app
from virnucpro_assets.cli.errors import one_line_errors
from virnucpro_assets.cli.help import examples
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.reports.terminal import say

WORKSPACE = Path(__file__).parents[1] / "defs" / "workspace.yaml"
PAGE = "assets/drop_report?view=partitions"
# `dagster dev` advises a program for those who write code, which users do not install.
NO_ADVICE = "ignore:Function `dev_command` is superseded"


@app.command(epilog=examples("virnucpro init", "virnucpro init /srv/virnucpro"))
def init(
    folder: Annotated[
        Path,
        typer.Argument(
            parser=user_path, metavar="FOLDER", help="Folder for workspace.yaml; default: this one."
        ),
    ] = Path(),
) -> None:
    """Write workspace.yaml here and dagster.yaml in DAGSTER_HOME for Dagster's programs; files that are there stay."""
    with one_line_errors():
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.files.atomic import write_bytes
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            home = Path(instance.root_directory)
        if not (target := folder / WORKSPACE.name).exists():
            write_bytes(target, WORKSPACE.read_bytes())
        typer.echo(target.absolute())
        typer.echo(home / "dagster.yaml")


@app.command(epilog=examples("virnucpro ui", "virnucpro ui --port 3001"))
def ui(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 3000,
) -> None:
    """Start Dagster's UI and daemon on the drops of this installation, until Ctrl-C."""
    with one_line_errors():
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            home = instance.root_directory
        say(f"open http://{host}:{port}/{PAGE}: the reports, one a drop under Partitions")
        say(f"while it runs, deliveries in {settings.drops_folder.absolute()} are taken up")
        command = [
            *(sys.executable, "-m", "dagster", "dev"),
            *("-w", str(WORKSPACE), "-h", host, "-p", str(port)),
        ]
        variables = {"DAGSTER_HOME": home, "PYTHONWARNINGS": NO_ADVICE}
        os.execve(sys.executable, command, os.environ | variables)  # noqa: S606

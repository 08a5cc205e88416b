"""How every command ends where a person made a mistake."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from virnucpro_assets.errors import VirnucproError, describe_os_error


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End with one line and an exit code where a person made a mistake."""
    try:
        yield
    except VirnucproError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        typer.echo(f"error: {describe_os_error(error)}", err=True)
        raise typer.Exit(1) from error

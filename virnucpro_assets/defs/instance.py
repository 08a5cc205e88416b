"""The Dagster instance that the command line shares with the UI.

Dagster creates its databases when they are first opened, without a lock. Two commands that do it at once, or one that
is killed meanwhile, leave databases that no later command can open. So they are opened under a lock, one command at a
time, and a mark is kept while they are created. If a command finds the mark, an earlier one was cut off: what that one
created is set aside, and created again.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from virnucpro_assets.defs.devices import POOL
from virnucpro_assets.errors import InputError
from virnucpro_assets.files.atomic import set_aside, write_bytes, write_text
from virnucpro_assets.files.locks import locked
from virnucpro_assets.settings import Settings

CONFIG = Path(__file__).with_name("dagster.yaml")
LOCK, UNFINISHED = "virnucpro.lock", "virnucpro.unfinished"
DATABASES = ("history", "schedules")
"""The folders of the databases in a home whose configuration names no others."""


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance under DAGSTER_HOME, or else under `dagster` in the data root.

    A home without a dagster.yaml gets the one of this package. Raises InputError if the
    configuration or the database that it names cannot be used.
    """
    home = settings.dagster_folder
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / LOCK, "the opening of the Dagster instance", "wait", lambda _: None):
        if not (home / CONFIG.name).exists():
            write_bytes(home / CONFIG.name, CONFIG.read_bytes())
        _check_place_of_databases(home)
        with _made_whole(home):
            return _opened(home)


def _check_place_of_databases(home: Path) -> None:
    """Raise InputError if Dagster would make the databases elsewhere: SQLAlchemy reads paths as parts of addresses."""
    names_storage = re.search(rb"^\w*storage:", (home / CONFIG.name).read_bytes(), re.MULTILINE)
    address = str(home / DATABASES[0])
    if not names_storage and make_url(f"sqlite:///{address}").database != address:
        raise InputError(
            home,
            found="'?', or '%' and two digits, in the path of the Dagster instance",
            expected="a path without them: its SQLite databases would be made elsewhere",
            advice="Set DAGSTER_HOME to another folder; the data may stay where they are.",
        )


@contextmanager
def _made_whole(home: Path) -> Iterator[None]:
    """Let the block create the missing databases; what a block that was cut off has created is set aside first."""
    mark = home / UNFINISHED
    if mark.exists() and not _has_runs(home):
        for name in mark.read_text(encoding="utf-8").split():
            if name in DATABASES and (home / name).exists():
                set_aside(home / name, "quarantine")
    missing = [name for name in DATABASES if not (home / name).exists()]
    if not missing:
        mark.unlink(missing_ok=True)
        yield
        return
    write_text(mark, "\n".join(missing))
    is_made = False
    try:
        yield
        is_made = True
    finally:
        # A wrong configuration creates nothing. Its databases must not be set aside once it is corrected.
        if is_made or not any((home / name).exists() for name in missing):
            mark.unlink()


def _has_runs(home: Path) -> bool:
    """Whether the databases have runs: then they are in use, and stay."""
    path = home / "history" / "runs.db"
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'runs'").fetchall()
        return bool(tables) and bool(database.execute("SELECT 1 FROM runs LIMIT 1").fetchall())


def _opened(home: Path) -> dg.DagsterInstance:
    try:
        instance = dg.DagsterInstance.from_config(str(home))
    except _unusable() as error:
        raise InputError(
            str(home / CONFIG.name),
            found=_what_is_wrong(error).rstrip("."),
            expected="a configuration and a database that can be used",
            advice="Correct the file, or set the variables that it names (docs/operations.md, PostgreSQL).",
        ) from error
    if POOL not in instance.event_log_storage.get_concurrency_keys():
        # The queue looks up the limits of pools before it sets those of new ones: without this, the
        # first runs of an instance would not be held back.
        instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    return instance


def _unusable() -> tuple[type[Exception], ...]:
    """What the orchestrator raises for a configuration or a database that it cannot use."""
    found: tuple[type[Exception], ...] = (dg.DagsterInvalidConfigError, SQLAlchemyError)
    if find_spec("dagster_postgres"):
        from dagster_postgres.utils import DagsterPostgresException  # noqa: PLC0415

        found = (*found, DagsterPostgresException)
    return found


def _what_is_wrong(error: Exception) -> str:
    """The line of an error, or of the error below it, that says what is wrong."""
    if isinstance(error, dg.DagsterInvalidConfigError):
        # A wrong entry is one line, with all that is allowed; what a variable lacks is the second of several.
        *_, line = error.errors[0].message.splitlines()[:2]
        line = line.partition(" Expected: ")[0].partition(" In order for ")[0]
        return line.rpartition("PostProcessingError: ")[2]
    return str(error.__cause__ or error).strip().partition("\n")[0]

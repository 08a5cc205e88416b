"""The Dagster instance that the command line shares with the UI."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from virnucpro_assets.defs.gpu_pool import POOL
from virnucpro_assets.errors import InputError
from virnucpro_assets.settings import Settings

CONFIG = Path(__file__).with_name("dagster.yaml")


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance under DAGSTER_HOME, or else under `dagster` in the data root.

    A home without a dagster.yaml is given the one of this package. Raises InputError if the
    configuration or the database that it names cannot be used.
    """
    home = (settings.dagster_home or settings.data_root / "dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / CONFIG.name).exists():
        shutil.copyfile(CONFIG, home / CONFIG.name)
    try:
        instance = dg.DagsterInstance.from_config(str(home))
    except _unusable() as error:
        raise InputError(
            str(home / CONFIG.name),
            found=_what_is_wrong(error).rstrip("."),
            expected="a configuration and a database that can be used",
            advice="Mend the file, or set the variables that it names (docs/operations.md, PostgreSQL).",
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
        return line.removeprefix("dagster._config.errors.PostProcessingError: ")
    return str(error.__cause__ or error).strip().partition("\n")[0]

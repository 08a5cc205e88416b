"""How a mistake that a person can mend ends a step: one clear line, and no retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from virnucpro_assets.errors import VirnucproError, describe_os_error


@contextmanager
def mendable() -> Iterator[None]:
    """Turn a VirnucproError or OSError of the block into a failed step with its line as description."""
    try:
        yield
    except VirnucproError as error:
        raise dg.Failure(
            description=str(error), metadata={"exit_code": error.exit_code}, allow_retries=False
        ) from error
    except OSError as error:
        raise dg.Failure(
            description=describe_os_error(error), metadata={"exit_code": 1}, allow_retries=False
        ) from error

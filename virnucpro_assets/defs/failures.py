"""How a mistake that a person can mend ends a step: one clear line, and a retry only where time may help.

A step asks for its retry itself. With a retry policy the orchestrator would take a cancellation for
a failure, and do the rest of a cancelled run.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from virnucpro_assets.errors import DeviceError, VirnucproError, describe_os_error
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.settings import Settings


@contextmanager
def mendable() -> Iterator[None]:
    """Turn a VirnucproError or OSError of the block into a failed step with its line as description."""
    failures = DropFailures(drops=1)
    with failures.of(""):
        yield
    failures.end()


class DropFailures:
    """The drops of a step that failed, each with its reason; the others go on.

    Only mistakes that a person can mend are kept apart in this way: anything else is a bug and
    ends the step at once.
    """

    def __init__(self, drops: int) -> None:
        self._several = drops > 1
        self._errors: list[tuple[str, VirnucproError | OSError]] = []

    @contextmanager
    def of(self, drop: str) -> Iterator[None]:
        """Keep a VirnucproError or OSError of the block as a failure of this drop."""
        try:
            yield
        except (VirnucproError, OSError) as error:
            self.add(drop, error)

    def add(self, drop: str, error: VirnucproError | OSError) -> None:
        """Keep an error as a failure of this drop."""
        self._errors.append((drop, error))

    def end(self) -> None:
        """Raise dg.Failure if there was a failure: all reasons, and those and the ranks by drop in the metadata."""
        if self._errors:
            raise self._failure() from self._errors[0][1]

    def end_or_retry(self, context: dg.AssetExecutionContext, settings: Settings) -> None:
        """As `end`, but ask for another try of the step if each failure may go away.

        Those are failures of a device or of another run that is at work: a wrong file stays wrong.
        """
        if settings.step_retries and {_exit_code(error) for _, error in self._errors} == {
            DeviceError.exit_code
        }:
            failure = self._failure()
            failure.__cause__ = self._errors[0][1]
            raise dg.RetryRequested(
                max_retries=settings.step_retries,
                seconds_to_wait=settings.step_retry_seconds * 2**context.retry_number,
            ) from failure
        self.end()

    def _failure(self) -> dg.Failure:
        lines = [(drop, _line(error)) for drop, error in self._errors]
        by_drop = {drop: "; ".join(line for of, line in lines if of == drop) for drop, _ in lines}
        ranks = {
            drop: sorted({rank for _, rank in error.failures})
            for drop, error in self._errors
            if isinstance(error, EmbeddingError)
        }
        codes = [_exit_code(error) for _, error in self._errors]
        return dg.Failure(
            description="; ".join(f"drop {drop}: {line}" if self._several else line for drop, line in lines),
            metadata={
                "exit_code": codes[0],
                "exit_codes": dg.MetadataValue.json(
                    {drop: _exit_code(error) for drop, error in self._errors}
                ),
                "drops": dg.MetadataValue.json(by_drop),
                "ranks": dg.MetadataValue.json(ranks),
            },
            allow_retries=False,
        )


def _line(error: VirnucproError | OSError) -> str:
    return str(error) if isinstance(error, VirnucproError) else describe_os_error(error)


def _exit_code(error: VirnucproError | OSError) -> int:
    return error.exit_code if isinstance(error, VirnucproError) else VirnucproError.exit_code

"""The logger of the command line: progress, a line each, without the orchestrator's events."""

import logging
import sys

import dagster as dg


@dg.logger(None, description="Progress lines on standard error.")
def terminal_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """A logger that prints what assets say, and leaves events and stack traces to the run's log."""
    logger = logging.Logger("virnucpro", logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: _message(record) is not None)
    handler.setFormatter(_MessageOnly())
    logger.addHandler(handler)
    return logger


class _MessageOnly(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _message(record) or ""


def _message(record: logging.LogRecord) -> str | None:
    meta = getattr(record, "dagster_meta", {})
    # Errors are the executor's alone, of steps that it skips: the command's last line says why.
    is_of_an_asset = record.levelno < logging.ERROR and not meta.get("dagster_event")
    return meta.get("orig_message") if is_of_an_asset else None

"""The logger of the command line: progress, a line each, without the orchestrator's events.

Each run says in its log if a model in use is the demo's. A command has several runs and says it itself, first
and last.
"""

import logging
import sys

import dagster as dg

from virnucpro_assets.demo.recognise import NOTE


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
    message: str | None = meta.get("orig_message") if is_of_an_asset else None
    return None if message and message.startswith(f"{NOTE} in use") else message

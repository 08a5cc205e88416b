"""The logger of the command line: what the steps of a run say, without the orchestrator's events and remarks.

Each run says in its log if a model in use is the demo's. A command has several runs and says it itself, first
and last.
"""

import logging

import dagster as dg

from virnucpro_assets.demo.recognise import NOTE
from virnucpro_assets.reports.terminal import say


@dg.logger(None, description="Progress on standard error.")
def terminal_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """A logger that shows what assets say, and leaves events and stack traces to the run's log."""
    logger = logging.Logger("virnucpro", logging.INFO)
    logger.addHandler(_Steps())
    return logger


class _Steps(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if (line := _message(record)) is not None:
            say(line)


def _message(record: logging.LogRecord) -> str | None:
    meta = getattr(record, "dagster_meta", {})
    # Errors are the executor's alone, of steps that it skips: the command's last line says why.
    is_of_an_asset = record.levelno < logging.ERROR and not meta.get("dagster_event")
    message: str | None = meta.get("orig_message") if is_of_an_asset else None
    if message is None or message.startswith(f"{NOTE} in use") or "did not yield or return" in message:
        return None
    return message

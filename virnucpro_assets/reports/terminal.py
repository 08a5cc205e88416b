"""What a command shows on standard error: its lines, and the progress of a stage, on a terminal as a bar in one line.

All of it goes through the logger TERMINAL, whose level `--quiet` raises to that of warnings.
"""

import logging
import shutil
import sys

from virnucpro_assets.inference.progress import Shown, parse_line

TERMINAL = logging.getLogger("virnucpro.terminal")
WARNINGS = ("warning:", "demo model in use")
BAR = 24


def say(line: str) -> None:
    """Show a line of a command; a quiet one shows warnings only, and that a demo model is in use."""
    TERMINAL.log(logging.WARNING if line.startswith(WARNINGS) else logging.INFO, line)


def end_bar() -> None:
    """End the line of a bar, if one is shown, before something else is written to the terminal."""
    _HANDLER.end_bar()


def bar(shown: Shown, width: int) -> str:
    """A stage as one line of at most `width` columns, with a bar where its share is known."""
    done = BAR * (shown.percent or 0) // 100
    drawn = "" if shown.percent is None else f"[{'#' * done}{'.' * (BAR - done)}] "
    return f"{shown.stage:<10} {drawn}{shown.rest}"[:width]


class _Handler(logging.Handler):
    """Writes to the standard error of the moment; the next line of progress takes the place of a bar."""

    is_open = False

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        shown = parse_line(line) if sys.stderr and sys.stderr.isatty() else None
        if shown is None:
            self.end_bar()
            self._write(f"{line}\n")
            return
        # A full line wraps, and can then not be written again in its place.
        self._write(f"\r\x1b[K{bar(shown, shutil.get_terminal_size().columns - 1)}")
        self.is_open = True
        if shown.percent == 100:
            self.end_bar()

    def end_bar(self) -> None:
        if self.is_open:
            self.is_open = False
            self._write("\n")

    @staticmethod
    def _write(text: str) -> None:
        # A command may be started with its standard error closed.
        if sys.stderr:
            sys.stderr.write(text)
            sys.stderr.flush()


_HANDLER = _Handler()
TERMINAL.addHandler(_HANDLER)
TERMINAL.propagate = False
TERMINAL.setLevel(logging.INFO)

"""How every command ends: where a person made a mistake, and where nobody reads on."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virnucpro_assets.errors import VirnucproError, describe_os_error
from virnucpro_assets.reports.terminal import TERMINAL, end_bar


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End with one line and an exit code where a person made a mistake."""
    try:
        yield
    except VirnucproError as error:
        TERMINAL.error(f"error: {error}")
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        TERMINAL.error(f"error: {describe_os_error(error)}")
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        end_bar()
        raise SystemExit(128 + signal.SIGINT) from None


class OutputStream(io.TextIOWrapper):
    """Standard output or error. A closed pipe (`| head`) ends the command as in other programs, with 128 + SIGPIPE.

    A disk that is full behind standard output is an OSError that names it. Behind standard error it is passed
    over: the work goes on without its messages.
    """

    def write(self, text: str, /) -> int:
        with self._failures():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._failures():
            super().flush()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is still in the buffer would fail again when the interpreter ends.
            with Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self.fileno())
            if error.errno == errno.EPIPE:
                sys.exit(128 + signal.SIGPIPE)
            if self.fileno() == 1:
                raise OSError(error.errno, error.strerror, "standard output") from error


def take_over_streams() -> None:
    """Make standard output and error, where they are open, such streams."""
    for name in ("stdout", "stderr"):
        if former := getattr(sys, name):
            how = {
                "encoding": former.encoding,
                "errors": former.errors,
                "line_buffering": former.line_buffering,
            }
            setattr(sys, name, OutputStream(former.detach(), **how))

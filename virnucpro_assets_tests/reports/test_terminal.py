"""What a command shows on standard error: plain lines, and on a terminal a bar that takes one line."""

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from virnucpro_assets.demo.paths import ESM2_FOLDER
from virnucpro_assets.demo.recognise import demo_line
from virnucpro_assets.inference.progress import Shown
from virnucpro_assets.reports.terminal import TERMINAL, bar, end_bar, say

END = "<end>"
HALF = "esm2: 2 of 4 (50%) sequences, 10 a second, 12 s left"
WHOLE = "esm2: 4 of 4 (100%) sequences, 10 a second"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Standard error is a terminal of 80 columns for the block; what was written is there at its end."""
    shown: list[bytes] = []
    master, slave = pty.openpty()
    with monkeypatch.context() as patch, os.fdopen(slave, "w") as stream:
        patch.setattr(sys, "stderr", stream)
        patch.setenv("COLUMNS", "80")
        yield shown
        stream.write(END)
        stream.flush()
        read = b""
        # A terminal gives what was written in pieces.
        while not read.endswith(END.encode()):
            read += os.read(master, 10_000)
        shown.append(read.removesuffix(END.encode()))
    os.close(master)


def test_without_a_terminal_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (HALF, "note: 50% of it", WHOLE):
        say(line)
    assert capsys.readouterr().err == f"{HALF}\nnote: 50% of it\n{WHOLE}\n"


def test_on_a_terminal_progress_is_a_bar_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as shown:
        for line in (HALF, WHOLE, "note: x", HALF, "error: y", HALF):
            say(line)
        end_bar()
        end_bar()
    half = "esm2       [############............] 2 of 4 (50%) sequences, 10 a second, 12 s"
    whole = "esm2       [########################] 4 of 4 (100%) sequences, 10 a second"
    assert shown[0].decode().replace("\r\n", "\n") == (
        f"\r\x1b[K{half}\r\x1b[K{whole}\nnote: x\n\r\x1b[K{half}\nerror: y\n\r\x1b[K{half}\n"
    )


def test_a_bar_has_the_share_and_the_width_of_the_terminal() -> None:
    assert bar(Shown("index", None, "1,200 reads"), 80) == "index      1,200 reads"
    assert bar(Shown("esm2", 99, "x"), 80) == f"esm2       [{'#' * 23}.] x"
    assert bar(Shown("dnabert_s", 0, "0 of 8 (0%) sequences"), 20) == "dnabert_s  [........"


def test_a_quiet_command_shows_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    demo = demo_line({"esm2": ESM2_FOLDER})
    TERMINAL.setLevel("WARNING")
    try:
        for line in (HALF, "note: x", "warning: y", demo):
            say(line)
    finally:
        TERMINAL.setLevel("INFO")
    assert capsys.readouterr().err == f"warning: y\n{demo}\n"


def test_a_command_with_standard_error_closed_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as closed:
        closed.setattr(sys, "stderr", None)
        say(HALF)
        say("note: x")
    say("note: y")
    assert capsys.readouterr().err == "note: y\n"

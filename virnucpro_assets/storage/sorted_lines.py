"""Sorting more lines than fit into memory.

Lines are added in any order; whenever `run_bytes` of them are in memory they are sorted and appended to one unnamed
temporary file, as a run. At the end the runs are merged, a block of each at a time: all lines up to the smallest of the
blocks' last lines are complete, so they are sorted together (which is fast, as they are sorted pieces) and returned.
Memory is a few times `run_bytes`, and the temporary file disappears with the process.
"""

import io
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

SMALLEST_BLOCK = 1 << 16


@dataclass(slots=True)
class _Run:
    """A sorted part of the temporary file, and its lines that are in memory."""

    position: int
    end: int
    lines: list[bytes] = field(default_factory=list)
    taken: int = 0


class SortedLines:
    """Collects lines and returns them in the order of their bytes, the newline included.

    UTF-8 keeps the order of the characters, so this is plain string order too.
    """

    def __init__(self, folder: Path, run_bytes: int = 16 << 20) -> None:
        """Use `folder` for the temporary file, and sort `run_bytes` of text at a time."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by __exit__)
        self._run_bytes = run_bytes
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._runs: list[_Run] = []

    def __enter__(self) -> "SortedLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, text: bytes) -> None:
        """Add the lines of `text`, each ended by a newline."""
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if self._waiting_bytes >= self._run_bytes:
            self._spill()

    def merged(self) -> Iterator[bytes]:
        """All lines in order, as blocks of whole lines. To be called once, after the last `add`."""
        if not self._runs:
            yield self._sort_waiting()
            return
        self._spill()
        block_bytes = max(SMALLEST_BLOCK, self._run_bytes // len(self._runs))
        runs = self._filled(self._runs, block_bytes)
        while runs:
            bound = min(run.lines[-1] for run in runs)
            final: list[bytes] = []
            for run in runs:
                cut = bisect_right(run.lines, bound, lo=run.taken)
                final += run.lines[run.taken : cut]
                run.taken = cut
            final.sort()
            yield b"".join(final)
            runs = self._filled(runs, block_bytes)

    def _sort_waiting(self) -> bytes:
        lines = _lines(b"".join(self._waiting))
        lines.sort()
        self._waiting.clear()
        self._waiting_bytes = 0
        return b"".join(lines)

    def _spill(self) -> None:
        start = self._file.tell()
        self._file.write(self._sort_waiting())
        if self._file.tell() > start:
            self._runs.append(_Run(start, self._file.tell()))

    def _filled(self, runs: list[_Run], block_bytes: int) -> list[_Run]:
        """Read the next block of every run without lines in memory; runs that have ended are left out."""
        for run in runs:
            if run.taken == len(run.lines) and run.position < run.end:
                self._file.seek(run.position)
                block = self._file.read(min(block_bytes, run.end - run.position))
                if self._file.tell() < run.end:
                    block += self._file.readline()
                run.lines = _lines(block)
                run.position = self._file.tell()
                run.taken = 0
        return [run for run in runs if run.taken < len(run.lines)]


def _lines(text: bytes) -> list[bytes]:
    """The lines of `text` with their newlines; only a newline ends a line."""
    return io.BytesIO(text).readlines()

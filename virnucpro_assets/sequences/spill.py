"""Candidates on disk as sorted runs, so that a drop of any size is indexed in little memory.

Candidates are collected in input order until they have `budget` bytes, and then become one run: their distinct
(protein, nucleotides) pairs, longest protein first, then in the order of their bytes, and the run's members in input
order, each with the position of its pair.

For proteins of p residues a pair is a record of 4p + 1 bytes: the protein, then its 3p or
3p + 1 nucleotides, filled with NUL. So the records of one protein length are the rows of a
matrix, compared and sorted as fixed-width byte strings. A whole chunk, which has no protein, is a
record of as many bytes as the longest chunk may have.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from virnucpro_assets.files.parquet import column_values
from virnucpro_assets.sequences.batches import CandidateBatch
from virnucpro_assets.sequences.ragged import Ragged, copy_segments, joined

Records = npt.NDArray[np.uint8]
"""uint8 [n, 4p + 1]: distinct candidates whose proteins have p residues; [n, chunk length] without any."""

MEMBER_BYTES = 64
"""Bytes that a member adds to the budget beside its letters: its numbers and their sorting."""


@dataclass(frozen=True, slots=True)
class RunGroup:
    """The records of one protein length in one run: sorted and distinct.

    `first` is the position of the first one among the records of all runs, `offset` its position
    in the file of records, in bytes.
    """

    protein_length: int
    first: int
    count: int
    offset: int


@dataclass(frozen=True, slots=True)
class RunMembers:
    """The members of one run in input order (see CandidateBatch).

    `position` int64 [m] is that of the member's record among the records of the run, which
    are `records` from `first` on among the records of all runs.
    """

    read: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int8]
    position: npt.NDArray[np.int64]
    first: int
    records: int


def record_width(protein_length: int, chunk_length: int) -> int:
    """Bytes of a record: the protein and at most one base more than its codons, or a whole chunk without one."""
    return 4 * protein_length + 1 if protein_length else chunk_length


def sort_keys(records: Records) -> npt.NDArray[np.bytes_]:
    """The records [n, width] as n byte strings that compare like them."""
    return np.ascontiguousarray(records).view(f"S{records.shape[1]}").ravel()


def sorted_distinct(records: Records) -> tuple[Records, npt.NDArray[np.int64]]:
    """The distinct records in order, and int64 [n]: where each of `records` is among them."""
    keys = sort_keys(records)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_first = np.concatenate((np.ones(1, np.bool_), ordered[1:] != ordered[:-1]))
    index = np.empty(len(order), np.int64)
    index[order] = np.cumsum(is_first) - 1
    return records[order[is_first]], index


class Spill:
    """Runs in two files of `folder`; add candidates in input order, then `finish`, then read.

    No candidate has more than `chunk_length` nucleotides.
    """

    def __init__(self, folder: Path, budget: int, chunk_length: int) -> None:
        self.groups: list[RunGroup] = []
        self.records = 0
        self._chunk_length = chunk_length
        self._runs: list[tuple[int, int]] = []
        self._budget = budget
        self._waiting: list[CandidateBatch] = []
        self._waiting_bytes = 0
        self._record_file = (folder / "records").open("w+b")
        self._members_path = folder / "members.arrows"
        self._member_file = pa.OSFile(str(self._members_path), "wb")
        self._members = pa.ipc.new_stream(self._member_file, _MEMBER_SCHEMA)

    def __enter__(self) -> "Spill":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._member_file.close()
        self._record_file.close()

    def add(self, candidates: CandidateBatch) -> None:
        """Add the next candidates; writes a run when the budget is reached."""
        self._waiting.append(candidates)
        letters = len(candidates.proteins.data) + len(candidates.nucleotides.data)
        self._waiting_bytes += letters + MEMBER_BYTES * len(candidates.read)
        if self._waiting_bytes >= self._budget:
            self._write_run()

    def finish(self) -> None:
        """Write the last run; nothing can be added after it."""
        self._write_run()
        self._record_file.flush()
        self._members.close()
        self._member_file.close()

    def width(self, group: RunGroup) -> int:
        """Bytes of each record of `group`."""
        return record_width(group.protein_length, self._chunk_length)

    def read_records(self, group: RunGroup, start: int, count: int) -> Records:
        """At most `count` records of `group` from its record `start` on."""
        width = self.width(group)
        count = min(count, group.count - start)
        content = os.pread(self._record_file.fileno(), count * width, group.offset + start * width)
        return np.frombuffer(content, np.uint8).reshape(count, width)

    def run_members(self) -> Iterator[RunMembers]:
        """The members of every run, in input order."""
        with pa.OSFile(str(self._members_path), "rb") as file, pa.ipc.open_stream(file) as stream:
            for (first, records), batch in zip(self._runs, stream, strict=True):
                yield RunMembers(
                    column_values(batch["read"], np.int64),
                    column_values(batch["chunk"], np.int32),
                    column_values(batch["frame"], np.int8),
                    column_values(batch["position"], np.int64),
                    first,
                    records,
                )

    def _write_run(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if not any(len(batch.read) for batch in waiting):
            return
        first = self.records
        position = self._write_records(
            joined([batch.proteins for batch in waiting]), joined([batch.nucleotides for batch in waiting])
        )
        self._runs.append((first, self.records - first))
        columns = [
            np.concatenate([batch.read for batch in waiting]),
            np.concatenate([batch.chunk for batch in waiting]),
            np.concatenate([batch.frame for batch in waiting]),
            position - first,
        ]
        self._members.write_batch(
            pa.record_batch([pa.array(column) for column in columns], schema=_MEMBER_SCHEMA)
        )

    def _write_records(self, proteins: Ragged, nucleotides: Ragged) -> npt.NDArray[np.int64]:
        lengths = proteins.lengths
        by_length = np.argsort(-lengths, kind="stable")
        borders = np.flatnonzero(np.diff(lengths[by_length])) + 1
        position = np.empty(len(lengths), np.int64)
        for members in np.split(by_length, borders):
            distinct, index = sorted_distinct(
                _records_of(proteins, nucleotides, members)
                if lengths[members[0]]
                else _records_without_proteins(nucleotides, members, self._chunk_length)
            )
            position[members] = self.records + index
            offset = self._record_file.tell()
            self._record_file.write(distinct.data)
            self.groups.append(RunGroup(int(lengths[members[0]]), self.records, len(distinct), offset))
            self.records += len(distinct)
        return position


_MEMBER_SCHEMA = pa.schema(
    [("read", pa.int64()), ("chunk", pa.int32()), ("frame", pa.int8()), ("position", pa.int64())]
)


def _records_of(proteins: Ragged, nucleotides: Ragged, members: npt.NDArray[np.int64]) -> Records:
    """The records of `members`, whose proteins are of one length."""
    residues = int(proteins.lengths[members[0]])
    bases = 3 * residues
    firsts = nucleotides.offsets[members]
    records = np.zeros((len(members), residues + bases + 1), np.uint8)
    records[:, :residues] = sliding_window_view(proteins.data, residues)[proteins.offsets[members]]
    records[:, residues:-1] = sliding_window_view(nucleotides.data, bases)[firsts]
    longer = np.flatnonzero(nucleotides.offsets[members + 1] - firsts > bases)
    records[longer, -1] = nucleotides.data[firsts[longer] + bases]
    return records


def _records_without_proteins(
    nucleotides: Ragged, members: npt.NDArray[np.int64], chunk_length: int
) -> Records:
    """The records of `members`, which are whole chunks."""
    records = np.zeros((len(members), chunk_length), np.uint8)
    firsts, targets = nucleotides.offsets[members], np.arange(len(members)) * chunk_length
    copy_segments(nucleotides.data, firsts, nucleotides.lengths[members], records.reshape(-1), targets)
    return records

"""The quarantine of a drop: its sequences that cannot be embedded, with their names, as records and as a table."""

from collections.abc import Sequence

from virnucpro_assets.drops.stage_locks import QUARANTINE_LOCK
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import excerpt
from virnucpro_assets.files.locks import locked
from virnucpro_assets.sequences.index import SequenceIndex, first_members, member_counts
from virnucpro_assets.storage.provenance import QuarantinedRow
from virnucpro_assets.storage.quarantine import (
    QUARANTINE_IN_WORDS,
    QuarantineEntry,
    QuarantineRecord,
    read_quarantine,
    remove_former_quarantine,
    write_quarantine,
    write_quarantine_table,
)
from virnucpro_assets.vocabulary import EncoderKind


def record_quarantined(
    work: DropWork, kind: EncoderKind, rank: int, rows: Sequence[QuarantinedRow]
) -> list[str]:
    """Store `rows` as all rows that one rank of a drop cannot embed with one encoder, and rewrite the table.

    Returns a message for each row. Without rows an earlier record of the rank is removed.
    """
    folder = work.folder.quarantine
    if not rows and not read_quarantine(folder):
        return []
    index = work.index
    record = QuarantineRecord(
        encoder=kind,
        rank=rank,
        ranks=index.manifest.ranks,
        index_digest=index.manifest.digest,
        entries=named_rows(index, rows),
    )
    # Ranks that run at the same time share the table: it must contain the records of all.
    with locked(folder / QUARANTINE_LOCK, f"{kind} rank {rank} of drop {work.drop.key}", "wait", work.report):
        remove_former_quarantine(folder, record.index_digest)
        write_quarantine(folder, record)
        write_quarantine_table(folder)
    return [f"{kind} rank {rank}: {describe(entry)}" for entry in record.entries]


def named_rows(index: SequenceIndex, rows: Sequence[QuarantinedRow]) -> list[QuarantineEntry]:
    """The given rows of an index in their order, each with its first member and how many it has."""
    if not rows:
        return []
    wanted = [entry.row for entry in rows]
    names, counts = first_members(index, wanted), member_counts(index, wanted)
    return [
        QuarantineEntry(
            row=entry.row,
            reason=entry.reason,
            first_member=names[entry.row],
            members=counts[entry.row],
        )
        for entry in sorted(rows, key=lambda entry: entry.row)
    ]


def describe(entry: QuarantineEntry) -> str:
    """One line about a row that cannot be embedded."""
    others = f" and {entry.members - 1:,} more" if entry.members > 1 else ""
    reason = QUARANTINE_IN_WORDS[entry.reason]
    return (
        f"{excerpt(entry.first_member)}{others}, row {entry.row} of the index, cannot be embedded: {reason}"
    )

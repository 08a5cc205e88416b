"""Making the training set of labelled drops; one that was made from the same inputs is reused."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from virnucpro_assets.checks.gate import require_passed, subjects_of_merged
from virnucpro_assets.drops.disk_space import check_data_root, require_disk_space
from virnucpro_assets.drops.recipes import EncoderChoices
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import InputError, counted
from virnucpro_assets.files.digests import digest_of_files
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.merged_reader import merged_blocks
from virnucpro_assets.storage.provenance import ENGINE_FORMAT
from virnucpro_assets.storage.training_set import (
    LabelledRows,
    TrainingSetManifest,
    read_manifest_of,
    write_rows,
    write_training_set,
)
from virnucpro_assets.training.choice import Choice, choose_rows
from virnucpro_assets.training.labels import LabelledDrop
from virnucpro_assets.training.options import SetOptions
from virnucpro_assets.training.rows import SourceRows, gather_rows
from virnucpro_assets.training.splits import LEFT_OUT
from virnucpro_assets.vocabulary import ENCODER_KINDS


def make_training_set(
    labelled: Sequence[LabelledDrop], options: SetOptions, settings: Settings, report: Reporter
) -> tuple[Path, TrainingSetManifest]:
    """The folder and the manifest of the training set of some drops; it is made unless it exists.

    Raises InputError if there is no labelled drop or a class is missing, IntegrityError if the embeddings of a drop
    are missing or made with other settings, InsufficientDiskSpaceError if the disk has too little space, CheckError
    if a check of the embeddings of a drop failed.
    """
    if len({one.label for one in labelled}) < 2:
        raise InputError(
            "training sources",
            found=", ".join(f"{one.drop} ({one.label})" for one in labelled) or "none",
            expected="drops of both classes, virus and others",
            advice="Name them with `virnucpro train --virus ... --others ...` or in a table of labels.",
        )
    encoders = EncoderChoices(settings)
    works = [DropWork.on(one.drop, settings, report, encoders) for one in labelled]
    rows = gather_rows(works, labelled, options.sources)
    for work, merged in zip(works, rows.merged, strict=True):
        require_passed(work, subjects_of_merged(work.index.manifest.digest, merged))
    inputs = _inputs(rows, labelled, options)
    folder = settings.training_root / "sets" / digest_of_files(inputs.items())[:12]
    if (manifest := read_manifest_of(folder)) and manifest.inputs == inputs:
        report(f"training set {folder}: exists already")
        return folder, manifest
    choice = choose_rows(rows, options)
    return folder, _write(folder, rows, choice, inputs, report)


def _inputs(rows: SourceRows, labelled: Sequence[LabelledDrop], options: SetOptions) -> dict[str, str]:
    drops = {
        f"drop {one.drop}": f"{one.label} {one.source} {work.index.manifest.digest} {merged.digest}"
        for one, work, merged in zip(labelled, rows.works, rows.merged, strict=True)
    }
    return {**drops, "options": options.model_dump_json(), "engine": str(ENGINE_FORMAT)}


def _write(
    folder: Path, rows: SourceRows, choice: Choice, inputs: dict[str, str], report: Reporter
) -> TrainingSetManifest:
    merged = rows.merged[0]
    count = int((choice.split != LEFT_OUT).sum())
    check_data_root(folder)
    require_disk_space(folder, count * (4 * merged.width + 6 * 8) + 65536, "the training set")
    record = write_rows(folder, _blocks(rows, choice), count, merged.width)
    manifest = TrainingSetManifest(
        inputs=inputs,
        chunk_length=rows.works[0].index.manifest.chunk_length,
        widths=merged.widths,
        encoders={kind: merged.recipes[kind].weights_digest for kind in ENCODER_KINDS},
        precision=merged.recipes["esm2"].precision,
        drops=[work.drop.key for work in rows.works],
        counts=choice.counts,
        left_out=choice.left_out,
        notes=choice.notes,
        sources=choice.sources,
        file=record,
    )
    write_training_set(folder, manifest)
    for name, by_label in choice.counts.items():
        report(
            f"training set, {name}: "
            + ", ".join(f"{counted(n, 'row')} of {label}" for label, n in by_label.items())
        )
    report("left out: " + ", ".join(f"{n:,} {why.replace('_', ' ')}" for why, n in choice.left_out.items()))
    for note in choice.notes:
        report(f"warning: {note}")
    return manifest


def _blocks(rows: SourceRows, choice: Choice) -> Iterator[LabelledRows]:
    for drop, work in enumerate(rows.works):
        kept = np.flatnonzero((rows.drop == drop) & (choice.split != LEFT_OUT))
        position = np.full(work.index.manifest.rows, -1, np.int64)
        position[rows.row[kept]] = kept
        for of_index, embeddings in merged_blocks(work.folder.path):
            chosen = position[of_index]
            wanted = chosen >= 0
            chosen = chosen[wanted]
            yield LabelledRows(
                embeddings=embeddings[wanted],
                is_virus=rows.is_virus[chosen],
                split=choice.split[chosen],
                source=rows.source[chosen],
                drop=rows.drop[chosen],
                row=rows.row[chosen],
                read_length=rows.read_length[chosen],
            )

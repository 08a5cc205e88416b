"""The end of the second stage: the sample of the precision checks, embedded while the devices are there.

What is stored was computed packed, in the precision in use. A sample of whole chunks is computed again in float32, in
float16, and one sequence at a time, and stored for the checks that come after the predictions. Chunks with a
quarantined sequence are left out: it has no embedding to compare, and computing it again may end the device process.

All shards of both encoders must be finished, because their quarantined rows decide what is left out. So it is the run
that finishes the last missing shard that makes the sample, or any later one that finds no sample of these shards.
"""

import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from virnucpro_assets.checks.samples import sample_chunks
from virnucpro_assets.drops.recipes import make_recipe, token_budget
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import BusyError, DamagedFileError
from virnucpro_assets.files.atomic import set_aside
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.inference.messages import SampleTask
from virnucpro_assets.inference.plans import expected_flops, tokens_of_rows
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.storage.check_sample import (
    CHECK_SAMPLE_FILE,
    WAYS,
    CheckSample,
    Embeddings,
    Rows,
    Way,
    precision_of,
    read_check_sample,
    sample_origin,
    write_check_sample,
)
from virnucpro_assets.storage.provenance import Recipe
from virnucpro_assets.storage.shards import finished_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

ROWS_OF_A_TASK = 32
"""Rows that one task computes one at a time: their numbers do not depend on it, so they are spread over all devices."""


def embed_check_sample(work: DropWork, lease: Lease) -> None:
    """Compute and store the sample of a drop, unless a shard is missing or the sample is there.

    Does nothing if another run makes it and the settings say refuse. Raises DeviceError if a device fails, and
    OSError if the disk does: what is finished is kept, and the next run over the drop's embeddings makes the sample.
    """
    if (origin := _origin(work)) is None:
        return
    made_from, quarantined = origin
    try:
        with stage_lock(work, "check_sample", before_waiting=lease.release_devices):
            if _is_there(work, made_from):
                return
            with recorded_stage(work.folder.stages, "check_sample") as figures:
                chunks = work.settings.check_sample
                rows = sample_chunks(work.index, chunks, without=quarantined).rows
                embeddings = _embed(work, lease, rows) if len(rows) else dict.fromkeys(WAYS, _no_rows(work))
                write_check_sample(work.folder.path, CheckSample(made_from, chunks, rows, embeddings))
                figures["sequences"] = len(rows)
    except BusyError as error:
        work.report(f"another run makes the sample of the precision checks: {error}")


def _origin(work: DropWork) -> tuple[str, set[int]] | None:
    """What the sample is made from and the rows to leave out; None while a shard is missing or of another recipe."""
    index = work.index.manifest
    recipes: dict[EncoderKind, Recipe] = {}
    quarantined: dict[EncoderKind, list[int]] = {kind: [] for kind in ENCODER_KINDS}
    for kind in ENCODER_KINDS:
        for rank in range(index.ranks):
            try:
                shard = finished_shard(work.folder.shard(kind, rank, index.ranks))
            except DamagedFileError:
                return None
            if shard is None:
                return None
            recipes.setdefault(kind, make_recipe(work.settings, index, work.encoders[kind]))
            if shard.recipe != recipes[kind]:
                return None
            quarantined[kind] += [entry.row for entry in shard.incidents.quarantined]
    return sample_origin(recipes, quarantined), {row for rows in quarantined.values() for row in rows}


def _is_there(work: DropWork, made_from: str) -> bool:
    """Whether the sample is stored; a damaged file is set aside."""
    try:
        stored = read_check_sample(work.folder.path)
    except DamagedFileError as error:
        path = set_aside(work.folder.path / CHECK_SAMPLE_FILE, "quarantine")
        work.report(f"{error} It was set aside as {path} and is made again")
        return False
    return stored is not None and (stored.made_from, stored.chunks) == (made_from, work.settings.check_sample)


def _embed(work: DropWork, lease: Lease, rows: Rows) -> dict[Way, Embeddings]:
    """float32 [n, d_dna + d_protein] of `rows` in each way."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = {
            (way, kind): list(_tasks(work, way, kind, rows, Path(folder)))
            for way in WAYS
            for kind in ENCODER_KINDS
        }
        flops = sum(
            len(WAYS) * expected_flops(work.encoders[kind], tokens_of_rows(kind, work.index)[rows])
            for kind in ENCODER_KINDS
        )
        lease.complete(_in_order(tasks, work, lease), work.report, flops)
        return {
            way: np.concatenate([_read(tasks[way, kind]) for kind in ENCODER_KINDS], axis=1) for way in WAYS
        }


def _tasks(work: DropWork, way: Way, kind: EncoderKind, rows: Rows, folder: Path) -> list[SampleTask]:
    count = -(-len(rows) // ROWS_OF_A_TASK) if way == "alone" else 1
    return [
        SampleTask(
            encoder=_encoder(work, way, kind),
            index=work.folder.index,
            index_digest=work.index.manifest.digest,
            rows=some.tolist(),
            token_budget=token_budget(work.settings, kind),
            one_at_a_time=way == "alone",
            target=folder / f"{way}-{kind}-{number}.npy",
        )
        for number, some in enumerate(np.array_split(rows, count))
    ]


def _encoder(work: DropWork, way: Way, kind: EncoderKind) -> EncoderChoice:
    return work.encoders[kind].in_precision(precision_of(way, work.settings.precision))


def _in_order(
    tasks: Mapping[tuple[Way, EncoderKind], Sequence[SampleTask]], work: DropWork, lease: Lease
) -> list[SampleTask]:
    """The tasks in the order in which devices take them.

    One device takes what is loaded first, then loads each further encoder once, beside the one before if it can.
    Of several devices one loads what is not there while the others work with what is.
    """
    several = len(lease.devices) > 1

    def is_loaded(key: tuple[Way, EncoderKind]) -> bool:
        return _encoder(work, *key) == work.encoders[key[1]]

    def loaded_first(key: tuple[Way, EncoderKind]) -> tuple[bool, bool]:
        # The encoder that was in use last is ESM-2.
        return key[1] != "esm2", not is_loaded(key)

    def loaded_last(key: tuple[Way, EncoderKind]) -> tuple[bool, bool]:
        return is_loaded(key), key[1] != "esm2"

    order = loaded_last if several else loaded_first
    ordered = [task for key in sorted(tasks, key=order) for task in tasks[key]]
    if several:
        return ordered
    encoders = list(dict.fromkeys(task.encoder for task in ordered))
    following = dict(pairwise([*encoders, None]))
    return [task.model_copy(update={"next_encoder": following[task.encoder]}) for task in ordered]


def _read(tasks: Sequence[SampleTask]) -> Embeddings:
    return np.concatenate([np.load(task.target, allow_pickle=False) for task in tasks])


def _no_rows(work: DropWork) -> Embeddings:
    return np.empty((0, sum(encoder.width for encoder in work.encoders.values())), np.float32)

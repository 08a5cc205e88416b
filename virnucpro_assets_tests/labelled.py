"""Labelled reads of the demo genomes, as files and as finished drops."""

from collections.abc import Sequence
from pathlib import Path

from tools.demo.reads import labelled_reads
from virnucpro_assets.demo.excerpts import ROLES, read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.pipeline.embed import embed_drop, open_pool
from virnucpro_assets.pipeline.index import index_drop
from virnucpro_assets.pipeline.merge import merge_drop
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.training.labels import LabelledDrop
from virnucpro_assets.vocabulary import ENCODER_KINDS, LABELS
from virnucpro_assets_tests.passed_checks import (
    pass_checks_of_index,
    pass_checks_of_merged,
    pass_checks_of_shards,
)


def write_labelled_reads(
    folder: Path, per_label: int, *, seed: int = 1, shortest: int = 150, longest: int = 300
) -> dict[str, Path]:
    """A FASTA file for each class: reads of all excerpts of the demo, each by its name a source of its own.

    So few genomes with encoders that know nothing could not be told from others that were never seen.
    """
    excerpts = [excerpt for role in ROLES for excerpt in read_excerpts(DATA_FOLDER, role)]
    reads = labelled_reads(excerpts, per_label, shortest, longest, seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for label in LABELS:
        own = [read for read in reads if read.label == label]
        lines = (f">{read.source}_{number}:1\n{read.bases.decode()}\n" for number, read in enumerate(own))
        paths[label] = folder / f"{label}.fa"
        paths[label].write_text("".join(lines))
    return paths


def embedded_drops(files: dict[str, Path], settings: Settings) -> list[LabelledDrop]:
    """The files as drops, one a class, indexed, embedded and merged."""
    with open_pool(settings) as pool:
        for label, path in files.items():
            embed(label, [path], settings, pool)
    return [LabelledDrop(drop=label, label=label) for label in LABELS]


def embed(key: str, paths: Sequence[Path], settings: Settings, pool: DevicePool) -> DropWork:
    """A drop of some files, indexed, embedded and merged."""
    register_reads(key, [ReadFile(path) for path in paths], settings)
    list_drop(key, settings)
    work = DropWork.on(key, settings, [].append)
    index_drop(work)
    pass_checks_of_index(work)
    with pool.lease() as lease:
        list(embed_drop(work, dict.fromkeys(ENCODER_KINDS, range(settings.ranks)), lease))
    pass_checks_of_shards(work)
    merge_drop(work)
    pass_checks_of_merged(work)
    return work

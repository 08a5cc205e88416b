"""What a drop is computed from: the origin of its index, its models, the recipes of its embeddings."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from virnucpro_assets.errors import InputError, IntegrityError, counted
from virnucpro_assets.files.digests import digest_of_files
from virnucpro_assets.inference.devices import names_gpus
from virnucpro_assets.inference.encoder_choice import EncoderChoice, Machine, choose_kernels
from virnucpro_assets.models.cards import checked_model_folder
from virnucpro_assets.models.encoders import ENCODERS, published_model
from virnucpro_assets.models.registry import Registry
from virnucpro_assets.sequences.index_manifest import IndexManifest, IndexOrigin
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_names import nearest
from virnucpro_assets.storage.drops import DropManifest
from virnucpro_assets.storage.provenance import ENGINE_FORMAT, Recipe
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

CPU_BUDGET = 8192
"""Tokens of a pack."""


class EncoderChoices(Mapping[EncoderKind, EncoderChoice]):
    """The encoders of the settings, for one step of a run.

    A model folder is checked once, when its encoder is first used, so that all drops of a step are computed with the
    same models.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chosen: dict[EncoderKind, EncoderChoice] = {}

    def __getitem__(self, kind: EncoderKind) -> EncoderChoice:
        if kind not in self._chosen:
            self._chosen[kind] = choose_encoder(self._settings, kind)
        return self._chosen[kind]

    def __iter__(self) -> Iterator[EncoderKind]:
        return iter(ENCODER_KINDS)

    def __len__(self) -> int:
        return len(ENCODER_KINDS)


def installed_encoder(settings: Settings, kind: EncoderKind) -> Path:
    """The folder of the encoder that the settings name; InputError if it is not installed."""
    folder = settings.encoder_folder(kind)
    if folder.is_dir():
        return folder
    published, is_name = published_model(folder.name), len(folder.parts) == 1
    installed = Registry(settings.models).names()
    near = f", the nearest is {nearest(folder.name, installed)}" if is_name and installed else ""
    raise InputError(
        f"setting {kind}",
        found=f"{folder}, which is not installed in {settings.models}" if is_name else f"no folder {folder}",
        expected="the name of an installed model, or its folder",
        advice=f"Run `virnucpro models fetch {published.name}`, or name another; `virnucpro models list` shows them."
        if is_name and published
        else f"`virnucpro models list` shows the installed ones{near}; docs/models.md says how to install others.",
    )


def choose_encoder(settings: Settings, kind: EncoderKind) -> EncoderChoice:
    """The encoder of this kind in the settings.

    Raises InputError if it is not installed, if its folder has another kind of model, or if the chosen kernels cannot
    run here, and IntegrityError if the folder is damaged or differs from its card.
    """
    folder = checked_model_folder(installed_encoder(settings, kind))
    if folder.kind != kind:
        raise InputError(
            folder.path,
            found=f"a model of kind {folder.kind}",
            expected=kind,
            advice=f"Set VIRNUCPRO_{kind.upper()} to a folder with such a model.",
        )
    machine = Machine(has_gpus=names_gpus(settings.devices, visible=settings.visible_gpus))
    kernels = choose_kernels(
        kind, settings.precision, machine, settings.attention, fused=settings.fused_kernels
    )
    return EncoderChoice(
        kind=kind,
        folder=folder.path.absolute(),
        digest=folder.digest,
        width=folder.width,
        precision=settings.precision,
        attention=kernels.attention,
        fused=kernels.fused,
        stamps=folder.stamps,
    )


def token_budget(settings: Settings, kind: EncoderKind) -> int:
    """Tokens of a pack of an encoder: the setting, or the default of the devices."""
    if settings.token_budget is not None:
        return settings.token_budget
    has_gpus = names_gpus(settings.devices, visible=settings.visible_gpus)
    return ENCODERS[kind].gpu_token_budget if has_gpus else CPU_BUDGET


def index_origin(drop: DropManifest, settings: Settings) -> IndexOrigin:
    """The origin of the index of a drop under the settings.

    Drops of the same files have the same digest, whatever the order and the mates of the files; the index depends on
    both.
    """
    files = zip(drop.source.files, drop.records, strict=True)
    return IndexOrigin(
        drop_digest=drop.digest,
        files_digest=digest_of_files(
            (f"{number:06d} mate {file.mate}", record.sha256) for number, (file, record) in enumerate(files)
        ),
        chunk_length=drop.source.chunk_length,
        ranks=settings.ranks,
        duplicates=drop.source.duplicates,
        engine_format=ENGINE_FORMAT,
        frameless="kept" if settings.score_reads_without_open_frame else None,
    )


def make_recipe(settings: Settings, index: IndexManifest, encoder: EncoderChoice) -> Recipe:
    """The recipe of one encoder's embeddings for an index under the settings."""
    return Recipe(
        encoder=encoder.kind,
        index_digest=index.digest,
        weights_digest=encoder.digest,
        precision=encoder.precision,
        attention=encoder.attention,
        fused=encoder.fused,
        token_budget=token_budget(settings, encoder.kind),
        packs_per_part=settings.packs_per_part,
        ranks=index.ranks,
        cached=settings.embedding_cache is not None,
    )


def check_ranks(settings: Settings, index: IndexManifest) -> None:
    """Raise IntegrityError if a drop was indexed for another number of ranks than that of the settings."""
    if index.ranks != settings.ranks:
        raise IntegrityError(
            f"index {index.digest[:12]}",
            found=counted(index.ranks, "rank"),
            expected=f"{settings.ranks} as in the settings",
            advice="Materialise sequence_index again, or set VIRNUCPRO_RANKS back.",
        )

"""Texts about models: those in use, those in the registry, and those that can be fetched."""

from pathlib import Path

from virnucpro_assets.demo.recognise import NOTE, is_demo_model
from virnucpro_assets.drops.recipes import token_budget
from virnucpro_assets.errors import InputError, VirnucproError, counted
from virnucpro_assets.models.cards import ClassifierCard, EncoderCard
from virnucpro_assets.models.configs import pack_bytes, weights_bytes
from virnucpro_assets.models.encoders import CATALOGUE
from virnucpro_assets.models.folders import WEIGHTS_FILE, read_config, read_model_folder
from virnucpro_assets.models.registry import InstalledModel, Registry
from virnucpro_assets.reports.pages import table
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import ENCODER_KINDS, Precision

GIB, MIB = 1 << 30, 1 << 20
CHUNK_LENGTHS = (300, 500)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")


def installed_lines(settings: Settings) -> list[str]:
    """The models in use with the settings that name them, then those in the registry."""
    in_use = _in_use(settings)
    lines = table(
        ("in use as", "folder"), [(what, _found(folder, settings)) for what, folder in in_use.items()]
    )
    registry = Registry(settings.models)
    used = {folder.resolve() for folder in in_use.values()}
    rows = [
        (name, "yes" if registry.path(name).resolve() in used else "no", *_row(registry, name))
        for name in registry.names()
    ]
    lines += ["", f"registry {settings.models.absolute()}"]
    if not rows:
        return [*lines, "it is empty; start with `virnucpro models fetch` or `virnucpro models import`"]
    return lines + table(("name", "in use", "what", "stored as", "MiB", "from"), rows)


def how_to_use(model: InstalledModel) -> list[str]:
    """How an installed model comes into use."""
    if isinstance(model.card, ClassifierCard):
        return _use_of_classifier(model.path)
    return [f'use it, in virnucpro.toml: {read_config(model.path).kind} = "{model.name}"']


def require_real_models(settings: Settings) -> None:
    """Raise InputError if a model that the settings name is missing or belongs to the demo."""
    for name, folder in settings.model_folders(settings.chunk_length).items():
        is_there = (folder / WEIGHTS_FILE).is_file()
        if not is_there or is_demo_model(folder):
            setting = "classifiers" if name.startswith("classifier") else name
            raise InputError(
                f"setting {setting}",
                found=f"a {NOTE} in {folder}" if is_there else f"no model in {folder}",
                expected="a fetched, imported or trained model",
                advice=f"Install one (docs/models.md) and set VIRNUCPRO_{setting.upper()}.",
            )


def require_demo_models(settings: Settings) -> None:
    """Raise InputError if the settings name an encoder that is none of the demo's."""
    for kind in ENCODER_KINDS:
        folder = settings.encoder_folder(kind)
        if not is_demo_model(folder):
            raise InputError(
                f"setting {kind}",
                found=f"{folder}, which is no {NOTE}",
                expected="the demo models, which the demo is about",
                advice=f"Unset VIRNUCPRO_{kind.upper()}, and {kind} in virnucpro.toml. Reads of your own are called by "
                "`virnucpro predict`.",
            )


def published_lines() -> list[str]:
    """The published encoders: parameters, GiB of the weights by precision, licence, and source."""
    rows = [
        (
            model.name,
            f"{model.config.parameters / 1e6:,.0f} M",
            f"{weights_bytes(model.config, 'float32') / GIB:.2f}",
            f"{weights_bytes(model.config, 'float16') / GIB:.2f}",
            model.licence,
            f"{model.repository}@{model.revision[:12]}",
        )
        for model in CATALOGUE
    ]
    return table(("name", "parameters", "GiB float32", "GiB 16 bit", "licence", "fetched from"), rows)


def model_lines(settings: Settings, name: str) -> list[str]:
    """All data about one model in the registry. Raises InputError if there is none of this name."""
    model = Registry(settings.models).model(name)
    lines = [f"folder: {model.path.absolute()}"]
    if isinstance(model.card, ClassifierCard):
        return [*lines, *card_lines(model.card), *how_to_use(model)]
    lines += card_lines(model.card) if model.card else [f"digest: {read_model_folder(model.path).digest}"]
    config = read_config(model.path)
    budget = token_budget(settings, config.kind)
    for precision in PRECISIONS:
        weights, pack = (
            weights_bytes(config, precision),
            pack_bytes(config, precision, budget),
        )
        lines.append(
            f"memory in {precision}: {weights / GIB:.2f} GiB of weights, about {pack / GIB:.2f} GiB for a pack of "
            f"{counted(budget, 'token')} (computed)"
        )
    return [*lines, *how_to_use(model)]


def _in_use(settings: Settings) -> dict[str, Path]:
    folders: dict[str, Path] = {kind: settings.encoder_folder(kind) for kind in ENCODER_KINDS}
    folders |= {
        f"classifier for chunks of {length}": settings.classifier_folder(length) for length in CHUNK_LENGTHS
    }
    short = [f"reads below {settings.dna_only_below_bases}"] if settings.dna_only_below_bases else []
    without_frame = ["reads without an open frame"] if settings.score_reads_without_open_frame else []
    if of_dna := " and ".join(short + without_frame):
        folders |= {
            f"classifier for {of_dna}, chunks of {length}": settings.classifier_folder(length, "dna")
            for length in CHUNK_LENGTHS
        }
    return folders


def _found(folder: Path, settings: Settings) -> str:
    if (folder / WEIGHTS_FILE).is_file():
        return str(folder.absolute())
    place = settings.models / folder if len(folder.parts) == 1 else folder
    return f"{place.absolute()} (not installed)"


def _row(registry: Registry, name: str) -> tuple[str, ...]:
    try:
        return _about(registry.model(name))
    except (VirnucproError, OSError) as error:
        # A damaged model must not hide the others.
        return ("damaged", "", "", str(error))


def _about(model: InstalledModel) -> tuple[str, str, str, str]:
    size = f"{model.stored_bytes / MIB:,.1f}"
    match model.card:
        case ClassifierCard() as card:
            return (
                f"classifier, chunks of {card.chunk_length}, {card.width} wide, {card.route}",
                "float32",
                size,
                card.note or card.training_data,
            )
        case EncoderCard() as card:
            published = card.model if card.is_published else f"shape of {card.model or 'no published model'}"
            return (f"{card.kind}, {card.width} wide: {published}", card.stored_as, size, card.source)
        case _:
            config = read_config(model.path)
            return (f"{config.kind}, {config.hidden_size} wide", "", size, "no card")


def card_lines(card: ClassifierCard | EncoderCard) -> list[str]:
    """The fields of a card, a line each."""
    return [f"{name}: {_text(value)}" for name, value in card.model_dump(mode="json").items() if value != ""]


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items()) or "none"
    return str(value)


def _use_of_classifier(path: Path) -> list[str]:
    if path.name in {f"classifier_{length}" for length in CHUNK_LENGTHS}:
        return [f'use it, in virnucpro.toml: classifiers = "{path.parent}"']
    if path.name in {f"classifier_{length}_dna" for length in CHUNK_LENGTHS}:
        return [
            f'use it for short reads, in virnucpro.toml: classifiers = "{path.parent}"',
            "dna_only_below_bases = 300",
        ]
    return ["use it: give it the name classifier_300 or classifier_500, and set classifiers to its folder"]

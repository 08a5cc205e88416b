"""Texts about the classifiers that were trained here, and which of them are in use."""

from collections.abc import Iterator

from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.models.cards import Inputs
from virnucpro_assets.models.versions import CONFIGURED, ClassifierVersions, Version
from virnucpro_assets.reports.model_pages import CHUNK_LENGTHS, card_lines
from virnucpro_assets.reports.pages import table
from virnucpro_assets.settings import Settings

PAGE = "evaluation.html"

Use = tuple[int, Inputs]
"""What a classifier is used for: its chunk length, and `dna` for the one of short reads, else `both`."""


def versions_by_use(settings: Settings) -> dict[Use, ClassifierVersions]:
    """The versions by use."""
    kinds: tuple[Inputs, ...] = ("both", "dna")
    return {
        (length, inputs): settings.classifier_versions(length, inputs)
        for length in CHUNK_LENGTHS
        for inputs in kinds
    }


def version_lines(settings: Settings) -> Iterator[str]:
    """All versions, a line each, with those in use marked and the result of their evaluation."""
    rows = [
        (use_in_words(use), name, "in use" if versions.in_use() == name else "", *_about(versions, name))
        for use, versions in versions_by_use(settings).items()
        for name in versions.names()
    ]
    if not rows:
        yield f"no classifier was trained in {settings.data_root.absolute()}; start with `virnucpro train`"
    else:
        yield from table(("for", "version", "", "made (UTC)", "inputs", "result of its evaluation"), rows)
    for use, versions in versions_by_use(settings).items():
        if versions.names() and versions.in_use() == CONFIGURED:
            yield f"in use for {use_in_words(use)}: the one of the settings, {_configured(settings, use)}"


def one_version_lines(settings: Settings, name: str) -> Iterator[str]:
    """All data about a version; InputError if there is no version of this name."""
    _, version = find_version(settings, name)
    yield f"folder: {version.path.absolute()}"
    yield f"evaluation: {(version.path / PAGE).absolute()}"
    yield f"result of its evaluation: {version.record.verdict}"
    yield from card_lines(version.card)
    for option, value in version.record.options.items():
        yield f"option {option}: {value}"


def find_version(settings: Settings, name: str) -> tuple[Use, Version]:
    """The version of this name and its use; InputError if there is none."""
    found = {use: versions for use, versions in versions_by_use(settings).items() if name in versions.names()}
    for use, versions in found.items():
        return use, versions.version(name)
    listed = [one for versions in versions_by_use(settings).values() for one in versions.names()]
    raise InputError(
        f"version {name!r}",
        found="no such version",
        expected=", ".join(listed) or "a version; none has been trained",
        advice="List them with `virnucpro classifiers list`.",
    )


def use_in_words(use: Use) -> str:
    """For example `chunks of 300`, or `chunks of 300, short reads`."""
    length, inputs = use
    return f"chunks of {length}" + (", short reads" if inputs == "dna" else "")


def in_use_line(settings: Settings, use: Use) -> str:
    """Which classifier is in use for this use."""
    name = versions_by_use(settings)[use].in_use()
    shown = f"the one of the settings, {_configured(settings, use)}" if name == CONFIGURED else name
    return f"in use for {use_in_words(use)}: {shown}"


def _about(versions: ClassifierVersions, name: str) -> tuple[str, str, str]:
    """When a version was made, its inputs and the result of its evaluation; for a damaged one the error."""
    try:
        version = versions.version(name)
    except IntegrityError as error:
        return "damaged", "", str(error)
    return f"{version.record.made_at:%Y-%m-%d %H:%M}", version.card.inputs, version.record.verdict


def _configured(settings: Settings, use: Use) -> str:
    length, inputs = use
    return str((settings.classifiers / f"classifier_{length}{'_dna' if inputs == 'dna' else ''}").absolute())

"""What people read of the classifiers that were trained here, and the choice among them."""

from collections.abc import Iterator

from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.models.cards import Inputs
from virnucpro_assets.models.versions import CONFIGURED, ClassifierVersions, Version
from virnucpro_assets.reports.model_pages import CHUNK_LENGTHS, card_lines, table
from virnucpro_assets.settings import Settings

PAGE = "evaluation.html"

Place = tuple[int, Inputs]
"""Chunk length, and `dna` for the classifier of short reads, else `both`."""


def places(settings: Settings) -> dict[Place, ClassifierVersions]:
    """The versions of every place that a classifier can take."""
    kinds: tuple[Inputs, ...] = ("both", "dna")
    return {
        (length, inputs): settings.classifier_versions(length, inputs)
        for length in CHUNK_LENGTHS
        for inputs in kinds
    }


def version_lines(settings: Settings) -> Iterator[str]:
    """All versions, a line each, those in use marked, and how good each was found."""
    rows = [
        (place_in_words(place), name, "in use" if versions.in_use() == name else "", *_about(versions, name))
        for place, versions in places(settings).items()
        for name in versions.names()
    ]
    if not rows:
        yield f"no classifier was trained in {settings.data_root.absolute()}; begin with `virnucpro train`"
    else:
        yield from table(("for", "version", "", "made (UTC)", "inputs", "found when it was made"), rows)
    for place, versions in places(settings).items():
        if versions.names() and versions.in_use() == CONFIGURED:
            yield f"for {place_in_words(place)} that of the settings is in use: {_configured(settings, place)}"


def one_version_lines(settings: Settings, name: str) -> Iterator[str]:
    """All that is known of a version; InputError if there is none of this name."""
    _, version = find_version(settings, name)
    yield f"folder: {version.path.absolute()}"
    yield f"evaluation: {(version.path / PAGE).absolute()}"
    yield f"found when it was made: {version.record.verdict}"
    yield from card_lines(version.card)
    for option, value in version.record.options.items():
        yield f"option {option}: {value}"


def find_version(settings: Settings, name: str) -> tuple[Place, Version]:
    """The version of this name and its place; InputError if there is none."""
    found = {place: versions for place, versions in places(settings).items() if name in versions.names()}
    for place, versions in found.items():
        return place, versions.version(name)
    listed = [one for versions in places(settings).values() for one in versions.names()]
    raise InputError(
        f"version {name!r}",
        found="no such version",
        expected=", ".join(listed) or "a version; none was trained yet",
        advice="List them with `virnucpro classifiers list`.",
    )


def place_in_words(place: Place) -> str:
    """For example `chunks of 300`, or `chunks of 300, short reads`."""
    length, inputs = place
    return f"chunks of {length}" + (", short reads" if inputs == "dna" else "")


def in_use_line(settings: Settings, place: Place) -> str:
    """Which classifier is in use at a place."""
    name = places(settings)[place].in_use()
    shown = f"that of the settings, {_configured(settings, place)}" if name == CONFIGURED else name
    return f"in use for {place_in_words(place)}: {shown}"


def _about(versions: ClassifierVersions, name: str) -> tuple[str, str, str]:
    """When a version was made, what it takes and what was found; of a damaged one what is wrong."""
    try:
        version = versions.version(name)
    except IntegrityError as error:
        return "damaged", "", str(error)
    return f"{version.record.made_at:%Y-%m-%d %H:%M}", version.card.inputs, version.record.verdict


def _configured(settings: Settings, place: Place) -> str:
    length, inputs = place
    return str((settings.classifiers / f"classifier_{length}{'_dna' if inputs == 'dna' else ''}").absolute())

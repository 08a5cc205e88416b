"""Which classifiers score a drop, and which of its reads each of them.

There is the usual classifier of the drop's chunk length. With the setting `dna_only_below_bases`, reads with
fewer bases go to a second one, which takes the DNA's embeddings alone. With `score_reads_without_open_frame` so do,
whatever their length, those whose whole chunks the index holds, because they have no protein. A read
goes one way with all its chunks. What routes need is looked at before an embedding starts: a setting that asks for what
no card has is refused then, and not after hours.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.digests import digest_of_files
from virnucpro_assets.models.calibration import calibrated
from virnucpro_assets.models.cards import CARD_FILE, ClassifierCard, checked_weights_digest, read_card
from virnucpro_assets.sequences.batches import WHOLE_CHUNK
from virnucpro_assets.sequences.index import IndexManifest, MemberBatch, SequenceIndex
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.routes import ScoredBy
from virnucpro_assets.storage.tables_manifest import TablesManifest

USUAL, SHORT, FRAMELESS = "classifier", "short classifier", "frameless classifier"
"""What a classifier is for. There is never more than one for DNA alone: for short reads, and then for frameless
ones as well if there are any, or for those only."""

LEAST = "least calibrated P(virus) of"
DNA_ONLY_BELOW = "short_below"
"""The setting `dna_only_below_bases` as stored tables name it."""
_INPUTS = (
    *(f"{what}{name}" for name in (USUAL, SHORT, FRAMELESS) for what in ("", "calibration of ")),
    DNA_ONLY_BELOW,
)


@dataclass(frozen=True)
class ClassifierInUse:
    """A classifier by its folder, its card, and what is wanted of it."""

    folder: Path
    card: ClassifierCard
    wanted_precision: float | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its weights; IntegrityError if they are not those of its card."""
        return checked_weights_digest(self.folder, self.card)

    @property
    def calibration(self) -> str:
        """Slope and intercept in words, empty without a calibration."""
        found = self.card.calibration
        return f"slope {found.slope}, intercept {found.intercept}" if found else ""

    @property
    def least(self) -> float | None:
        """The calibrated P(virus) for the wanted precision; None if none is wanted, or the card has none."""
        fitting = (one.least for one in self.card.thresholds if one.precision == self.wanted_precision)
        return next(fitting, None) if self.card.calibration else None

    @property
    def scored_by(self) -> ScoredBy:
        """What the tables need to know of it."""
        calibration = self.card.calibration
        calibrate = partial(calibrated, calibration=calibration) if calibration else None
        return ScoredBy(self.card.route, calibrate, self.least)


@dataclass(frozen=True)
class Routing:
    """The usual classifier, and the one that takes DNA alone, if some reads go to it.

    These are the reads of fewer than `dna_only_below_bases` bases, and those whose members are whole chunks.
    """

    usual: ClassifierInUse
    dna: ClassifierInUse | None = None
    dna_only_below_bases: int = 0

    @property
    def named(self) -> dict[str, ClassifierInUse]:
        """The classifiers by what they are for; positions in it are the routes of members."""
        return {USUAL: self.usual} | (
            {SHORT if self.dna_only_below_bases else FRAMELESS: self.dna} if self.dna else {}
        )

    @property
    def scored_by(self) -> tuple[ScoredBy, ...]:
        """What the tables need to know of each, in the same order."""
        return tuple(one.scored_by for one in self.named.values())

    @property
    def inputs(self) -> dict[str, str]:
        """What decides the scores beside the embeddings, by name."""
        found = {name: one.digest for name, one in self.named.items()}
        found |= {
            f"calibration of {name}": one.calibration for name, one in self.named.items() if one.calibration
        }
        return found | ({DNA_ONLY_BELOW: str(self.dna_only_below_bases)} if self.dna_only_below_bases else {})

    @property
    def digest(self) -> str:
        """What tells these classifiers and their use from others: of one without a calibration its own digest."""
        return self.usual.digest if len(self.inputs) == 1 else digest_of_files(self.inputs.items())

    @property
    def inputs_of_calls(self) -> dict[str, str]:
        """What decides the calls beside the scores, by name: nothing but a wanted precision."""
        return {
            f"{LEAST} {name}": str(one.least) for name, one in self.named.items() if one.least is not None
        }

    def routed_members(self, index: SequenceIndex) -> Iterator[tuple[MemberBatch, npt.NDArray[np.int8]]]:
        """All members in input order, each batch with int8 [m]: the position of their classifiers in `named`.

        Holds one byte a read.
        """
        is_short = self._short_reads(index)
        for batch in index.member_batches():
            yield batch, (is_short[batch.read] | (batch.frame == WHOLE_CHUNK)).astype(np.int8)

    def _short_reads(self, index: SequenceIndex) -> npt.NDArray[np.bool_]:
        if not self.dna_only_below_bases:
            return np.zeros(index.manifest.reads, np.bool_)
        batches = (batch.lengths < self.dna_only_below_bases for batch in index.read_batches())
        return np.concatenate([np.empty(0, np.bool_), *batches])


def classifiers_in_use(settings: Settings, chunk_length: int, index: IndexManifest | None = None) -> Routing:
    """The classifiers that the settings name for this chunk length, by their cards.

    The `index` of a drop decides whether any is needed for frameless reads; before there is one, the settings do.

    Raises IntegrityError if the usual one is missing or a card is damaged, InputError if the settings or
    the index ask for a classifier of DNA alone that is not installed or takes more, or the settings for a
    precision that a card knows no threshold for.
    """
    wanted = settings.calls.wanted_precision
    folder = settings.classifier_folder(chunk_length)
    usual = ClassifierInUse(folder, read_card(folder), wanted)
    routing = Routing(usual)
    has_frameless = (
        settings.score_reads_without_open_frame if index is None else index.whole_chunks is not None
    )
    if settings.dna_only_below_bases or settings.score_reads_without_open_frame or has_frameless:
        dna = _of_dna_alone(settings, chunk_length)
        if settings.dna_only_below_bases or has_frameless:
            routing = Routing(usual, dna, settings.dna_only_below_bases)
    for one in routing.named.values():
        if wanted is not None and one.least is None:
            raise _no_threshold(one, wanted)
        _check_calibration(one, settings)
    return routing


def check_scored_by(folder: Path, predictions: TablesManifest, routing: Routing) -> None:
    """Raise IntegrityError if the predictions in `folder` were not made by these classifiers."""
    expected: Mapping[str, str] = routing.inputs
    for name in _INPUTS:
        found, wanted = predictions.inputs.get(name), expected.get(name)
        if found != wanted:
            shown = "dna_only_below_bases" if name == DNA_ONLY_BELOW else name
            raise IntegrityError(
                f"{folder}: found predictions made with {shown} {found or 'none'}; expected {wanted or 'none'} as in "
                "the settings. Materialise predictions again."
            )


def _of_dna_alone(settings: Settings, chunk_length: int) -> ClassifierInUse:
    folder = settings.dna_classifier_folder(chunk_length)
    setting, wanted, off = (
        (
            "dna_only_below_bases",
            str(settings.dna_only_below_bases),
            "set VIRNUCPRO_DNA_ONLY_BELOW_BASES to 0",
        )
        if settings.dna_only_below_bases
        else (
            "score_reads_without_open_frame",
            "reads without a stop-free frame to score",
            "set VIRNUCPRO_SCORE_READS_WITHOUT_OPEN_FRAME to 0 and materialise sequence_index again",
        )
    )
    advice = f"Train one (`virnucpro train --inputs dna`) or import it, or {off}."
    if not (folder / CARD_FILE).exists():
        raise InputError(
            f"setting {setting}",
            found=f"{wanted}, but no classifier in {folder}",
            expected="a classifier that takes DNA alone there",
            advice=advice,
        )
    card = read_card(folder)
    if card.inputs != "dna":
        raise InputError(
            folder,
            found=f"a classifier that takes {card.inputs}",
            expected=f"one that takes dna alone, for the setting {setting}",
            advice=advice,
        )
    return ClassifierInUse(folder, card, settings.calls.wanted_precision)


def _check_calibration(one: ClassifierInUse, settings: Settings) -> None:
    """Raise InputError if a setting needs a calibration, or what it was fitted on, and the card has none."""
    calibration = one.card.calibration
    for setting, value, is_known, expected in (
        ("calls.wanted_fdr", settings.calls.wanted_fdr, calibration is not None, "a calibration"),
        (
            "expected_viral_share",
            settings.expected_viral_share,
            calibration is not None and calibration.virus_share is not None,
            "a calibration that says the share of viruses where it was fitted",
        ),
    ):
        if value is not None and not is_known:
            raise InputError(
                f"setting {setting}",
                found=f"{value}, for which the card of {one.folder} has too little",
                expected=expected,
                advice=f"Train the classifier with this version, or leave {setting} out.",
            )


def _no_threshold(one: ClassifierInUse, wanted: float) -> InputError:
    known = [threshold.precision for threshold in one.card.thresholds] if one.card.calibration else []
    listed = ", ".join(map(str, known)) or "none"
    return InputError(
        "setting calls.wanted_precision",
        found=f"{wanted}, for which {one.folder} has no threshold",
        expected=f"a precision that its card knows: {listed}",
        advice="Set VIRNUCPRO_CALLS__WANTED_PRECISION to one of them, or leave it out.",
    )

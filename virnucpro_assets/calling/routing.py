"""Which classifiers score a drop, and which reads each of them scores.

The default classifier is the one for the drop's chunk length. With the setting `dna_only_below_bases`, reads with fewer
bases are scored by a second one, which uses the embeddings of the DNA only. With `score_reads_without_open_frame` so
are reads of any length that have no protein: the index holds their whole chunks. All chunks of a read are scored by the
same classifier. All requirements are checked before an embedding starts: a setting that no card can fulfil fails then,
not hours later.
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
from virnucpro_assets.sequences.index import MemberBatch, SequenceIndex
from virnucpro_assets.sequences.index_manifest import IndexManifest
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.scored_members import ScoredBy
from virnucpro_assets.storage.tables import TablesManifest

DEFAULT, SHORT, WITHOUT_OPEN_FRAME = "classifier", "short classifier", "frameless classifier"
"""Roles of classifiers, as the manifests of the tables name them. At most one classifier uses DNA only: it scores short
reads, and reads without an open frame as well if there are any, or only those."""

CALIBRATION = "calibration of"
THRESHOLD = "least calibrated P(virus) of"
READS_BY_ROUTE = "called reads scored by"
"""Before the name of a route: what the calls' manifest counts."""

EXPECTED_FALSE = "expected false calls"
"""The figure of the calls' stage with the expected number of wrong Viral calls; `unknown` without a calibration."""

REGION_RULES, LOW_COMPLEXITY = "rules of regions", "dust score of low complexity"
WANTED_FDR, EXPECTED_SHARE = "wanted false discovery rate", "expected share of viruses"
"""Settings, as the manifest of the calls names them."""

DNA_ONLY_BELOW = "short_below"
"""The setting `dna_only_below_bases`, as stored tables name it."""
_INPUTS = (
    *(f"{what}{name}" for name in (DEFAULT, SHORT, WITHOUT_OPEN_FRAME) for what in ("", f"{CALIBRATION} ")),
    DNA_ONLY_BELOW,
)


@dataclass(frozen=True)
class ClassifierInUse:
    """A classifier: its folder, its card, and the precision that the settings require of it."""

    folder: Path
    card: ClassifierCard
    wanted_precision: float | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its weights; IntegrityError if they are not those of its card."""
        return checked_weights_digest(self.folder, self.card)

    @property
    def calibration(self) -> str:
        """Slope and intercept as text, empty without a calibration."""
        found = self.card.calibration
        return f"slope {found.slope}, intercept {found.intercept}" if found else ""

    @property
    def threshold(self) -> float | None:
        """The calibrated P(virus) that reaches the wanted precision; None if none is wanted, or the card has none."""
        fitting = (one.least for one in self.card.thresholds if one.precision == self.wanted_precision)
        return next(fitting, None) if self.card.calibration else None

    @property
    def scored_by(self) -> ScoredBy:
        """The properties of it that the tables use."""
        calibration = self.card.calibration
        calibrate = partial(calibrated, calibration=calibration) if calibration else None
        return ScoredBy(self.card.route, calibrate, self.threshold)


@dataclass(frozen=True)
class Routing:
    """The default classifier, and the one that uses DNA only if it scores any reads.

    Those are the reads of fewer than `dna_only_below` bases, and those whose members are whole chunks.
    """

    default: ClassifierInUse
    dna: ClassifierInUse | None = None
    dna_only_below: int = 0

    @property
    def named(self) -> dict[str, ClassifierInUse]:
        """The classifiers by role; a position in this order is the route of a member."""
        second = SHORT if self.dna_only_below else WITHOUT_OPEN_FRAME
        return {DEFAULT: self.default} | ({second: self.dna} if self.dna else {})

    @property
    def scored_by(self) -> tuple[ScoredBy, ...]:
        """The properties of each that the tables use, in the same order."""
        return tuple(one.scored_by for one in self.named.values())

    @property
    def inputs(self) -> dict[str, str]:
        """What the scores depend on besides the embeddings, by name."""
        found = {name: one.digest for name, one in self.named.items()}
        found |= {
            f"{CALIBRATION} {name}": one.calibration for name, one in self.named.items() if one.calibration
        }
        return found | ({DNA_ONLY_BELOW: str(self.dna_only_below)} if self.dna_only_below else {})

    @property
    def digest(self) -> str:
        """Identifies these classifiers and their use: the classifier's own digest if it is one without calibration."""
        return self.default.digest if len(self.inputs) == 1 else digest_of_files(self.inputs.items())

    @property
    def inputs_of_calls(self) -> dict[str, str]:
        """What the calls depend on besides the scores, by name: the thresholds for a wanted precision."""
        return {
            f"{THRESHOLD} {name}": str(one.threshold)
            for name, one in self.named.items()
            if one.threshold is not None
        }

    def routed_members(self, index: SequenceIndex) -> Iterator[tuple[MemberBatch, npt.NDArray[np.int8]]]:
        """All members in input order, each batch with int8 [m]: the position of their classifiers in `named`.

        Needs one byte of memory per read.
        """
        is_short = self._short_reads(index)
        for batch in index.member_batches():
            yield batch, (is_short[batch.read] | (batch.frame == WHOLE_CHUNK)).astype(np.int8)

    def _short_reads(self, index: SequenceIndex) -> npt.NDArray[np.bool_]:
        if not self.dna_only_below:
            return np.zeros(index.manifest.reads, np.bool_)
        batches = (batch.lengths < self.dna_only_below for batch in index.read_batches())
        return np.concatenate([np.empty(0, np.bool_), *batches])


def classifiers_in_use(settings: Settings, chunk_length: int, index: IndexManifest | None = None) -> Routing:
    """The classifiers that the settings name for this chunk length, with their cards.

    The `index` of a drop decides whether one is needed for reads without an open frame; without an index, the settings
    do.

    Raises IntegrityError if a card is damaged, InputError if one is not installed, if the classifier of DNA only uses
    more, or if a card has no threshold for the required precision.
    """
    wanted = settings.calls.wanted_precision
    folder = settings.classifier_folder(chunk_length)
    if not (folder / CARD_FILE).exists():
        raise InputError(
            "setting classifiers",
            found=f"no classifier for chunks of {chunk_length} in {folder.parent}",
            expected=f"the folder {folder.name} there",
            advice="Import the published one (`virnucpro models import`, docs/models.md) or train one.",
        )
    default = ClassifierInUse(folder, read_card(folder), wanted)
    routing = Routing(default)
    needs_dna_only = (
        settings.score_reads_without_open_frame if index is None else index.whole_chunks is not None
    )
    if settings.dna_only_below_bases or settings.score_reads_without_open_frame or needs_dna_only:
        dna = _dna_only_classifier(settings, chunk_length)
        if settings.dna_only_below_bases or needs_dna_only:
            routing = Routing(default, dna, settings.dna_only_below_bases)
    for one in routing.named.values():
        if wanted is not None and one.threshold is None:
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
                folder,
                found=f"predictions made with {shown} {found or 'none'}",
                expected=f"{wanted or 'none'} as in the settings",
                advice="Materialise predictions again.",
            )


def _dna_only_classifier(settings: Settings, chunk_length: int) -> ClassifierInUse:
    folder = settings.classifier_folder(chunk_length, "dna")
    setting, wanted, off = (
        (
            "dna_only_below_bases",
            str(settings.dna_only_below_bases),
            "set VIRNUCPRO_DNA_ONLY_BELOW_BASES to 0",
        )
        if settings.dna_only_below_bases
        else (
            "score_reads_without_open_frame",
            "reads without an open frame to score",
            "set VIRNUCPRO_SCORE_READS_WITHOUT_OPEN_FRAME to 0 and materialise sequence_index again",
        )
    )
    advice = f"Train one (`virnucpro train --inputs dna`) or import it, or {off}."
    if not (folder / CARD_FILE).exists():
        raise InputError(
            f"setting {setting}",
            found=f"{wanted}, but no classifier in {folder}",
            expected="a classifier of DNA only there",
            advice=advice,
        )
    card = read_card(folder)
    if card.inputs != "dna":
        raise InputError(
            folder,
            found=f"a classifier that uses {card.inputs}",
            expected=f"one that uses dna only, for the setting {setting}",
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
        expected=f"a precision with a threshold on its card: {listed}",
        advice="Set VIRNUCPRO_CALLS__WANTED_PRECISION to one of them, or leave it out.",
    )


def reads_by_route(counts: Mapping[str, int]) -> dict[str, int]:
    """Called reads by what scored them, from the counts of the calls' manifest."""
    prefix = f"{READS_BY_ROUTE} "
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}

"""The work on one drop: the arguments that every stage needs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property

from virnucpro_assets.drops.recipes import EncoderChoices, make_recipe
from virnucpro_assets.errors import InputError
from virnucpro_assets.files.digests import VerifiedFiles
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.drops import DropManifest, DropStore
from virnucpro_assets.storage.merged import MERGED_MANIFEST, MergedManifest, read_merged
from virnucpro_assets.storage.parts import refuse_other_recipe
from virnucpro_assets.vocabulary import ENCODER_KINDS


@dataclass(frozen=True)
class DropWork:
    """The current generation of a drop, where it is kept, the settings, the encoders, and `report`, which is
    called with each line of progress.

    `verified` are the parts of embeddings that were read whole for it.
    """

    drop: DropManifest
    folder: DropFolder
    settings: Settings
    report: Reporter
    encoders: EncoderChoices
    verified: VerifiedFiles = field(default_factory=VerifiedFiles, compare=False)

    @classmethod
    def on(
        cls,
        key: str,
        settings: Settings,
        report: Reporter = lambda _: None,
        encoders: EncoderChoices | None = None,
    ) -> "DropWork":
        """Work on the current generation of a drop whose files were listed.

        A step over several drops passes the same `encoders` to each.
        """
        drop, folder = DropStore(settings.data_root).current(key)
        return cls(drop, folder, settings, report, encoders or EncoderChoices(settings))

    @cached_property
    def index(self) -> SequenceIndex:
        """The drop's index, opened at the first use."""
        return SequenceIndex.open(self.folder.index)


def fitting_merged(work: DropWork) -> MergedManifest:
    """The merged view of a drop, if all its sources exist and were made from this index with these settings.

    Raises IntegrityError with the differences if it was made from another index, encoder or precision.
    """
    merged = read_merged(work.folder.path)
    for kind in ENCODER_KINDS:
        expected = make_recipe(work.settings, work.index.manifest, work.encoders[kind])
        refuse_other_recipe(work.folder.path / MERGED_MANIFEST, merged.recipes[kind], expected)
    return merged


def no_such_drop(key: str, known: Iterable[str], advice: str = "Check the name.") -> InputError:
    """The error for the name of a drop that is not among the `known` ones; it names the nearest of them."""
    near = get_close_matches(key, known, n=1)
    return InputError(
        f"drop {key[:80]}",
        found="no such drop",
        expected="a drop that `virnucpro drops` shows" + (f", as {near[0]}" if near else ""),
        advice="Check the name." if near else advice,
    )

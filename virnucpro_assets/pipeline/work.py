"""The work on one drop: what every stage needs to know."""

from dataclasses import dataclass
from functools import cached_property

from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.pipeline.recipes import choose_encoder
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropFolder, DropManifest, DropStore
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind


@dataclass(frozen=True)
class DropWork:
    """The current generation of a drop, where it is kept, the settings, and who hears of progress."""

    drop: DropManifest
    folder: DropFolder
    settings: Settings
    report: Reporter

    @classmethod
    def on(cls, key: str, settings: Settings, report: Reporter) -> "DropWork":
        """Work on the current generation of a drop whose files were listed."""
        drop, folder = DropStore(settings.data_root).current(key)
        return cls(drop, folder, settings, report)

    @cached_property
    def index(self) -> SequenceIndex:
        """The drop's index, opened once its stage is done."""
        return SequenceIndex.open(self.folder.index)

    @cached_property
    def encoders(self) -> dict[EncoderKind, EncoderChoice]:
        """Both encoders, as the settings name them."""
        return {kind: choose_encoder(self.settings, kind) for kind in ENCODER_KINDS}

"""The work on one drop: what every stage needs to know."""

from dataclasses import dataclass
from functools import cached_property

from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.pipeline.recipes import EncoderChoices
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropFolder, DropManifest, DropStore


@dataclass(frozen=True)
class DropWork:
    """The current generation of a drop, where it is kept, the settings, who hears of progress, the encoders."""

    drop: DropManifest
    folder: DropFolder
    settings: Settings
    report: Reporter
    encoders: EncoderChoices

    @classmethod
    def on(
        cls, key: str, settings: Settings, report: Reporter, encoders: EncoderChoices | None = None
    ) -> "DropWork":
        """Work on the current generation of a drop whose files were listed.

        A step over several drops hands the same `encoders` to each, those of its settings.
        """
        drop, folder = DropStore(settings.data_root).current(key)
        return cls(drop, folder, settings, report, encoders or EncoderChoices(settings))

    @cached_property
    def index(self) -> SequenceIndex:
        """The drop's index, opened once its stage is done."""
        return SequenceIndex.open(self.folder.index)

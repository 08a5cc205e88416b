"""The encoders that a device process holds: the one in use and, after NaN or Inf, its float32 twin."""

import time

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.models.encoder import Encoder
from virnucpro_assets.models.folders import are_unchanged, read_model_folder
from virnucpro_assets.models.hardware import is_out_of_memory, release_memory
from virnucpro_assets.models.loading import load_encoder


class LoadedEncoders:
    """Loads encoders onto one device, and keeps those of one model as long as no other is asked for.

    `seconds` is the time that loading has taken so far.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._loaded: dict[EncoderChoice, Encoder] = {}
        self.seconds = 0.0

    def get(self, choice: EncoderChoice, *, alone: bool = False) -> Encoder:
        """The encoder of a choice, loaded if it is not there; with `alone` no other stays beside it then.

        Raises IntegrityError if its files are no longer those that were chosen.
        """
        if choice not in self._loaded:
            started = time.monotonic()
            self._keep_only("" if alone else choice.digest)
            _require_unchanged(choice)
            self._loaded[choice] = self._load(choice)
            self.seconds += time.monotonic() - started
        return self._loaded[choice]

    def _load(self, choice: EncoderChoice) -> Encoder:
        try:
            return self._read(choice)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not self._loaded:
                raise
        # Two precisions of a large model do not fit beside each other: the other is loaded again later.
        self._keep_only("")
        return self._read(choice)

    def _read(self, choice: EncoderChoice) -> Encoder:
        return load_encoder(
            choice.folder,
            precision=choice.precision,
            device=self._device,
            attention=choice.attention,
            fused=choice.fused,
        )

    def _keep_only(self, digest: str) -> None:
        kept = {choice: encoder for choice, encoder in self._loaded.items() if choice.digest == digest}
        if len(kept) < len(self._loaded):
            self._loaded = kept
            release_memory()


def _require_unchanged(choice: EncoderChoice) -> None:
    if are_unchanged(choice.folder, choice.stamps):
        return
    if (found := read_model_folder(choice.folder).digest) != choice.digest:
        raise IntegrityError(
            choice.folder,
            found=f"a model of digest {found}",
            expected=f"{choice.digest}, as it was when the run began",
            advice="Start the run again once the model no longer changes.",
        )

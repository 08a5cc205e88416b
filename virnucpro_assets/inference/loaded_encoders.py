"""The encoders that a device process holds: the one in use, the next one, and after NaN or Inf a float32 twin.

A GPU with enough memory keeps all of them, and loads the next one in a thread while the first computes. A CPU slot
keeps those of one model: its memory is the machine's, and a process that takes too much is killed.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.models.folders import WEIGHTS_FILE, are_unchanged, read_model_folder
from virnucpro_assets.models.hardware import is_out_of_memory, release_memory
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.models.packed_encoder import Encoder

LARGEST_SHARE = 4
"""An encoder is loaded beside others if this many of it would fit: the packs need memory as well."""


class LoadedEncoders:
    """Loads encoders onto one device.

    `seconds` is the time for which the device has waited for encoders so far.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._loaded: dict[EncoderChoice, Encoder] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next encoder")
        self._prefetched: tuple[EncoderChoice, Future[Encoder]] | None = None
        self.seconds = 0.0

    def get(self, choice: EncoderChoice, *, alone: bool = False) -> Encoder:
        """The encoder of a choice, loaded if it is not there.

        Where the device has no memory for another one, only those of the same model stay beside it, with `alone` none.
        Raises IntegrityError if its files are no longer those that were chosen.
        """
        if choice not in self._loaded:
            started = time.monotonic()
            self._take_prefetched()
            if choice not in self._loaded:
                if not self.has_memory_for(choice):
                    self._keep_only("" if alone else choice.digest)
                self._loaded[choice] = self._load(choice)
            self.seconds += time.monotonic() - started
        return self._loaded[choice]

    def prefetch(self, choice: EncoderChoice | None) -> None:
        """Begin to load the encoder that is needed next, if the device has the memory; None does nothing."""
        if choice and choice not in self._loaded and self._prefetched is None and self.has_memory_for(choice):
            self._prefetched = choice, self._thread.submit(self._read, choice)

    def has_memory_for(self, choice: EncoderChoice) -> bool:
        """Whether an encoder can be loaded beside those that are there."""
        if not self._device.startswith("cuda"):
            return False
        weights = choice.folder / WEIGHTS_FILE
        # A missing file is an error of the tasks that need it, not of those that are computed meanwhile.
        size = weights.stat().st_size if weights.is_file() else 0
        # Weights are published in half or in single precision.
        size *= 2 if choice.precision == "float32" else 1
        return size * LARGEST_SHARE <= torch.cuda.mem_get_info(self._device)[0]

    def _take_prefetched(self) -> None:
        """Wait for the encoder that is being loaded. If that failed, `get` tries again and raises the error."""
        if self._prefetched is not None:
            (choice, loading), self._prefetched = self._prefetched, None
            if loading.exception() is None:
                self._loaded[choice] = loading.result()

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
        _require_unchanged(choice)
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

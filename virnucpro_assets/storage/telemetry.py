"""Telemetry: how long computing a shard took, and how long its devices waited. No result depends on it."""

from pydantic import BaseModel, ConfigDict


class Telemetry(BaseModel):
    """Figures of the parts of a shard that its last run computed.

    The model computed `sequences` with `flops` operations in its matrices and in attention. `possible_flops` is what
    the devices could have done in the same time at the peak rate of their matrix products, 0 if that is unknown.
    Models were loaded for `loading` seconds; devices were idle for `waited_for_input` and `waited_for_output`
    seconds; `peak_memory` is the largest number of bytes that one of them used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequences: int = 0
    flops: int = 0
    possible_flops: float = 0.0
    loading: float = 0.0
    waited_for_input: float = 0.0
    waited_for_output: float = 0.0
    peak_memory: int = 0

    def __add__(self, other: "Telemetry") -> "Telemetry":
        return Telemetry(
            sequences=self.sequences + other.sequences,
            flops=self.flops + other.flops,
            possible_flops=self.possible_flops + other.possible_flops,
            loading=self.loading + other.loading,
            waited_for_input=self.waited_for_input + other.waited_for_input,
            waited_for_output=self.waited_for_output + other.waited_for_output,
            peak_memory=max(self.peak_memory, other.peak_memory),
        )

    @property
    def mfu(self) -> float | None:
        """Model FLOPs utilisation: operations over those possible; None if the peak is unknown."""
        return self.flops / self.possible_flops if self.possible_flops else None

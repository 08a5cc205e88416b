"""Telemetry: what computing a shard took, and what its devices waited for. No result depends on it."""

from pydantic import BaseModel, ConfigDict


class Telemetry(BaseModel):
    """Figures of the parts of a shard that its last run computed.

    `sequences` went through the model and took `flops` operations in its matrices and in attention.
    `possible_flops` is what the devices could have done in the same time at the peak of their matrix
    products, 0 where that is not known. For `loading` seconds models were loaded; for
    `waited_for_input` and `waited_for_output` seconds devices stood still; `peak_memory` is the most
    bytes that one of them held.
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
        """Model FLOPs utilisation: operations over those possible; None where the peak is not known."""
        return self.flops / self.possible_flops if self.possible_flops else None

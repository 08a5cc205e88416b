"""Measuring token budgets: the rate of an encoder with packs of each size, on the device that it is on.

The order of things: the sizes go through once, the smallest first, which makes the device ready for
them and ends with the one that no longer fits; then those that did are timed in turns, so that
whatever else the machine does meanwhile meets each of them. The best rate of a size counts. All
is bounded by a number of seconds: a size that would not be done in time is left out.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from virnucpro_assets.inference.budgets import choose_budget, pack_sample
from virnucpro_assets.inference.embedding import Listener, embed_sequences
from virnucpro_assets.inference.inputs import Input
from virnucpro_assets.inference.messages import BudgetTask
from virnucpro_assets.models.encoder import Encoder
from virnucpro_assets.models.memory import device_name, memory_in_reach, peak_memory
from virnucpro_assets.storage.token_budgets import MeasuredBudget, SizeRate

ROUNDS = 5
SAMPLE_SECONDS = 0.2
"""About what one timing of a size takes, unless one pack takes longer."""

MEMORY_SHARE = 0.8
"""A size that takes more of the memory ends the series: longer sequences, and float32 after NaN, need some."""


def measure_budget(task: BudgetTask, encoder: Encoder, given: Input, listener: Listener) -> MeasuredBudget:
    """The budget of an encoder, chosen by its rates over the `given` sequences."""
    started = time.monotonic()
    sizes = SizeMeasure(encoder, given, task.packs_per_part, task.seconds, listener).rates(task.sizes)
    return MeasuredBudget(
        subject=task.subject,
        token_budget=choose_budget(sizes),
        device=device_name(encoder.device),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        chunk_length=task.chunk_length,
        seconds=round(time.monotonic() - started, 3),
        sizes=sizes,
    )


@dataclass
class SizeMeasure:
    """Times an encoder over `given` sequences, cut as in parts of `packs_per_part` packs."""

    encoder: Encoder
    given: Input
    packs_per_part: int
    seconds: float
    listener: Listener | None = None
    clock: Callable[[], float] = time.perf_counter

    def rates(self, sizes: Sequence[int]) -> list[SizeRate]:
        """Tokens a second with packs of each of `sizes`, ascending; the first is always measured.

        The last size of the result is without a rate if it did not fit.
        """
        end, reach = self.clock() + self.seconds, memory_in_reach(self.encoder.device)
        best, peaks, missed = dict[int, float](), dict[int, int](), list[SizeRate]()
        for size in sizes:
            # One pass makes ready, and one counts.
            if best and self.clock() + 2 * size / max(best.values()) > end:
                break
            rate, peaks[size] = self.rate(size, packs=1), peak_memory(self.encoder.device)
            if rate is None or (reach is not None and peaks[size] > MEMORY_SHARE * reach):
                missed.append(SizeRate(tokens=size, peak_memory=peaks[size]))
                break
            best[size] = rate
        if best and self.clock() < end:
            best = self._timed_in_turns(best, end)
        found = [
            SizeRate(tokens=size, tokens_per_second=rate, peak_memory=peaks[size])
            for size, rate in best.items()
        ]
        return found + missed

    def rate(self, size: int, packs: int) -> float | None:
        """Tokens a second over about `packs` packs of `size` tokens, None if one of them does not fit."""
        lengths = self.given.tokens.lengths
        positions = pack_sample(lengths, size, self.packs_per_part, packs)
        tokens = self.given.tokens.take(positions)
        started = self.clock()
        embedded = embed_sequences(
            self.encoder, self.given.sequences.take(positions), size, tokens=tokens, listener=self.listener
        )
        seconds = self.clock() - started
        if embedded.split_packs or len(embedded.too_large):
            return None
        return float(tokens.lengths.sum() / seconds)

    def _timed_in_turns(self, ready: dict[int, float], end: float) -> dict[int, float]:
        """The best rates of sizes that the device is `ready` for; every other round goes backwards."""
        best = dict.fromkeys(ready, 0.0)
        for number in range(ROUNDS):
            for size in list(ready)[:: -1 if number % 2 else 1]:
                packs = max(1, round(SAMPLE_SECONDS * max(ready[size], best[size]) / size))
                best[size] = max(best[size], self.rate(size, packs) or 0.0)
            if self.clock() > end:
                break
        return best

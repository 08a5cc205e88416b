"""Token budgets: which size is chosen, what is timed, and where the series ends."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.inference.budget_measure import ROUNDS, SizeMeasure
from virnucpro_assets.inference.budgets import choose_budget, imitated_sequences, pack_sample
from virnucpro_assets.inference.inputs import Input
from virnucpro_assets.inference.messages import BudgetTask
from virnucpro_assets.inference.plans import plan_packs
from virnucpro_assets.inference.pool import DevicePool
from virnucpro_assets.inference.shard_runs import ShardJob
from virnucpro_assets.models.loading import load_tokeniser
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.models.tokens import Tokens
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.storage.token_budgets import BudgetSubject, SizeRate, read_budget
from virnucpro_assets.vocabulary import EncoderKind


def rates(*tokens_per_second: float | None) -> list[SizeRate]:
    """Sizes from 4,096 tokens up, each twice the one before, with these rates."""
    return [
        SizeRate(tokens=4096 << place, tokens_per_second=rate) for place, rate in enumerate(tokens_per_second)
    ]


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        (rates(100, 100, 100), 4096),
        (rates(100, 104, 103), 4096),
        (rates(100, 106, 110), 8192),
        (rates(100, 104, 108, 112), 16384),
        (rates(100, 500, 505, 900, 100), 32768),
        (rates(100, 200, None), 8192),
        (rates(None), 4096),
        (list(reversed(rates(100, 300, 310))), 8192),
    ],
    ids=["equal", "noise", "a little", "step by step", "a peak", "out of memory", "none fits", "any order"],
)
def test_a_larger_size_is_chosen_only_where_it_is_clearly_faster(
    measured: list[SizeRate], chosen: int
) -> None:
    assert choose_budget(measured) == chosen


def test_imitated_proteins_are_mostly_those_of_full_chunks_and_always_the_same() -> None:
    first, second = imitated_sequences("esm2", 300), imitated_sequences("esm2", 300)
    assert first.data.tobytes() == second.data.tobytes()
    lengths = Counter(first.lengths.tolist())
    assert set(lengths) <= set(range(50, 101))
    assert 0.7 < (lengths[100] + lengths[99]) / len(first) < 0.8
    assert set(first.data.tobytes()) == set(b"ACDEFGHIKLMNPQRSTVWY")
    nucleotides = imitated_sequences("dnabert_s", 500)
    assert (nucleotides.lengths % 3 == 0).all()
    assert nucleotides.lengths.max() == 498
    assert set(nucleotides.data.tobytes()) == set(b"ACGT")


def test_the_packs_that_are_timed_come_from_all_over_a_part_and_are_full() -> None:
    lengths = np.array([20, 80, 50, 30, 60], np.int64)
    chosen = lengths[pack_sample(lengths, budget=400, packs_per_part=30, packs=4)]
    assert (np.diff(chosen) <= 0).all()
    assert set(chosen.tolist()) >= {80, 20}
    packs = plan_packs(chosen, 400)
    assert len(packs) == 4
    assert all(len(set(chosen[start:stop].tolist())) <= 2 for start, stop in packs)
    assert all(chosen[start:stop].sum() > 400 - 80 for start, stop in packs)


@dataclass
class Machine:
    """An encoder and its clock: a pass takes `start` seconds and `each` for a token, and `memory` tokens fit."""

    start: float
    each: float
    memory: int = 1 << 30
    kind: EncoderKind = "esm2"
    width: int = 2
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    now: float = 0.0
    passes: list[int] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def tokenise(self, sequences: Ragged) -> Tokens:
        """Not asked for: the tokens are given."""
        raise NotImplementedError

    def embed(self, pack: TokenPack) -> torch.Tensor:
        """Zeros, after the time that this machine takes."""
        if len(pack.tokens) > self.memory:
            raise torch.OutOfMemoryError("out of memory")
        self.passes.append(len(pack.tokens))
        self.now += self.start + self.each * len(pack.tokens)
        return torch.zeros(len(pack), self.width)

    def rates(self, sizes: list[int], seconds: float) -> list[SizeRate]:
        """What is measured of it in so many seconds of its clock."""
        return SizeMeasure(self, GIVEN, 4, seconds, clock=self.clock).rates(sizes)


def imitated_input() -> Input:
    """Proteins of full and shorter chunks with their tokens."""
    sequences = imitated_sequences("esm2", 300)
    return Input(np.arange(len(sequences)), sequences, load_tokeniser(MODELS_FOLDER / "esm2")(sequences))


GIVEN = imitated_input()


def test_what_a_pass_costs_beside_its_tokens_decides_on_the_size() -> None:
    small, large = Machine(start=0.001, each=1e-4), Machine(start=1.0, each=1e-4)
    sizes = [4096, 8192, 16384, 32768]
    found = small.rates(sizes, seconds=1000)
    assert [rate.tokens for rate in found] == sizes
    assert [rate.tokens_per_second for rate in found] == pytest.approx([1e4] * 4, rel=0.01)
    assert choose_budget(found) == 4096
    found = large.rates(sizes, seconds=1000)
    expected = [size / (1.0 + size * 1e-4) for size in sizes]
    assert [rate.tokens_per_second for rate in found] == pytest.approx(expected, rel=0.05)
    assert choose_budget(found) == 32768
    assert len(large.passes) == len(sizes) * (1 + ROUNDS)


def test_a_size_that_does_not_fit_ends_the_series() -> None:
    found = Machine(start=0.1, each=1e-4, memory=10000).rates([4096, 8192, 16384, 32768], seconds=1000)
    assert [rate.tokens for rate in found] == [4096, 8192, 16384]
    assert [rate.tokens_per_second is None for rate in found] == [False, False, True]


def test_a_size_that_would_take_too_long_is_not_tried() -> None:
    machine = Machine(start=0.0, each=1e-3)
    found = machine.rates([4096, 8192, 16384, 32768, 65536], seconds=50)
    assert [rate.tokens for rate in found] == [4096, 8192, 16384]
    assert machine.now < 100
    slow = Machine(start=0.0, each=1.0)
    found = slow.rates([4096, 8192], seconds=50)
    assert [(rate.tokens, rate.tokens_per_second) for rate in found] == [(4096, pytest.approx(1.0))]
    assert len(slow.passes) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["esm2", "dnabert_s"])
def test_a_device_process_measures_and_writes_the_budget(
    shared_pool: DevicePool, make_job: Callable[..., ShardJob], tmp_path: Path, kind: EncoderKind
) -> None:
    encoder = make_job(MODELS_FOLDER / kind).encoder
    subject = BudgetSubject(
        encoder=kind,
        weights_digest=encoder.digest,
        precision="float32",
        attention="dense-runs",
        fused=False,
        device_kind="cpu",
    )
    task = BudgetTask(
        encoder=encoder,
        subject=subject,
        chunk_length=300,
        packs_per_part=4,
        sizes=[1024, 2048],
        seconds=0.2,
        target=tmp_path / subject.file_name,
    )
    assert read_budget(tmp_path, subject) is None
    with shared_pool.lease() as lease:
        lease.complete([task], [].append)
    found = read_budget(tmp_path, subject)
    assert found is not None
    assert found.token_budget == choose_budget(found.sizes)
    assert {size.tokens for size in found.sizes} <= {1024, 2048}
    assert all((size.tokens_per_second or 0) > 0 and size.peak_memory > 0 for size in found.sizes)
    assert found.device.endswith(", 1 threads")
    assert found.note.startswith(
        f"measured {found.measured_at} on {found.device}; tokens a second by size 1024: "
    )

"""On which side of its threshold a check passes."""

import numpy as np
import pytest

from virnucpro_assets.checks.results import PACKED, outcome, packing_efficiency
from virnucpro_assets.checks.rules import precision_rules
from virnucpro_assets.files.digests import FileRecord
from virnucpro_assets.pipeline.precision_checks import Comparison, _judge
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.parts import PackCounts, PartRecord
from virnucpro_assets.storage.shards import ShardManifest
from virnucpro_assets.vocabulary import Precision
from virnucpro_assets_tests.recipes import some_recipe

BUDGET = 8192


@pytest.mark.parametrize(
    ("packs", "tokens", "passed", "threshold"),
    [
        (10, 9 * BUDGET, True, "at least 0.9"),
        (10, 9 * BUDGET - 1, False, "at least 0.9"),
        (9, BUDGET, True, "not judged below 10 packs a part; else at least 0.9"),
        (0, 0, True, "not judged below 10 packs a part; else at least 0.9"),
    ],
)
def test_packs_must_be_as_full_as_the_settings_say_where_there_are_enough(
    packs: int, tokens: int, passed: bool, threshold: str
) -> None:
    counts = PackCounts(packs=packs, tokens=tokens)
    file = FileRecord(size=1, sha256="0" * 64)
    part = PartRecord(
        name="part-00000.h5", start=0, stop=1, width=4, file=file, content_sha256="0" * 64, counts=counts
    )
    shard = ShardManifest(rank=2, rows=1, width=4, recipe=some_recipe(token_budget=BUDGET), parts=[part])

    result = packing_efficiency("esm2_embeddings", shard, 0.9)

    assert (result.passed, result.threshold, result.rank, result.blocking) == (passed, threshold, 2, False)
    judged = "passed" if passed else "failed"
    assert outcome(passed=passed, threshold=threshold) == ("not judged" if packs < 10 else judged)
    assert result.figures["efficiency"] == (round(tokens / (packs * BUDGET), 4) if packs else 1.0)


@pytest.mark.parametrize(
    ("cosine", "frames", "chunks", "difference", "precision", "passed"),
    [
        (0.999, 0.98, 0.98, 1.0, "bfloat16", True),
        (0.9989, 1.0, 1.0, 0.0, "bfloat16", False),
        (1.0, 0.979, 1.0, 0.0, "bfloat16", False),
        (1.0, 1.0, 0.979, 0.0, "bfloat16", False),
        (1.0, 1.0, 1.0, 0.001, "float32", True),
        (1.0, 1.0, 1.0, 0.0011, "float32", False),
    ],
)
def test_a_sample_must_be_as_near_to_its_reference_as_the_settings_say(
    *, cosine: float, frames: float, chunks: float, difference: float, precision: Precision, passed: bool
) -> None:
    settings = Settings(
        min_cosine=0.999, min_label_agreement=0.98, max_packed_difference=0.001, precision=precision
    )
    found = Comparison(np.array([1.0, cosine]), difference, frames, chunks)

    result = _judge(settings, precision_rules(settings)[PACKED], found, "note")

    assert result.passed is passed
    assert result.threshold.startswith("cosine at least 0.999, equal labels at least 0.98")
    assert result.figures["min_cosine"] == cosine

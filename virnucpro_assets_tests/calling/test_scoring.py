"""Scores do not depend on how many threads compute them."""

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from virnucpro_assets.calling import scoring
from virnucpro_assets.calling.scoring import Scorer, scores_of_merged
from virnucpro_assets.checks.results import completeness
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files import digests
from virnucpro_assets.storage.merged_reader import read_merged_at
from virnucpro_assets_tests.damage import flip_byte

BLOCK = 16


@pytest.mark.parametrize("processors", [1, 4])
def test_scores_of_any_number_of_threads_are_those_of_a_plain_loop(
    finished: DropWork, monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    monkeypatch.setattr(scoring, "_ROWS_AT_ONCE", BLOCK)
    monkeypatch.setattr(scoring.os, "sched_getaffinity", lambda _: set(range(processors)))
    scorer = Scorer.load(finished.settings.classifier_folder(300))
    with h5py.File(finished.folder.path / "merged.h5") as view:
        rows, embeddings = view["rows"][:], view["embeddings"][:]
    expected, before = np.empty((len(rows), 2), np.float32), torch.get_num_threads()
    for start in range(0, len(rows), BLOCK):
        some = slice(start, start + BLOCK)
        expected[rows[some]] = scorer.classifier.scores(embeddings[some])
    assert len(rows) > 3 * BLOCK

    said: list[str] = []
    (found,) = scores_of_merged([scorer], finished.folder.path, said.append)

    assert found.tobytes() == expected.tobytes()
    assert torch.get_num_threads() == before


def test_a_part_is_digested_once_by_all_that_a_step_does_with_it(
    finished: DropWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[Path] = Counter()
    whole = digests.sha256_of_file

    def noted(path: Path) -> str:
        read[path] += path.name.startswith("part-")
        return whole(path)

    monkeypatch.setattr(digests, "sha256_of_file", noted)
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    parts = set(finished.folder.path.glob("*/rank-*/part-*.h5"))
    assert completeness(finished).passed
    assert +read == Counter(parts)
    scorer = Scorer.load(finished.settings.classifier_folder(300))
    scores_of_merged([scorer], finished.folder.path, [].append, verified=finished.verified)
    read_merged_at(finished.folder.path, np.array([3, 0]), finished.verified)
    assert +read == Counter(parts)

    changed = min(parts)
    flip_byte(changed, -1, 4)
    with pytest.raises(IntegrityError, match=f"{changed.parent.name}/{changed.name}: found SHA-256"):
        scores_of_merged([scorer], finished.folder.path, [].append, verified=finished.verified)

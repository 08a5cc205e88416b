"""The benchmark of short reads: its figures against counts made another way."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.short_reads import held_out_reads, judge, routes_of
from tools.demo.embeddings import EmbeddedReads
from virnucpro_assets.models.cards import ClassifierCard
from virnucpro_assets.models.classifier import classifier_shapes, save_classifier
from virnucpro_assets.sequences.batches import ReadBatch
from virnucpro_assets.sequences.frames import candidates_of
from virnucpro_assets.sequences.ragged import Ragged


@pytest.mark.slow
def test_a_drop_of_short_and_long_reads_is_counted_by_route(tmp_path: Path) -> None:
    lengths = {}
    with (tmp_path / "mixed.fa").open("wb") as file:
        for length in (150, 300):
            for number, read in enumerate(held_out_reads(length, 10)):
                name = f"read_{length}_{number}"
                lengths[name] = (length, read.bases)
                file.write(b">%s\n%s\n" % (name.encode(), read.bases))
    bases = Ragged.from_strings(read for _, read in lengths.values())
    candidates, _ = candidates_of(ReadBatch(0, list(lengths), bases), 300)
    expected = [list(lengths.values())[place][0] for place in np.unique(candidates.read)]
    found = routes_of(tmp_path / "mixed.fa", tmp_path)
    assert found["routes"] == {"joint": expected.count(300), "dna": expected.count(150)}
    assert found["without_a_call"] == {"no_stop_free_frame": 40 - len(expected)}


def test_a_classifier_is_judged_on_the_columns_that_it_takes(tmp_path: Path) -> None:
    card = ClassifierCard(
        chunk_length=300, d_dna=1, d_protein=2, encoders={}, inputs="dna", training_data="", created_with="0"
    )
    state = {name: torch.zeros(shape) for name, shape in classifier_shapes(1).items()}
    state |= {"bn1.running_var": torch.ones(512), "bn1.weight": torch.ones(512)}
    state["bn1.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    state["hidden_layer.weight"][0] = 1.0
    state["output_layer.weight"][1, 0] = 1.0
    state["output_layer.bias"][0] = 0.5
    save_classifier(tmp_path, state, card)
    # The DNA's number alone decides: virus from 0.5 on.
    rows = np.array([[0.9, 9, 9], [0.7, -9, 0], [0.1, 9, 9], [0.6, 0, 0]], np.float32)
    embedded = EmbeddedReads(np.array([0, 1, 2, 4]), rows)
    truth = np.array([True, True, False, True, False])
    found = judge(tmp_path, embedded, truth, 1)
    assert (found["accuracy"], found["auroc"]) == (0.75, 1.0)

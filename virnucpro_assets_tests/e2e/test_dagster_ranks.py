"""Numbers of ranks and sizes of drops at their ends."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.storage.prediction_tables import PREDICTIONS_FILE

pytestmark = [pytest.mark.timeout(240)]


def materialise(deployment, drop, ranks):
    """Run the three jobs of a drop in this process; returns its folder."""
    settings = deployment.settings(ranks=ranks)
    assert deployment.run("index_drop", drop, settings=settings).success
    assert deployment.run("embed_drop", drop, ranks=(0, ranks - 1), settings=settings).success
    assert deployment.run("call_drop", drop, settings=settings).success
    return DropStore(settings.data_root).current(drop)[1]


@pytest.mark.slow
def test_one_rank_and_more_ranks_than_rows_predict_the_same(deployment):
    deployment.deliver("one", 4)
    deployment.deliver("many", 4)

    one = materialise(deployment, "one", 1)
    many = materialise(deployment, "many", 12)

    rows = SequenceIndex.open(many.index).manifest.rows
    assert 0 < rows < 12
    assert len(list((many.path / "esm2").glob("rank-*-of-12"))) == 12
    assert [path.name for path in (one.path / "esm2").iterdir() if path.is_dir()] == ["rank-00-of-01"]
    tables = [pq.read_table(folder.predictions / PREDICTIONS_FILE) for folder in (one, many)]
    assert tables[0].num_rows == tables[1].num_rows >= rows
    for name in tables[0].column_names:
        first, second = (table[name].to_numpy() for table in tables)
        if first.dtype.kind == "f":
            np.testing.assert_allclose(first, second, rtol=1e-5)
        else:
            assert first.tolist() == second.tolist()


def test_a_rank_without_rows_is_materialised_with_none(deployment):
    deployment.deliver("few", 1)
    settings = deployment.settings(ranks=12)
    assert deployment.run("index_drop", "few", settings=settings).success

    result = deployment.run("embed_drop", "few", ranks=(11, 11), settings=settings)

    assert result.success
    for asset in ("dnabert_s_embeddings", "esm2_embeddings"):
        (found,) = deployment.recorded(result, asset)
        assert found.partition == "few|11"
        assert found.metadata["dagster/row_count"].value == 0
    evaluations = result.get_asset_check_evaluations()
    assert [(evaluation.partition, evaluation.passed) for evaluation in evaluations] == [("few|11", True)] * 4


@pytest.mark.slow
def test_an_empty_drop_goes_through_every_asset(deployment):
    deployment.deliver("empty", 0)

    folder = materialise(deployment, "empty", 4)

    assert pq.read_table(folder.predictions / PREDICTIONS_FILE).num_rows == 0
    assert "empty" in folder.report.read_text()

"""How far each drop is."""

import dagster as dg

from virnucpro_assets.defs.drop_states import drop_states
from virnucpro_assets.defs.partitions import DROPS
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropSource, DropStore


def test_each_drop_is_a_line_with_its_ranks_and_its_assets(tmp_path):
    DropStore(tmp_path).register("later", DropSource(chunk_length=300, files=[]))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DROPS, ["d1"])
        for asset, partition in (
            ("sequence_drop", "d1"),
            ("sequence_index", "d1"),
            ("esm2_embeddings", "d1|0"),
            ("esm2_embeddings", "d1|2"),
            ("dnabert_s_embeddings", "d1|1"),
        ):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))

        header, *lines = drop_states(instance, Settings(data_root=tmp_path, ranks=3))

    columns = header.split("\t")
    found = {line.split("\t")[0]: dict(zip(columns, line.split("\t"), strict=True)) for line in lines}
    assert sorted(found) == ["d1", "later"]
    assert found["d1"]["esm2_embeddings"] == "2/3"
    assert found["d1"]["dnabert_s_embeddings"] == "1/3"
    assert found["d1"]["sequence_index"] == "yes"
    assert found["d1"]["drop_report"] == "no"
    assert set(found["later"].values()) == {"later", "0/3", "no"}

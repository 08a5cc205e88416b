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

    columns = header.split()
    found = {line.split()[0]: dict(zip(columns, line.split(), strict=True)) for line in lines}
    assert sorted(found) == ["d1", "later"]
    assert found["d1"]["esm2"] == "2/3"
    assert found["d1"]["dnabert_s"] == "1/3"
    assert found["d1"]["index"] == "yes"
    assert found["d1"]["report"] == "no"
    assert set(found["later"].values()) == {"later", "0/3", "no"}


def test_columns_stand_under_their_heads(tmp_path):
    for name in ("d", "a_drop_with_a_long_name"):
        DropStore(tmp_path).register(name, DropSource(chunk_length=300, files=[]))
    with dg.DagsterInstance.ephemeral() as instance:
        header, *lines = drop_states(instance, Settings(data_root=tmp_path))
    assert [line.index("0/4") for line in lines] == [header.index("dnabert_s")] * 2
    assert {line[header.index("report") :] for line in lines} == {"no"}
    assert header == header.rstrip()


def test_an_installation_without_drops_has_a_header_only(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        (header,) = drop_states(instance, Settings(data_root=tmp_path))
    assert header == "drop  files  index  dnabert_s  esm2  merged  predictions  calls  report"

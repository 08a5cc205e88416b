"""What Dagster shows when something is wrong: the failed rank, the one clear line, and no retry."""

import hashlib
import shutil
from itertools import islice

import dagster as dg
import psutil
import pytest
from safetensors.torch import load_file, save_file

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.errors import DeviceError
from virnucpro_assets.inference.process_handle import ProcessHandle
from virnucpro_assets.models.folders import read_config
from virnucpro_assets.models.tokenisers import DnaTokenizer
from virnucpro_assets.pipeline.embed import embed_drop
from virnucpro_assets.sequences.index import SequenceIndex, first_members
from virnucpro_assets.storage.drops import DropStore

pytestmark = [pytest.mark.timeout(240)]


def failure_of(result: dg.ExecuteInProcessResult) -> dg.Failure:
    """What the one step that failed says."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return event.step_failure_data.user_failure_data


def digests(folder) -> dict[str, str]:
    """SHA-256 of each file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_rank_with_nan_is_missing_and_named_and_the_others_are_kept(deployment, tmp_path):
    deployment.deliver("d1", 8)
    assert deployment.run("index_drop", "d1").success
    folder = DropStore(deployment.root / "data").current("d1")[1]
    index = SequenceIndex.open(folder.index)
    row = poison_one_row(index, tmp_path / "poisoned")
    settings = deployment.settings(dnabert_s=tmp_path / "poisoned", classifiers=tmp_path / "none")
    failing = row % 4

    result = deployment.run(
        "embed_drop", "d1", ranks=(0, 3), settings=settings, selection=["dnabert_s_embeddings"]
    )

    candidate = first_members(index, [row])[row]
    others = {f"d1|{rank}" for rank in range(4) if rank != failing}
    assert not result.success
    assert candidate in failure_of(result).description
    assert f"rank {failing}" in failure_of(result).description
    with deployment.instance() as instance:
        asset = dg.AssetKey("dnabert_s_embeddings")
        assert instance.get_materialized_partitions(asset) == others
        check = dg.AssetCheckKey(asset, "finite_values")
        history = instance.event_log_storage.get_asset_check_execution_history(check, limit=9)
    statuses = {record.partition: record.status.value for record in history}
    assert statuses == {**dict.fromkeys(others, "SUCCEEDED"), f"d1|{failing}": "FAILED"}
    (failed,) = [record for record in history if record.status.value == "FAILED"]
    assert candidate in failed.event.dagster_event.event_specific_data.metadata["reason"].value


@pytest.mark.slow
def test_a_damaged_part_is_refused_by_the_merge_and_mended_by_its_rank_alone(deployment):
    deployment.deliver("d1", 20)
    assert deployment.run("index_drop", "d1").success
    assert deployment.run("embed_drop", "d1", ranks=(0, 3)).success
    folder = DropStore(deployment.root / "data").current("d1")[1]
    before = digests(folder.path / "esm2")
    part = folder.shard("esm2", 2, 4) / "part-00000.h5"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(bytes(content))

    refused = deployment.run("call_drop", "d1", selection=["merged_embeddings"])
    assert not refused.success
    assert str(part) in failure_of(refused).description

    mended = deployment.run("embed_drop", "d1", ranks=(2, 2))

    after = digests(folder.path / "esm2")
    rank = "rank-02-of-04/"
    assert mended.success
    assert deployment.recorded(mended, "esm2_embeddings")[0].metadata["reused_parts"].value == 0
    assert {name for name in before if before[name] != after[name]} <= {
        f"{rank}shard.h5",
        f"{rank}manifest.toml",
    }
    assert after[f"{rank}part-00000.h5"] == before[f"{rank}part-00000.h5"]
    assert set(after) - set(before) == {f"{rank}part-00000.h5.quarantine-1"}
    assert deployment.run("call_drop", "d1", selection=["merged_embeddings"]).success


def test_a_wrong_file_fails_the_run_with_one_line_and_without_a_retry(deployment):
    path = deployment.deliver("wrong", 0, text="this is no file of reads\n")

    result = deployment.run("index_drop", "wrong")

    failure = failure_of(result)
    assert not result.success
    assert failure.description.startswith(str(path))
    assert "expected" in failure.description
    assert "\n" not in failure.description
    assert failure.metadata["exit_code"].value == 2
    assert not any(event.event_type_value == "STEP_UP_FOR_RETRY" for event in result.all_events)


def test_ranks_that_were_finished_before_a_device_died_stay_recorded(deployment, monkeypatch):
    def dying(*arguments, **options):
        yield from islice(embed_drop(*arguments, **options), 2)
        raise DeviceError("device process cpu:0: ended by signal SIGKILL")

    monkeypatch.setattr("virnucpro_assets.defs.embeddings.embed_drop", dying)
    deployment.deliver("d1", 4)
    assert deployment.run("index_drop", "d1").success

    result = deployment.run("embed_drop", "d1", ranks=(0, 3), selection=["esm2_embeddings"])

    assert failure_of(result).description == "device process cpu:0: ended by signal SIGKILL"
    assert len(deployment.recorded(result, "esm2_embeddings")) == 2
    with deployment.instance() as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey("esm2_embeddings"))) == 2


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_no_step_takes_an_interruption_for_a_failure(deployment, monkeypatch, interruption):
    """With a retry policy it would: the rest of a cancelled run would be done."""

    def interrupted(*arguments, **options):
        raise interruption

    monkeypatch.setattr("virnucpro_assets.defs.embeddings.embed_drop", interrupted)
    deployment.deliver("d", 4)
    assert deployment.run("index_drop", "d").success

    result = deployment.run("embed_drop", "d", ranks=(0, 3), settings=deployment.settings(step_retries=2))

    assert [event.step_key for event in result.all_events if event.is_step_start] == ["embed"]
    assert not any(event.event_type_value == "STEP_UP_FOR_RETRY" for event in result.all_events)
    assert not result.success


@pytest.mark.slow
def test_a_run_of_both_encoders_starts_one_device_process_and_ends_it(deployment, monkeypatch):
    started = []

    class Counted(ProcessHandle):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self.pid)

    monkeypatch.setattr("virnucpro_assets.inference.pool.ProcessHandle", Counted)
    deployment.deliver("d1", 4)
    assert deployment.run("index_drop", "d1").success

    assert deployment.run("embed_drop", "d1", ranks=(0, 3)).success

    assert len(started) == 1
    assert not psutil.pid_exists(started[0])


def poison_one_row(index: SequenceIndex, folder) -> int:
    """Copy the model with NaN for a token that only one row of the index has; returns the row."""
    shutil.copytree(MODELS_FOLDER / "dnabert_s", folder)
    tokenizer = DnaTokenizer(folder / "tokenizer.json", vocabulary=read_config(folder).vocab_size)
    tokens = tokenizer(index.rows(0, index.manifest.rows).nucleotides)
    rows_of: dict[int, set[int]] = {}
    for row, (start, stop) in enumerate(zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)):
        for token in tokens.data[start:stop].tolist():
            rows_of.setdefault(token, set()).add(row)
    token, (row,) = next((token, rows) for token, rows in sorted(rows_of.items()) if len(rows) == 1)
    weights = load_file(folder / "model.safetensors")
    (name,) = [name for name in weights if name.endswith("word_embeddings.weight")]
    weights[name][token] = float("nan")
    save_file(weights, folder / "model.safetensors")
    return row

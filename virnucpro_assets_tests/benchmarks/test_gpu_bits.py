"""The comparison of bits, on CPU slots: what it counts as equal, and that it finds what is not."""

from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from benchmarks.gpu import bits
from benchmarks.gpu.bench import SMALL, Bench
from benchmarks.gpu.models import SMALL_DNABERT_S
from virnucpro_assets.inference.devices import Device
from virnucpro_assets.models.configs import Esm2Config

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    protein = Esm2Config(num_hidden_layers=2, hidden_size=64, num_attention_heads=4)
    size = replace(SMALL, shapes={"esm2": protein, "dnabert_s": SMALL_DNABERT_S}, reads=300)
    slots = [Device("cpu", number, 1) for number in range(2)]
    return Bench(replace(size, packs={"esm2": 1, "dnabert_s": 1}), {1: slots[:1], 2: slots}, tmp_path)


def test_processes_pools_and_a_killed_one_are_compared_byte_by_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = bits._pool

    def with_one_other_number(bench: Bench, name: str, *rest: object, **options: object) -> bits.Parts:
        parts = pool(bench, name, *rest, **options)  # type: ignore[arg-type]
        if name == "pool_2":
            path = next(path for part, path in parts.items() if part.startswith("esm2"))
            with h5py.File(path, "r+") as file:
                file["embeddings"][0, 0] += 0.5
        return parts

    monkeypatch.setattr(bits, "_pool", with_one_other_number)
    found = bits.measure(bench, processes=2, rounds=1)
    assert found["processes started with nothing compiled"] == 2
    assert min(found["parts of each"].values()) > 2
    assert (found["with other bits"], found["equal byte by byte"]) == (["pool of 2"], False)
    assert found["largest difference"] == pytest.approx(0.5, abs=1e-3)
    assert "ended by signal SIGKILL at esm2 rank" in capsys.readouterr().out

"""The whole job on a generated drop at published shapes, uninterrupted and with a process killed."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.gpu.models import Config, random_state
from virnucpro_assets import __version__
from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.models.cards import ClassifierCard
from virnucpro_assets.models.classifier import classifier_shapes, save_classifier
from virnucpro_assets.models.folders import TOKENIZER_FILE
from virnucpro_assets.models.loading import save_encoder
from virnucpro_assets.pipeline.arrivals import register_reads
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.pipeline.stages import read_stages
from virnucpro_assets.sequences.read_files import pair_files
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropFolder
from virnucpro_assets.storage.shards import read_shard

DROP, BASES, CHUNK = "generated", 150, 300


def measure(
    protein: Config, dna: Config, device: str, *, reads: int, budget: int, folder: Path
) -> dict[str, Any]:
    """Time by stage, what the devices waited for, and whether a killed run gives the same parts."""
    settings = _settings(protein, dna, device, budget, folder)
    _write_reads(folder / "reads.fa", reads)
    result: dict[str, Any] = {"reads": reads, "token_budget": budget}
    watch = _MemoryWatch()
    whole, seconds, _ = _run(settings.model_copy(update={"data_root": folder / "whole"}), folder)
    result |= {"seconds": round(seconds, 1), **_figures(whole), "peak_device_mib": watch.stop()}
    killed, seconds, heard = _run(
        settings.model_copy(update={"data_root": folder / "killed"}), folder, kill=True
    )
    deaths = [line for line in heard if "SIGKILL" in line]
    if not deaths:
        raise RuntimeError("the kill did not land")
    result["killed"] = {
        "seconds": round(seconds, 1),
        "heard": deaths[0],
        "parts_equal_byte_by_byte": _parts(killed) == _parts(whole),
        "predictions_equal": _table(killed) == _table(whole),
    }
    return result


def _settings(protein: Config, dna: Config, device: str, budget: int, folder: Path) -> Settings:
    """Models with random weights, and settings that name them."""
    made_on = torch.device("cuda:0" if device.startswith("cuda") else "cpu")
    dtype = torch.float16 if made_on.type == "cuda" else torch.float32
    digests = {}
    for config in (dna, protein):
        state = {name: tensor.cpu() for name, tensor in random_state(config, dtype, made_on).items()}
        tokenizer = (MODELS_FOLDER / "dnabert_s" / TOKENIZER_FILE).read_text() if config is dna else None
        saved = save_encoder(folder / config.kind, config, state, tokenizer_json=tokenizer)
        digests[config.kind] = saved.digest
    card = ClassifierCard(
        chunk_length=CHUNK,
        d_dna=dna.hidden_size,
        d_protein=protein.hidden_size,
        encoders=digests,
        training_data="none: random numbers",
        created_with=__version__,
    )
    generator = torch.Generator().manual_seed(6)
    shapes = classifier_shapes(card.width)
    weights = {
        name: torch.randn(shape, generator=generator).abs() / card.width**0.5
        for name, shape in shapes.items()
    }
    save_classifier(folder / f"classifier_{CHUNK}", weights, card)
    return Settings(
        data_root=folder / "whole",
        esm2=folder / "esm2",
        dnabert_s=folder / "dnabert_s",
        classifiers=folder,
        devices=device,
        precision="float16" if made_on.type == "cuda" else "float32",
        token_budget=budget,
        packs_per_part=8,
        chunk_length=CHUNK,
        locks_folder=folder / "locks",
        min_cosine=0.9,
    )


def _write_reads(path: Path, reads: int) -> None:
    bases = np.random.default_rng(3).choice(np.frombuffer(b"ACGT", np.uint8), (reads, BASES))
    path.write_bytes(b"".join(b">read_%d\n%b\n" % (i, row.tobytes()) for i, row in enumerate(bases)))


def _run(settings: Settings, folder: Path, *, kill: bool = False) -> tuple[DropFolder, float, list[str]]:
    heard: list[str] = []
    settings.data_root.mkdir(parents=True)
    register_reads(DROP, pair_files([folder / "reads.fa"], paired=False), settings)
    done = threading.Event()
    killer = threading.Thread(target=_kill_once, args=(settings.data_root, done))
    if kill:
        killer.start()
    started = time.monotonic()
    drop = run_drop(DROP, settings, heard.append)
    seconds = time.monotonic() - started
    done.set()
    if kill:
        killer.join()
    return drop, seconds, heard


def _kill_once(root: Path, done: threading.Event) -> None:
    """End the device process that computes proteins when some of its parts are there."""
    while not done.wait(0.02):
        if len(list(root.rglob("esm2/rank-*/part-?????.h5"))) >= 2:
            for child in psutil.Process().children(recursive=True):
                if "virnucpro_assets.inference.device_process" in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)
                    return


def _figures(drop: DropFolder) -> dict[str, Any]:
    stages = {name: record.seconds for name, record in read_stages(drop.stages).items()}
    waits = {}
    for kind in ("dnabert_s", "esm2"):
        shards = [read_shard(path) for path in sorted((drop.path / kind).glob("rank-*")) if path.is_dir()]
        seconds = sum(shard.seconds for shard in shards)
        waits[kind] = {
            "tokens_per_second": round(sum(shard.computed_tokens for shard in shards) / seconds),
            "waited_for_input": round(sum(shard.telemetry.waited_for_input for shard in shards) / seconds, 4),
            "waited_for_output": round(
                sum(shard.telemetry.waited_for_output for shard in shards) / seconds, 4
            ),
        }
    checks = {
        path.stem: "passed = true" in path.read_text()
        for path in sorted(drop.checks.glob("predictions.*.toml"))
    }
    return {"stages": stages, "devices": waits, "checks": checks}


def _parts(drop: DropFolder) -> list[tuple[str, str]]:
    folders = sorted(drop.path.glob("*/rank-*"))
    return [
        (f"{folder.parent.name}/{folder.name}/{part.name}", part.file.sha256)
        for folder in folders
        for part in read_shard(folder).parts
    ]


def _table(drop: DropFolder) -> list[bytes]:
    return [path.read_bytes() for path in sorted(drop.predictions.glob("*.tsv*"))]


class _MemoryWatch:
    """The most memory in use on the first GPU, looked at while something else runs."""

    def __init__(self) -> None:
        self._most, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while torch.cuda.is_available() and not self._done.wait(0.5):
            free, total = torch.cuda.mem_get_info()
            self._most = max(self._most, total - free)

    def stop(self) -> int:
        """The most MiB, the parent's own context included."""
        self._done.set()
        self._thread.join()
        return self._most >> 20

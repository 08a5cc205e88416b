"""The whole job on a generated drop at published shapes, uninterrupted and with a device process killed.

The order of things: both models are made of random numbers on the device and saved, once for all
that is measured in one folder; then come the runs, each in a data root of its own. Every step and
every stage says when it is done.
"""

import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.gpu.models import Config, save_random
from benchmarks.gpu.progress import Watch, say, step
from virnucpro_assets import __version__
from virnucpro_assets.drops.stage_records import read_stages
from virnucpro_assets.inference.devices import find_devices
from virnucpro_assets.intake.registration import register_reads
from virnucpro_assets.models.cards import ClassifierCard
from virnucpro_assets.models.classifier import classifier_shapes, save_classifier
from virnucpro_assets.pipeline.run import run_drop
from virnucpro_assets.sequences.read_files import pair_files
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drop_folders import DropFolder
from virnucpro_assets.storage.prediction_tables import PREDICTION_RESULTS_FILE
from virnucpro_assets.storage.provenance import Telemetry
from virnucpro_assets.storage.shards import ShardManifest, read_shard
from virnucpro_assets.vocabulary import ENCODER_KINDS, EncoderKind

DROP, BASES, CHUNK, CHECKED = "generated", 150, 300, 8
KILLED_AFTER = 2
"""So many parts of the proteins are there when the device process is killed."""


@dataclass(frozen=True)
class Trial:
    """What runs have in common: the shapes, one device, the packs, and the folder that they lie in."""

    protein: Config
    dna: Config
    device: str
    token_budget: int
    packs_per_part: int
    folder: Path

    @cached_property
    def settings(self) -> Settings:
        """Settings that name the models, which are made when first asked for."""
        on_gpu = self.device.startswith("cuda")
        made_on = torch.device("cuda:0" if on_gpu else "cpu")
        digests = {
            config.kind: save_random(config, self.folder / config.kind, made_on).digest
            for config in (self.dna, self.protein)
        }
        card = ClassifierCard(
            chunk_length=CHUNK,
            d_dna=self.dna.hidden_size,
            d_protein=self.protein.hidden_size,
            encoders=digests,
            training_data="none: random numbers",
            created_with=__version__,
        )
        generator = torch.Generator().manual_seed(6)
        weights = {
            name: torch.randn(shape, generator=generator).abs() / card.width**0.5
            for name, shape in classifier_shapes(card.width).items()
        }
        save_classifier(self.folder / f"classifier_{CHUNK}", weights, card)
        return Settings(
            esm2=self.folder / "esm2",
            dnabert_s=self.folder / "dnabert_s",
            classifiers=self.folder,
            devices=self.device,
            precision="float16" if on_gpu else "float32",
            token_budget=self.token_budget,
            packs_per_part=self.packs_per_part,
            chunk_length=CHUNK,
            locks_folder=self.folder / "locks",
            check_sample=CHECKED,
            min_cosine=0.9,
        )

    def run(self, name: str, reads: int, *, kill: bool = False, devices: str | None = None) -> "Run":
        """The whole job on `reads` generated reads in a data root of its own; `kill` ends the device process once."""
        changes = {"data_root": self.folder / name, "devices": devices or self.device}
        settings = self.settings.model_copy(update=changes)
        settings.data_root.mkdir()
        file = self.folder / f"{reads}.fa"
        _write_reads(file, reads)
        register_reads(DROP, pair_files([file], paired=False), settings)
        heard: list[str] = []

        def hear(line: str) -> None:
            heard.append(line)
            say(line)

        started, done = time.monotonic(), threading.Event()
        killer = threading.Thread(target=_kill_once, args=(settings.data_root, done))
        with step(f"{name}: {reads:,} reads"), Watch(settings.data_root) as watch:
            if kill:
                killer.start()
            try:
                drop = run_drop(DROP, settings, hear)
            finally:
                done.set()
        devices = len(find_devices(settings.devices))
        return Run(devices, settings.ranks, drop, time.monotonic() - started, heard, watch.most_mib)


@dataclass(frozen=True)
class Run:
    """A finished run: its devices, its drop, wall-clock seconds, what it said, and the most MiB of the GPU in use."""

    devices: int
    ranks: int
    drop: DropFolder
    seconds: float
    heard: list[str]
    peak_device_mib: int

    @property
    def parts(self) -> list[tuple[EncoderKind, int, str, str]]:
        """Encoder, rank, name and SHA-256 of each part."""
        return [
            (kind, shard.rank, part.name, part.file.sha256)
            for kind in ENCODER_KINDS
            for shard in self._shards(kind)
            for part in shard.parts
        ]

    @property
    def table(self) -> bytes:
        """The table of predictions that people take away."""
        return (self.drop.predictions / PREDICTION_RESULTS_FILE).read_bytes()

    def figures(self) -> dict[str, Any]:
        """Seconds by stage, what the devices did, and which checks passed."""
        stages = {name: record.seconds for name, record in read_stages(self.drop.stages).items()}
        checks = {
            path.stem: "passed = true" in path.read_text()
            for path in sorted(self.drop.checks.glob("predictions.*.toml"))
        }
        devices = {kind: self._device(kind, stages[kind]) for kind in ENCODER_KINDS}
        computing = sum(figures["share_computing"] * stages[kind] for kind, figures in devices.items())
        return {
            "seconds": round(self.seconds, 1),
            "stages": stages | {"between": round(self.seconds - sum(stages.values()), 1)},
            "share_computing": round(computing / self.seconds, 3),
            "devices": devices,
            "peak_device_mib": self.peak_device_mib,
            "checks": checks,
        }

    def _device(self, kind: EncoderKind, stage: float) -> dict[str, float]:
        shards = self._shards(kind)
        together = sum((shard.telemetry for shard in shards), Telemetry())
        busy, tokens = (
            sum(shard.seconds for shard in shards),
            sum(shard.computed_tokens for shard in shards),
        )
        return device_figures(stage, self.devices, busy, tokens, together)

    def _shards(self, kind: EncoderKind) -> list[ShardManifest]:
        return [read_shard(self.drop.shard(kind, rank, self.ranks)) for rank in range(self.ranks)]


def device_figures(
    stage: float, devices: int, busy: float, tokens: int, together: Telemetry
) -> dict[str, float]:
    """What one of `devices` did in a stage of so many seconds, on average.

    `busy` and `together` are seconds of all devices added up. Of the stage a device has a part in work for its
    share of `busy`; the rest is the start of its process, and its wait for those that are done later. The rate
    is that of the time when the model was there.
    """
    steady = busy - together.loading
    waits = {
        "waited_for_input": together.waited_for_input,
        "waited_for_output": together.waited_for_output,
    }
    return {
        "seconds_without_work": round(stage - busy / devices, 2),
        "seconds_to_load": round(together.loading / devices, 2),
        "share_computing": round(steady / devices / stage, 3),
        "tokens": tokens,
        "tokens_per_second_and_device": round(tokens / steady),
        **{name: round(seconds / steady, 4) for name, seconds in waits.items()},
        "peak_mib": together.peak_memory >> 20,
    }


def whole(trial: Trial, reads: int) -> dict[str, Any]:
    """An uninterrupted run: seconds by stage, start-up, and what the devices waited for."""
    run = trial.run("whole", reads)
    return {"reads": reads, "token_budget": trial.token_budget} | run.figures()


def killed(trial: Trial, reads: int) -> dict[str, Any]:
    """A run whose device process is killed by SIGKILL among the proteins, against one that is left alone."""
    alone = trial.run("alone", reads)
    disturbed = trial.run("killed", reads, kill=True)
    deaths = [line for line in disturbed.heard if "SIGKILL" in line]
    if not deaths:
        raise RuntimeError("the kill did not land")
    return {
        "reads": reads,
        "token_budget": trial.token_budget,
        "parts": len(alone.parts),
        "uninterrupted": alone.figures(),
        "killed": disturbed.figures(),
        "heard": deaths[0],
        "parts_equal_byte_by_byte": disturbed.parts == alone.parts,
        "predictions_equal": disturbed.table == alone.table,
    }


def _write_reads(path: Path, reads: int) -> None:
    bases = np.random.default_rng(3).choice(np.frombuffer(b"ACGT", np.uint8), (reads, BASES))
    path.write_bytes(b"".join(b">read_%d\n%b\n" % (i, row.tobytes()) for i, row in enumerate(bases)))


def _kill_once(root: Path, done: threading.Event) -> None:
    """End the device process that computes proteins, the last one that was started, when some parts are there."""
    while not done.wait(0.005):
        if len(list(root.glob("*/*/esm2/rank-*/part-?????.h5"))) >= KILLED_AFTER:
            for child in reversed(psutil.Process().children(recursive=True)):
                if "virnucpro_assets.inference.device_process" in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)
                    return

"""What the measurements of several devices share: how large they are, the devices, the models, the index."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.device_faults import make_index, make_job
from benchmarks.gpu.models import ESM2_3B, SMALL_DNABERT_S, Config, save_random
from benchmarks.gpu.pipeline import Trial
from benchmarks.gpu.progress import step
from benchmarks.shapes import DNABERT_S, ESM2_8M
from virnucpro_assets.inference.devices import Device, find_devices
from virnucpro_assets.inference.encoder_choice import EncoderChoice, Machine, choose_kernels
from virnucpro_assets.inference.planned_shards import ShardJob
from virnucpro_assets.inference.pool import DevicePool, PoolOptions
from virnucpro_assets.sequences.index import SequenceIndex
from virnucpro_assets.vocabulary import EncoderKind, Precision


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Shapes, tokens of a pack and packs of a part by encoder; reads of the index; reads of the whole job
    and packs of a part there.
    """

    shapes: dict[EncoderKind, Config]
    budgets: dict[EncoderKind, int]
    packs: dict[EncoderKind, int]
    reads: int
    reads_of_job: int
    packs_of_job: int


FULL = Size(
    shapes={"esm2": ESM2_3B, "dnabert_s": DNABERT_S},
    budgets={"esm2": 32768, "dnabert_s": 65536},
    packs={"esm2": 2, "dnabert_s": 16},
    reads=240_000,
    reads_of_job=100_000,
    packs_of_job=4,
)
SMALL = Size(
    shapes={"esm2": ESM2_8M, "dnabert_s": SMALL_DNABERT_S},
    budgets={"esm2": 1024, "dnabert_s": 1024},
    packs={"esm2": 1, "dnabert_s": 2},
    reads=1_200,
    reads_of_job=400,
    packs_of_job=1,
)


@dataclass(frozen=True)
class Bench:
    """Devices by how many work together, and the models and the index, each of which is made when first asked for."""

    size: Size
    devices: dict[int, list[Device]]
    folder: Path

    @property
    def all(self) -> list[Device]:
        """As many devices as there are at most."""
        return self.devices[max(self.devices)]

    @cached_property
    def index(self) -> SequenceIndex:
        """The index of generated reads, in two ranks."""
        with step(f"index of {self.size.reads:,} reads"):
            return make_index(self.folder, self.size.reads)

    def job(self, kind: EncoderKind, name: str) -> ShardJob:
        """A job over both ranks, its shards in a folder of this name."""
        if kind not in self._encoders:
            self._encoders[kind] = self._make_encoder(kind)
        out, size = self.folder / kind / name, self.size
        return make_job(self.index, self._encoders[kind], out, size.budgets[kind], size.packs[kind])

    @cached_property
    def trial(self) -> Trial:
        """What whole jobs have in common, with models of its own."""
        folder, size = self.folder / "jobs", self.size
        folder.mkdir()
        device = "cuda:0" if self.all[0].kind == "cuda" else "cpu:1"
        shapes = size.shapes["esm2"], size.shapes["dnabert_s"]
        return Trial(*shapes, device, size.budgets["esm2"], size.packs_of_job, folder)

    @contextmanager
    def pool(self) -> Iterator[DevicePool]:
        """All devices; their processes start with the first task."""
        with DevicePool(self.all, PoolOptions(self.folder / "locks")) as pool:
            yield pool

    @cached_property
    def _encoders(self) -> dict[EncoderKind, EncoderChoice]:
        return {}

    def _make_encoder(self, kind: EncoderKind) -> EncoderChoice:
        on_gpu = self.all[0].kind == "cuda"
        made_on = torch.device("cuda:0" if on_gpu else "cpu")
        saved = save_random(self.size.shapes[kind], self.folder / f"model_{kind}", made_on)
        precision: Precision = "float16" if on_gpu else "float32"
        kernels = choose_kernels(kind, precision, Machine(has_gpus=on_gpu))
        return EncoderChoice(
            kind=kind,
            folder=saved.path,
            digest=saved.digest,
            width=saved.width,
            precision=precision,
            attention=kernels.attention,
            fused=kernels.fused,
        )


def counts_of(text: str) -> list[int]:
    """Numbers of devices, as `1,2,4`."""
    return [int(count) for count in text.split(",")]


def devices_by_count(counts: Sequence[int]) -> dict[int, list[Device]]:
    """So many of the GPUs; where there is none, CPU slots that have as many threads together for each count."""
    most = max(counts)
    if not torch.cuda.is_available():
        return {count: [Device("cpu", number, most // count) for number in range(count)] for count in counts}
    found = find_devices("cuda")
    if len(found) < most:
        raise SystemExit(f"found {len(found)} GPUs; expected {most} or more. Ask for fewer --devices.")
    return {count: found[:count] for count in counts}

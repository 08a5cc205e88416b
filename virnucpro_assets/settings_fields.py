"""The settings of deliveries, models, devices and schedules, with defaults and meanings.

Those of results and operation are in settings_groups.py; `Settings` (settings.py) joins all.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
)

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.vocabulary import Attention, Precision, QuarantinePolicy, WhenBusy


def _some_path(value: Any) -> Any:
    """A path with `~` expanded. One that is empty is refused: it would be the working folder."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("a path")
    return user_path(value) if isinstance(value, str | Path) else value


SomePath = Annotated[Path, BeforeValidator(_some_path)]


def _number(value: Any) -> Any:
    """A number from the text of a variable: a choice of numbers does not take texts by itself."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class DeliverySettings(BaseModel):
    """Where deliveries arrive, when they are complete, and how their reads are cut."""

    data_root: SomePath = Field(Path("data"), description="folder of everything that is made from drops")
    dagster_home: SomePath | None = Field(
        None,
        validation_alias="DAGSTER_HOME",
        description="the Dagster instance's folder; by default `dagster` under the data root",
    )
    drops_folder: SomePath = Field(
        Path("drops"), description="where deliveries arrive: sub-folders, files of reads, sample sheets"
    )
    settle_seconds: float = Field(
        60, gt=0, description="seconds that a delivery without a marker must stay unchanged to be complete"
    )
    ready_marker: str = Field(
        "READY",
        pattern=r"^[A-Za-z0-9_-]+$",
        description="file name in a folder, or ending of a file beside a file, that marks a delivery as complete",
    )
    allow_external_sample_paths: bool = Field(
        False, description="whether a sample sheet may name files outside the drops folder"
    )
    ranks: PositiveInt = Field(
        4, le=99, description="W: the number of shards of a drop, whatever the number of devices"
    )
    chunk_length: Annotated[Literal[300, 500], BeforeValidator(_number)] = Field(
        300, description="L: bases of a chunk, unless a drop says otherwise"
    )
    duplicates: Literal["suffix", "refuse"] = Field(
        "suffix", description="repeated read names get a suffix, or are an error"
    )


class ModelSettings(BaseModel):
    """Which models score which reads, and where models come from."""

    models: SomePath = Field(
        Path("models"), description="the registry: folder of the models that were fetched or imported"
    )
    esm2: SomePath = Field(
        MODELS_FOLDER / "esm2", description="model folder of ESM-2, or its name in the registry"
    )
    dnabert_s: SomePath = Field(
        MODELS_FOLDER / "dnabert_s", description="model folder of DNABERT-S, or its name in the registry"
    )
    classifiers: SomePath = Field(
        MODELS_FOLDER,
        description="folder with classifier_300 and classifier_500, as the registry; one that was trained here is "
        "preferred",
    )
    dna_only_below_bases: NonNegativeInt = Field(
        0,
        description="reads of fewer bases are scored by the DNA alone, by classifier_300_dna or classifier_500_dna; "
        "0: none. 300 is recommended once such a classifier is installed",
    )
    score_reads_without_open_frame: bool = Field(
        False,
        description="reads in which no reading frame is stop-free are scored by the DNA alone, by the same classifier; "
        "otherwise they have no score",
    )
    hub: str = Field(
        "https://huggingface.co",
        validation_alias="HF_ENDPOINT",
        description="server from which `virnucpro models fetch` downloads: the Hugging Face hub or a mirror",
    )
    hub_token: SecretStr | None = Field(
        None,
        validation_alias="HF_TOKEN",
        description="token for repositories that are not public; a secret",
    )


class RaySettings(BaseModel):
    """A Ray cluster that computes the steps, and the resources of each step."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    address: str = Field("http://127.0.0.1:8265", description="the cluster's job server, its dashboard")
    num_cpus: PositiveFloat = Field(1, description="processors of each step")
    num_gpus: NonNegativeFloat = Field(
        1, description="GPUs of a step with embeddings; 0 on a cluster without any"
    )


class ComputeSettings(BaseModel):
    """The devices, how the encoders compute on them, and what happens if one is busy or fails."""

    devices: str = Field(
        "auto",
        description="auto, cuda, cuda:0,1 (as CUDA counts, from 0) or cpu:2 (two CPU slots) or cpu:1/8 (one of eight, "
        "whichever is free)",
    )
    visible_gpus: str | None = Field(
        None,
        validation_alias="CUDA_VISIBLE_DEVICES",
        description="the GPUs that a scheduler assigns to this process, by number or UUID; all if not set",
    )
    precision: Precision = Field(
        "float32", description="precision of the encoders; rows are always stored as float32"
    )
    attention: Attention | None = Field(
        None,
        description="kernel of attention: dense-runs, varlen, flash, or plain, which computes "
        "as VirNucPro does, slowly; if not set, the fastest that was measured",
    )
    fused_kernels: bool | None = Field(
        None,
        description="whether layers use this package's own kernels; if not set, on GPUs in half precision",
    )
    peak_tflops: PositiveFloat | None = Field(
        None,
        description="peak rate of one device in this precision, for MFU; if not set, each device measures it",
    )
    token_budget: PositiveInt | None = Field(
        None,
        ge=1024,
        description="tokens of a pack, special ones included; default: on a GPU 32,768 for ESM-2 and 65,536 for "
        "DNABERT-S, else 8,192",
    )
    packs_per_part: PositiveInt = Field(64, description="packs between two checkpoints")
    embedding_cache_gib: NonNegativeFloat = Field(
        0,
        description="size of the cache of embeddings for other drops with the same sequences, GiB; 0: no cache",
    )
    executor: Literal["in_process", "ray"] = Field(
        "in_process",
        description="where steps of runs from the UI are computed: on this machine, or on a Ray cluster",
    )
    ray: RaySettings = Field(default_factory=RaySettings, description="the Ray cluster, if there is one")
    when_busy: WhenBusy = Field(
        "wait", description="if another run holds a device or a drop's files: wait, or fail"
    )
    locks_folder: SomePath | None = Field(
        None,
        description="folder of the locks of this machine's devices, the same for all users who share them; default: "
        "/run/lock, or /dev/shm if that is not shared",
    )
    stall_seconds: float = Field(
        900,
        gt=0,
        description="seconds without progress after which a device process is ended and its work is repeated",
    )
    max_device_restarts: NonNegativeInt = Field(
        3, description="how often in a row a device process may end before its device is not used any more"
    )
    quarantine: QuarantinePolicy = Field(
        "fail",
        description="a sequence that cannot be embedded fails its rank, or its reads become not_scored",
    )


class ScheduleSettings(BaseModel):
    """When runs start, and how often what failed is tried again."""

    owner: str = Field(
        "team:virnucpro",
        pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+)$",
        description="owner of the assets in the UI: team:NAME, or an e-mail address",
    )
    automation: bool = Field(
        True,
        description="whether arriving drops are found and computed automatically; the UI can switch it",
    )
    scan_interval_seconds: PositiveInt = Field(
        30,
        description="seconds between two scans of the drops folder, and between two evaluations of the automation",
    )
    nightly_at: str = Field(
        "02:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="when the schedule nightly_drops asks for what was never begun",
    )
    retry_cron: str = Field("0 7-19 * * *", description="when the schedule retry_failed runs, as a cron line")
    timezone: str = Field("UTC", description="time zone of the schedules, for example Europe/Vienna")
    step_retries: NonNegativeInt = Field(
        2, description="how often a step is repeated that failed only because a device or a lock was not free"
    )
    step_retry_seconds: float = Field(
        60, ge=0, description="seconds before the first such repetition; doubled before each next one"
    )
    retry_limit: PositiveInt = Field(
        3,
        description="failures of a partition after which the schedule retry_failed does not repeat it any more",
    )
    retry_drops: PositiveInt = Field(
        20, description="how many drops the schedule retry_failed repeats at a time"
    )

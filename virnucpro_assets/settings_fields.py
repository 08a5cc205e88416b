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

    data_root: SomePath = Field(Path("data"), description="all data and results")
    dagster_home: SomePath | None = Field(
        None,
        validation_alias="DAGSTER_HOME",
        description="the Dagster instance; default: dagster in data_root",
    )
    drops_folder: SomePath = Field(Path("drops"), description="where deliveries arrive")
    settle_seconds: float = Field(60, gt=0, description="seconds until an unchanged delivery is complete")
    ready_marker: str = Field(
        "READY",
        pattern=r"^[A-Za-z0-9_-]+$",
        description="name of the file that says a delivery is complete",
    )
    allow_external_sample_paths: bool = Field(
        False, description="sample sheets may name files outside drops_folder"
    )
    ranks: PositiveInt = Field(4, le=99, description="pieces of a drop that are repeated separately")
    chunk_length: Annotated[Literal[300, 500], BeforeValidator(_number)] = Field(
        300, description="bases of a chunk: 300 or 500"
    )
    duplicates: Literal["suffix", "refuse"] = Field(
        "suffix", description="suffix numbers repeated read names, refuse fails"
    )


class ModelSettings(BaseModel):
    """Which models score which reads, and where models come from."""

    models: SomePath = Field(Path("models"), description="installed models")
    esm2: SomePath = Field(MODELS_FOLDER / "esm2", description="name or folder of ESM-2")
    dnabert_s: SomePath = Field(MODELS_FOLDER / "dnabert_s", description="name or folder of DNABERT-S")
    classifiers: SomePath = Field(
        MODELS_FOLDER,
        description="folder of classifier_300 and classifier_500; those trained here come first",
    )
    dna_only_below_bases: NonNegativeInt = Field(
        0,
        description="score shorter reads by DNA alone (classifier_300_dna, classifier_500_dna); 0: none",
    )
    score_reads_without_open_frame: bool = Field(
        False,
        description="score reads without a stop-free frame by DNA alone",
    )
    hub: str = Field(
        "https://huggingface.co",
        validation_alias="HF_ENDPOINT",
        description="Hugging Face hub or a mirror",
    )
    hub_token: SecretStr | None = Field(
        None,
        validation_alias="HF_TOKEN",
        description="token for the hub (secret)",
    )


class RaySettings(BaseModel):
    """A Ray cluster that computes the steps, and the resources of each step."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    address: str = Field("http://127.0.0.1:8265", description="job server of the Ray cluster")
    num_cpus: PositiveFloat = Field(1, description="processors per step")
    num_gpus: NonNegativeFloat = Field(1, description="GPUs per embedding step; 0 without GPUs")


class ComputeSettings(BaseModel):
    """The devices, how the encoders compute on them, and what happens if one is busy or fails."""

    devices: str = Field(
        "auto",
        description="auto, cuda, cuda:0,1, cpu:2 (two slots) or cpu:1/8 (any one of eight)",
    )
    visible_gpus: str | None = Field(
        None,
        validation_alias="CUDA_VISIBLE_DEVICES",
        description="GPUs to use, by number or UUID; default: all",
    )
    precision: Precision = Field("float32", description="float32, bfloat16 or float16 in the encoders")
    attention: Attention | None = Field(
        None,
        description="kernel: dense-runs, varlen, flash or plain (as VirNucPro, slow); default: the fastest",
    )
    fused_kernels: bool | None = Field(
        None,
        description="use this package's kernels; default: on GPUs in 16 bits",
    )
    peak_tflops: PositiveFloat | None = Field(
        None,
        description="peak rate of a device, to show its utilisation; default: measured",
    )
    token_budget: PositiveInt | None = Field(
        None,
        ge=1024,
        description="tokens of a pack; default: on GPUs 32,768 (ESM-2) and 65,536 (DNABERT-S), else 8,192",
    )
    packs_per_part: PositiveInt = Field(64, description="packs between two checkpoints")
    embedding_cache_gib: NonNegativeFloat = Field(
        0,
        description="cache for repeated sequences, GiB; 0: none",
    )
    executor: Literal["in_process", "ray"] = Field(
        "in_process",
        description="where the UI's runs compute: in_process (here) or ray",
    )
    ray: RaySettings = Field(default_factory=RaySettings, description="the Ray cluster, if there is one")
    when_busy: WhenBusy = Field("wait", description="if a device or drop is in use: wait, or refuse")
    locks_folder: SomePath | None = Field(
        None,
        description="locks of devices, one folder for all users; default: /run/lock or /dev/shm",
    )
    stall_seconds: float = Field(
        900,
        gt=0,
        description="seconds without progress until a device process restarts",
    )
    max_device_restarts: NonNegativeInt = Field(3, description="restarts in a row until a device is given up")
    quarantine: QuarantinePolicy = Field(
        "fail",
        description="sequences that cannot be embedded: fail their rank, or become not_scored",
    )


class ScheduleSettings(BaseModel):
    """When runs start, and how often what failed is tried again."""

    owner: str = Field(
        "team:virnucpro",
        pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+)$",
        description="owner of assets: team:NAME or e-mail address",
    )
    automation: bool = Field(
        True,
        description="compute deliveries automatically",
    )
    scan_interval_seconds: PositiveInt = Field(
        30,
        description="seconds between scans for new work",
    )
    nightly_at: str = Field(
        "02:00",
        pattern=r"^([01]\d|2[0-3]):[0-5]\d$",
        description="when nightly_drops runs",
    )
    retry_cron: str = Field("0 7-19 * * *", description="when retry_failed runs, as a cron line")
    timezone: str = Field("UTC", description="time zone of schedules, such as Europe/Vienna")
    step_retries: NonNegativeInt = Field(2, description="retries of a step if a device or lock is in use")
    step_retry_seconds: float = Field(
        60, ge=0, description="seconds before the first retry; doubled each time"
    )
    retry_limit: PositiveInt = Field(
        3,
        description="failures in a row until retry_failed gives up",
    )
    retry_drops: PositiveInt = Field(20, description="drops that retry_failed repeats at a time")

"""The settings of results and of operation with their groups: calls, viral regions, alerts."""

import re
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)

LOW_COMPLEXITY_ABOVE = 20.0
HEADER = re.compile(r"[A-Za-z0-9-]+: [ -~]+")

Share = Annotated[float, Field(ge=0, le=1)]


class CallThresholds(BaseModel):
    """The bounds of calls per read or contig (`calling.calls`).

    Bounds that contradict each other are refused: a chunk would be confident and ambiguous at the same time, and shares
    would be above 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    viral_above: Share = Field(
        0.3,
        description="Viral above this weighted delta, Non-viral below its negative",
    )
    high_above: Share = Field(0.6, description="high confidence beyond this weighted delta")
    confident_above: Share = Field(0.8, description="a chunk is sure with one score above this")
    opposite_below: Share = Field(0.3, description="and its other score below this")
    ambiguous_above: Share = Field(0.7, description="a chunk is ambiguous with both scores above this")
    min_confident_chunks: NonNegativeInt = Field(1, description="sure chunks for a high or moderate tier")
    min_confident_share: Share = Field(0.1, description="their share of the chunks that are not ambiguous")
    min_chunks: NonNegativeInt = Field(5, description="scored chunks for a high or moderate tier")
    wanted_precision: float | None = Field(
        None,
        gt=0,
        le=1,
        description="wanted share of viruses among Viral reads; needs a threshold on the classifier's card",
    )
    wanted_fdr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="accepted share of wrong Viral calls; needs a calibration",
    )

    @model_validator(mode="after")
    def _do_not_contradict(self) -> Self:
        if self.wanted_fdr is not None and self.wanted_precision is not None:
            raise ValueError("one of wanted_fdr and wanted_precision, not both")
        for name in ("ambiguous_above", "confident_above"):
            if self.opposite_below > (bound := getattr(self, name)):
                raise ValueError(f"opposite_below of at most {name}, {bound}, not {self.opposite_below}")
        return self


class RegionRules(BaseModel):
    """When neighbouring chunks of a long read or contig are a viral region."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    smoothing_chunks: PositiveInt = Field(5, le=999, description="scored chunks in the moving average; odd")
    region_above: float = Field(
        0.0, ge=-1, le=1, description="averaged delta above which a chunk is in a region"
    )
    min_region_chunks: PositiveInt = Field(5, description="least scored chunks of a region")
    max_unscored_bases: NonNegativeInt = Field(
        3000, description="most bases without a scored chunk inside a region"
    )

    @field_validator("smoothing_chunks")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("an odd number of chunks")
        return value


class ResultSettings(BaseModel):
    """Thresholds of hits, calls, checks and classifiers."""

    min_score: float = Field(
        0.5, ge=0, le=1, description="least P(virus) of a read's best chunk in hits.fasta"
    )
    per_pair: bool = Field(False, description="write pair_calls.tsv too: a row a pair of mates")
    calls: CallThresholds = Field(
        default_factory=CallThresholds, description="thresholds of calls per read or contig"
    )
    expected_viral_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="expected share of viruses, for q-values; default: as in training",
    )
    low_complexity_above: float = Field(
        LOW_COMPLEXITY_ABOVE,
        ge=0,
        le=310,
        description="dust score of low complexity (random: 5, one base: 310)",
    )
    regions: RegionRules = Field(
        default_factory=RegionRules, description="when chunks of a long read or contig are a viral region"
    )
    check_sample: PositiveInt = Field(64, le=512, description="chunks in precision checks")
    min_cosine: float = Field(
        0.999,
        ge=-1,
        le=2,
        description="least cosine to float32; above 1 always fails",
    )
    min_label_agreement: float = Field(
        0.98, ge=0, le=2, description="least share of equal labels; above 1 always fails"
    )
    max_packed_difference: NonNegativeFloat = Field(
        5e-6, description="largest effect of neighbours in a pack, in float32"
    )
    min_packing_efficiency: float = Field(
        0.9, ge=0, le=1, description="least share of a full pack that is filled"
    )
    classifier_margin: NonNegativeFloat = Field(
        0.01,
        lt=1,
        description="how far a new classifier's AUROC and F1 may be lower",
    )


class AlertSettings(BaseModel):
    """Who gets alerts about failures; nobody without a target. Secrets are never printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    log: bool = Field(False, description="write alerts to the daemon's log")
    webhook: SecretStr | None = Field(None, description="address that gets alerts as JSON (secret)")
    webhook_header: SecretStr | None = Field(
        None,
        description="header for it, NAME: VALUE (secret)",
    )
    mail_to: str = Field("", description="e-mail addresses, separated by commas")
    mail_from: str = Field("", description="sender; default: the first of mail_to")
    mail_warnings: bool = Field(False, description="mail warnings of checks too")
    finished: bool = Field(False, description="report finished drops too")
    smtp_host: str = Field("localhost", description="mail server")
    smtp_port: PositiveInt = Field(587, le=65535, description="its port")
    smtp_security: Literal["starttls", "ssl", "none"] = Field(
        "starttls", description="starttls, ssl or none (this machine only)"
    )
    smtp_user: str = Field("", description="login name; empty: no login")
    smtp_password: SecretStr | None = Field(None, description="its password (secret)")
    timeout_seconds: PositiveFloat = Field(10, description="seconds to wait for a target")
    repeat_hours: PositiveFloat = Field(24, description="hours until the same failure is sent again")
    ui_url: str = Field("http://127.0.0.1:3000", description="address of the UI, for links")

    @field_validator("webhook")
    @classmethod
    def _is_web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("an address that begins with http:// or https://")
        return value

    @field_validator("webhook_header")
    @classmethod
    def _is_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not HEADER.fullmatch(value.get_secret_value()):
            raise ValueError("a header, NAME: VALUE, in one line")
        return value

    @property
    def has_target(self) -> bool:
        """Whether alerts are sent to anybody."""
        return self.log or self.webhook is not None or bool(self.mail_to)


class OperationSettings(BaseModel):
    """Alerts, the address of reports, and how long data are kept."""

    alerts: AlertSettings = Field(
        default_factory=AlertSettings, description="who gets alerts about failures, and how"
    )
    fresh_hours: PositiveFloat | None = Field(
        None,
        ge=1,
        description="warn if no drop was predicted for so long",
    )
    overdue_hours: NonNegativeFloat = Field(
        36, description="hours until a drop without predictions is overdue; 0: never"
    )
    reports_url: str | None = Field(
        None,
        pattern="^https?://",
        description="web address of the data root's pages, for links",
    )
    keep_embeddings_days: PositiveFloat | None = Field(
        None,
        description="days until finished drops lose their embeddings; default: never",
    )
    keep_drops_days: PositiveFloat | None = Field(
        None, description="days until finished drops lose all data; default: never"
    )
    cleanup_deletes: bool = Field(False, description="nightly_cleanup deletes; otherwise it lists")

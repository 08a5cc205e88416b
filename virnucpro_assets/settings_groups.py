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
        description="a read is Viral if its weighted delta is above, Non-viral if it is below the negative",
    )
    high_above: Share = Field(0.6, description="a weighted delta above, either way, is high confidence")
    confident_above: Share = Field(0.8, description="a chunk is confident if one score is above")
    opposite_below: Share = Field(0.3, description="and the other below")
    ambiguous_above: Share = Field(0.7, description="a chunk is ambiguous if both scores are above")
    min_confident_chunks: NonNegativeInt = Field(
        1, description="confident chunks of the call's kind that confidence needs"
    )
    min_confident_share: Share = Field(
        0.1, description="their share of the chunks that are not ambiguous that confidence needs"
    )
    min_chunks: NonNegativeInt = Field(5, description="chunks that confidence needs")
    wanted_precision: float | None = Field(
        None,
        gt=0,
        le=1,
        description="wanted share of viruses among what is called virus; a precision with a threshold on the "
        "classifier's card",
    )
    wanted_fdr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="wanted expected share of wrong ones among what is called virus; needs a calibration",
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

    smoothing_chunks: PositiveInt = Field(
        5, le=999, description="scored chunks over which the delta of a chunk is averaged; odd"
    )
    region_above: float = Field(
        0.0, ge=-1, le=1, description="an averaged delta above makes a chunk part of a region"
    )
    min_region_chunks: PositiveInt = Field(5, description="scored chunks that a region needs")
    max_unscored_bases: NonNegativeInt = Field(
        3000, description="bases without a scored chunk that a region may hold"
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
        0.5, ge=0, le=1, description="P(virus) that a read's best chunk needs to be a hit"
    )
    per_pair: bool = Field(False, description="write pair_calls.tsv too: a row a pair of mates")
    calls: CallThresholds = Field(
        default_factory=CallThresholds, description="thresholds of calls per read or contig"
    )
    expected_viral_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of viruses expected among the reads, for q-values; none: that of the classifier's training",
    )
    low_complexity_above: float = Field(
        LOW_COMPLEXITY_ABOVE,
        ge=0,
        le=310,
        description="dust score above which a chunk is low in complexity: 5 is random, 310 one base alone",
    )
    regions: RegionRules = Field(
        default_factory=RegionRules, description="when chunks of a long read or contig are a viral region"
    )
    check_sample: PositiveInt = Field(64, le=512, description="chunks in the sample of the precision checks")
    min_cosine: float = Field(
        0.999,
        ge=-1,
        le=2,
        description="least cosine of an embedding to its float32 reference; above 1 every drop is held back",
    )
    min_label_agreement: float = Field(
        0.98, ge=0, le=2, description="least share of equal labels against float32; above 1 likewise"
    )
    max_packed_difference: NonNegativeFloat = Field(
        5e-6, description="largest change of an embedding by its neighbours, float32"
    )
    min_packing_efficiency: float = Field(
        0.9, ge=0, le=1, description="least tokens in packs over capacity, full packs"
    )
    classifier_margin: NonNegativeFloat = Field(
        0.01,
        lt=1,
        description="by how much AUROC and F1 of a new classifier may be below those of the one in use",
    )


class AlertSettings(BaseModel):
    """Who gets alerts about failures; nobody without a target. Secrets are never printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    log: bool = Field(False, description="write alerts to the log of the process that evaluates the sensors")
    webhook: SecretStr | None = Field(
        None, description="http(s) address to which each alert is sent as JSON; a secret, it may hold a token"
    )
    webhook_header: SecretStr | None = Field(
        None,
        description="one header of these requests, NAME: VALUE, as Authorization: Bearer TOKEN; a secret",
    )
    mail_to: str = Field("", description="addresses to which alerts go by e-mail, separated by commas")
    mail_from: str = Field(
        "", description="the sender's address of these e-mails; by default the first of mail_to"
    )
    mail_warnings: bool = Field(
        False, description="send warnings of checks by e-mail too; the log and the webhook always get them"
    )
    finished: bool = Field(False, description="tell of each drop that is finished too, with its counts")
    smtp_host: str = Field("localhost", description="the mail server")
    smtp_port: PositiveInt = Field(587, le=65535, description="the port of that server")
    smtp_security: Literal["starttls", "ssl", "none"] = Field(
        "starttls", description="encryption of the connection; none only for a server on this machine"
    )
    smtp_user: str = Field("", description="user name for the login; empty: no login")
    smtp_password: SecretStr | None = Field(None, description="password of that user; a secret")
    timeout_seconds: PositiveFloat = Field(10, description="seconds that one target may take")
    repeat_hours: PositiveFloat = Field(
        24, description="hours after which the same failure of the same drop is sent again"
    )
    ui_url: str = Field("http://127.0.0.1:3000", description="web address of the UI, for the links in alerts")

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
        description="hours after which predictions count as stale if no drop has younger ones; for daily deliveries",
    )
    overdue_hours: NonNegativeFloat = Field(
        36, description="hours after which a drop without predictions is overdue; 0: never"
    )
    reports_url: str | None = Field(
        None,
        pattern="^https?://",
        description="web address of the pages in the data root; if not set, the UI shows their paths",
    )
    keep_embeddings_days: PositiveFloat | None = Field(
        None,
        description="days after which the embeddings of a finished drop are removed; results stay; not set: never",
    )
    keep_drops_days: PositiveFloat | None = Field(
        None, description="days after which all data of a finished drop are removed; not set: never"
    )
    cleanup_deletes: bool = Field(
        False, description="whether the scheduled clean-up deletes, or only lists what it would delete"
    )

"""Groups of settings: of calls, of viral regions, of alerts, and of a Ray cluster."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

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
)

HEADER = re.compile(r"[A-Za-z0-9-]+: [ -~]+")

_Share = Field(ge=0, le=1, allow_inf_nan=False)


@dataclass(frozen=True)
class CallThresholds:
    """The bounds of calls per read or contig (`calling.calls`).

    Raises ValueError for bounds that contradict each other: a chunk would be confident and ambiguous at the same time,
    and shares would be above 1.
    """

    viral_above: Annotated[
        float, "a read is Viral if its weighted delta is above, Non-viral if it is below the negative", _Share
    ] = 0.3
    high_above: Annotated[float, "a weighted delta above, either way, is high confidence", _Share] = 0.6
    confident_above: Annotated[float, "a chunk is confident if one score is above", _Share] = 0.8
    opposite_below: Annotated[float, "and the other below", _Share] = 0.3
    ambiguous_above: Annotated[float, "a chunk is ambiguous if both scores are above", _Share] = 0.7
    min_confident_chunks: Annotated[
        int, "confident chunks of the call's kind that confidence needs", Field(ge=0)
    ] = 1
    min_confident_share: Annotated[
        float, "their share of the chunks that are not ambiguous that confidence needs", _Share
    ] = 0.1
    min_chunks: Annotated[int, "chunks that confidence needs", Field(ge=0)] = 5
    wanted_precision: Annotated[
        float | None,
        "wanted share of viruses among what is called virus; a precision with a threshold on the classifier's card",
        Field(gt=0, le=1, allow_inf_nan=False),
    ] = None
    wanted_fdr: Annotated[
        float | None,
        "wanted expected share of wrong ones among what is called virus; needs a calibration",
        Field(gt=0, lt=1, allow_inf_nan=False),
    ] = None

    def __post_init__(self) -> None:
        if self.wanted_fdr is not None and self.wanted_precision is not None:
            raise ValueError("one of wanted_fdr and wanted_precision, not both")
        for name in ("ambiguous_above", "confident_above"):
            if self.opposite_below > (bound := getattr(self, name)):
                raise ValueError(f"opposite_below of at most {name}, {bound}, not {self.opposite_below}")


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


class RaySettings(BaseModel):
    """A Ray cluster that computes the steps, and the resources of each step."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    address: str = Field("http://127.0.0.1:8265", description="the cluster's job server, its dashboard")
    num_cpus: PositiveFloat = Field(1, description="processors of each step")
    num_gpus: NonNegativeFloat = Field(
        1, description="GPUs of a step with embeddings; 0 on a cluster without any"
    )

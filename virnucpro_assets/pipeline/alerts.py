"""Alerts: one message about what failed, for people and for programs, told once.

A message is built once and goes to every target that the settings name: a log, a webhook (JSON, by
POST) and e-mail. A target that does not take it is tried again within its time. What was told is kept
in `alerts.toml` under the data root, so that the same failure of the same drop is not told again for a
while, whoever finds it, and also if the process that told it is ended before it can say so.

Addresses, headers and passwords are secrets: nothing here puts them, or errors that quote them, into a
message.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.files.locks import locked
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.pipeline.alert_targets import TargetError, post, send_mail
from virnucpro_assets.settings import Settings

FORMAT = 1
FILE, LOCK = "alerts.toml", "alerts.lock"
SHOWN = 20

Log = Callable[[str], None]


class Failure(BaseModel):
    """What failed of a drop: the ranks where it is cut into ranks, the reason, and the command that repairs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: str
    ranks: list[int] = []
    reason: str
    command: str

    @property
    def where(self) -> str:
        """The drop and its ranks as a phrase."""
        if not self.ranks:
            return f"drop {self.drop}" if self.drop else "no drop"
        return f"drop {self.drop}, rank{'s' if len(self.ranks) > 1 else ''} {', '.join(map(str, self.ranks))}"


class Alert(BaseModel):
    """One message. `run_id`, `run_url` and `job` are empty where it is not about a run.

    Its JSON keeps its meaning: fields are only added, and `format` grows if one ever changes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    kind: Literal["run failed", "check failed", "overdue"]
    failures: list[Failure]
    run_id: str = ""
    run_url: str = ""
    job: str = ""
    at: datetime

    @property
    def title(self) -> str:
        """What happened, in one line."""
        what = {"run failed": "failed", "check failed": "did not pass a check", "overdue": "is overdue"}
        several = {"run failed": "failed", "check failed": "did not pass checks", "overdue": "are overdue"}
        first = self.failures[0].where
        if len(self.failures) == 1:
            return f"VirNucPro: {first} {what[self.kind]}"
        return f"VirNucPro: {len(self.failures)} drops {several[self.kind]}, {first} first"

    @property
    def text(self) -> str:
        """The message for people."""
        lines = [self.title]
        if self.run_id:
            lines += [f"run {self.run_id} of {self.job}", self.run_url]
        for failure in self.failures[:SHOWN]:
            lines += ["", f"{failure.where}: {failure.reason}", f"to repair: {failure.command}"]
        if len(self.failures) > SHOWN:
            lines += ["", f"and {len(self.failures) - SHOWN} drops more"]
        return "\n".join(lines) + "\n"

    @property
    def content(self) -> bytes:
        """The message for programs: its fields, title and text as JSON."""
        fields = self.model_dump(mode="json")
        return json.dumps({**fields, "title": self.title, "text": self.text}, ensure_ascii=False).encode()


class _Told(BaseModel):
    identity: str
    at: datetime


class _Memory(BaseModel):
    told: list[_Told] = []


def tell(alert: Alert, settings: Settings, log: Log, *, now: datetime | None = None) -> Alert | None:
    """Send what is new of an alert to every target; returns what was sent, None if all was told before.

    Raises TargetError, naming the targets, if one did not take it; if none did, it is not told.
    """
    now = now or datetime.now(UTC)
    root = settings.data_root
    with locked(root / LOCK, "an alert", "wait", lambda _: None):
        since = now - timedelta(hours=settings.alerts.repeat_hours)
        told = [one for one in _read(root).told if one.at > since]
        known = {one.identity for one in told}
        new = [failure for failure in alert.failures if _identity(alert, failure) not in known]
        if not new:
            return None
        fresh = alert.model_copy(update={"failures": new})
        taken, problems = _send(fresh, settings, log)
        if taken:
            told += [_Told(identity=_identity(alert, failure), at=now) for failure in new]
            write_manifest(root / FILE, _Memory(told=told))
    if problems:
        raise TargetError(f"{fresh.title}: {'; '.join(problems)}. Check the settings VIRNUCPRO_ALERTS__*.")
    return fresh


def _send(alert: Alert, settings: Settings, log: Log) -> tuple[int, list[str]]:
    """Send to every target; how many took it, and what is wrong with the others."""
    targets: list[Callable[[], None]] = []
    if settings.alerts.log:
        targets.append(lambda: log(alert.text))
    if settings.alerts.webhook:
        targets.append(lambda: post(alert.content, settings.alerts))
    if settings.alerts.mail_to:
        targets.append(lambda: send_mail(alert.title, alert.text, settings.alerts))
    problems = []
    for target in targets:
        try:
            target()
        except TargetError as error:
            problems.append(str(error))
    return len(targets) - len(problems), problems


def _identity(alert: Alert, failure: Failure) -> str:
    parts: Sequence[object] = (alert.kind, failure.drop, failure.ranks, failure.reason)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _read(root: Path) -> _Memory:
    path = root / FILE
    return read_manifest(path, _Memory) if path.exists() else _Memory()

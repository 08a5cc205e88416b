"""Alerts: messages about failures (and finished drops, if wanted), for people and programs, sent once to every target.

An alert is first written to the outbox (`alerts.toml` under the data root), once for each target in the settings: a
log, a webhook (JSON, by POST) and e-mail. Then each is sent. An alert that a target does not accept stays in the outbox
and is sent again by the next call, for a week; targets do not wait for each other. The outbox also has the alerts that
were sent, so that the same failure of the same drop is not sent again for `repeat_hours`. If the process ends between
sending and the record of it, an alert is sent twice, but never lost.

Addresses, headers and passwords are secrets: they, and errors that quote them, are never written to a message or file.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import IntegrityError, counted
from virnucpro_assets.files.locks import locked
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.maintenance.alert_targets import TargetError, post, send_mail
from virnucpro_assets.settings import Settings

FORMAT = 1
FILE, LOCK = "alerts.toml", "alerts.lock"
SHOWN = 20
KEPT = timedelta(days=7)

Log = Callable[[str], None]
Kind = Literal["run failed", "check failed", "check warned", "delivery refused", "overdue", "finished"]
Target = Literal["log", "webhook", "e-mail"]

STATES = ("delivery refused", "overdue")

ONE: dict[Kind, str] = {
    "run failed": "failed",
    "check failed": "did not pass a check",
    "check warned": "has a warning of a check",
    "delivery refused": "was refused",
    "overdue": "is overdue",
    "finished": "is finished",
}
SEVERAL: dict[Kind, str] = {
    "run failed": "drops failed",
    "check failed": "drops did not pass checks",
    "check warned": "drops have warnings of checks",
    "delivery refused": "deliveries were refused",
    "overdue": "drops are overdue",
    "finished": "drops are finished",
}


class AlertEntry(BaseModel):
    """A drop of an alert: the ranks (if it failed in some), the reason, and the command that repairs it.

    Of a finished drop the reason is its counts, and the command shows them.

    `drop` is the name of the delivery if one was refused, and empty if a run is not about a drop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: str
    ranks: list[int] = []
    reason: str
    command: str


class Alert(BaseModel):
    """One message. `run_id`, `run_url` and `job` are empty if it is not about a run.

    The fields of its JSON keep their meaning: fields are only added, and `format` grows if one has to change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    kind: Kind
    failures: list[AlertEntry]
    run_id: str = ""
    run_url: str = ""
    job: str = ""
    at: datetime

    @property
    def title(self) -> str:
        """What happened, in one line."""
        first = self._subject(self.failures[0])
        if len(self.failures) == 1:
            return f"VirNucPro: {first} {ONE[self.kind]}"
        return f"VirNucPro: {len(self.failures)} {SEVERAL[self.kind]}, {first} first"

    @property
    def text(self) -> str:
        """The message for people."""
        lines = [self.title]
        if self.run_id:
            lines += [f"run {self.run_id}{_of_job(self.job)}", self.run_url]
        for failure in self.failures[:SHOWN]:
            what = "to look" if self.kind == "finished" else "to repair"
            lines += ["", f"{self._subject(failure)}: {failure.reason}", f"{what}: {failure.command}"]
        if len(self.failures) > SHOWN:
            lines += ["", f"and {len(self.failures) - SHOWN} more"]
        return "\n".join(lines) + "\n"

    @property
    def content(self) -> bytes:
        """The message for programs: its fields, title and text as JSON."""
        fields = self.model_dump(mode="json")
        return json.dumps({**fields, "title": self.title, "text": self.text}, ensure_ascii=False).encode()

    def identity(self, failure: AlertEntry) -> str:
        """A digest of everything but the run: equal for the same failure in two runs."""
        parts = (self.kind, failure.drop or self.job, failure.ranks, failure.reason)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _subject(self, failure: AlertEntry) -> str:
        if self.kind == "delivery refused":
            return f"delivery {failure.drop}"
        if not failure.drop:
            return f"a run{_of_job(self.job)}"
        ranks = ", ".join(map(str, failure.ranks))
        return f"drop {failure.drop}" + (
            f", rank{'s' if len(failure.ranks) > 1 else ''} {ranks}" if ranks else ""
        )


def _of_job(job: str) -> str:
    """The job of a run; nothing for the one that Dagster makes of assets that were chosen by hand."""
    return "" if job.startswith("__") else f" of {job}"


class _Seen(BaseModel):
    identity: str
    at: datetime


class _Unsent(BaseModel):
    target: Target
    alert: Alert
    since: datetime


class _Outbox(BaseModel):
    seen: list[_Seen] = []
    unsent: list[_Unsent] = []


def send(alerts: list[Alert], settings: Settings, log: Log, *, now: datetime | None = None) -> list[Alert]:
    """Send the new ones of the alerts, and those that a target did not accept before; returns the new ones.

    Raises TargetError with the targets that did not accept an alert, which stays in the outbox.
    """
    now = now or datetime.now(UTC)
    root = settings.data_root
    with locked(root / LOCK, "an alert", "wait"):
        before = _read(root / FILE)
        since = now - timedelta(hours=settings.alerts.repeat_hours)
        seen = [one for one in before.seen if one.at > since]
        seen, new = _with(alerts, seen, now, settings.alerts.repeat_hours)
        targets = _targets(settings, log)
        unsent = [one for one in before.unsent if one.target in targets and one.since > now - KEPT]
        unsent += [
            _Unsent(target=target, alert=alert, since=now)
            for alert in new
            for target in targets
            if target != "e-mail" or alert.kind != "check warned" or settings.alerts.mail_warnings
        ]
        if new and unsent:
            write_manifest(root / FILE, _Outbox(seen=seen, unsent=unsent))
        problems: dict[Target, str] = {}
        left = [one for one in unsent if not _sent(one, targets, problems)]
        after = _Outbox(seen=seen, unsent=left)
        if after != before:
            write_manifest(root / FILE, after)
    if problems:
        raise TargetError(
            f"found {counted(len(left), 'alert')} that cannot be sent "
            f"({'; '.join(problems.values())}); for 7 days it is tried again. Check the settings "
            "VIRNUCPRO_ALERTS__*."
        )
    return new


def _with(
    alerts: list[Alert], seen: list[_Seen], now: datetime, repeat_hours: float
) -> tuple[list[_Seen], list[Alert]]:
    """All failures seen until now, and the alerts with only their new failures.

    A lasting state (STATES) is new once: its time is renewed before it expires.
    """
    at = {one.identity: one.at for one in seen}
    new = []
    for alert in alerts:
        failures = [failure for failure in alert.failures if alert.identity(failure) not in at]
        if failures:
            new.append(alert.model_copy(update={"failures": failures}))
        noted_again = now - timedelta(hours=repeat_hours / 2)
        for identity in map(alert.identity, alert.failures):
            if identity not in at or (alert.kind in STATES and at[identity] < noted_again):
                at[identity] = now
    return [_Seen(identity=identity, at=time) for identity, time in at.items()], new


def _targets(settings: Settings, log: Log) -> dict[Target, Callable[[Alert], None]]:
    targets: dict[Target, Callable[[Alert], None]] = {}
    if settings.alerts.log:
        targets["log"] = lambda alert: log(alert.text)
    if settings.alerts.webhook:
        targets["webhook"] = lambda alert: post(alert.content, settings.alerts)
    if settings.alerts.mail_to:
        targets["e-mail"] = lambda alert: send_mail(alert.title, alert.text, settings.alerts)
    return targets


def _sent(one: _Unsent, targets: dict[Target, Callable[[Alert], None]], problems: dict[Target, str]) -> bool:
    """Send one alert, unless its target has failed in this call: a failure may take `timeout_seconds`."""
    if one.target in problems:
        return False
    try:
        targets[one.target](one.alert)
    except TargetError as error:
        problems[one.target] = str(error)
    return one.target not in problems


def _read(path: Path) -> _Outbox:
    """The outbox; empty if there is none or another version wrote it."""
    try:
        return read_manifest(path, _Outbox) if path.exists() else _Outbox()
    except IntegrityError:
        return _Outbox()

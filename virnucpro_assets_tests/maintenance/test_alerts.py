"""Alerts: what is told, to whom, how often, and what is never in it."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from virnucpro_assets.maintenance.alert_targets import TargetError
from virnucpro_assets.maintenance.alerts import Alert, AlertEntry, send
from virnucpro_assets.settings import Settings
from virnucpro_assets.settings_groups import AlertSettings
from virnucpro_assets_tests.receivers import (
    Mailbox,
    Webhook,
    make_certificate,
    running_mail_server,
    running_webhook,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKEN = f"webhook-{uuid4()}"
RANK = AlertEntry(
    drop="d1", ranks=[2], reason="esm2: found 1 rank that cannot be finished", command="virnucpro retry d1"
)
WHOLE = AlertEntry(
    drop="d2", reason="reads.fastq: found no FASTQ; expected one", command="virnucpro retry d2"
)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook() as hook:
        yield hook


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mail_server() as box:
        yield box


def alert(*failures: AlertEntry, kind: Any = "run failed") -> Alert:
    return Alert(
        kind=kind,
        failures=list(failures or (RANK,)),
        run_id="run-1",
        run_url="http://ui.example/runs/run-1",
        job="embed_drop",
        at=NOW,
    )


def settings(root: Path, **alerts: Any) -> Settings:
    return Settings(data_root=root, alerts=AlertSettings(**alerts))


def test_a_webhook_receives_drop_rank_reason_run_and_command(tmp_path: Path, webhook: Webhook) -> None:
    chosen = settings(tmp_path, webhook=webhook.url, webhook_header=f"X-Token: {TOKEN}")

    sent = send([alert(RANK, WHOLE)], chosen, print, now=NOW)

    (body,), (headers,) = webhook.bodies, webhook.headers
    assert sent == [alert(RANK, WHOLE)]
    assert headers["X-Token"] == TOKEN
    assert headers["Content-Type"] == "application/json"
    assert body["format"] == 1
    assert body["failures"] == [
        {"drop": "d1", "ranks": [2], "reason": RANK.reason, "command": "virnucpro retry d1"},
        {"drop": "d2", "ranks": [], "reason": WHOLE.reason, "command": "virnucpro retry d2"},
    ]
    assert (body["kind"], body["run_id"], body["job"]) == ("run failed", "run-1", "embed_drop")
    assert body["run_url"] == "http://ui.example/runs/run-1"
    assert body["title"] == "VirNucPro: 2 drops failed, drop d1, rank 2 first"
    assert TOKEN not in body["text"]


def test_the_same_failure_is_told_once_and_again_after_the_time_of_the_settings(
    tmp_path: Path, webhook: Webhook
) -> None:
    chosen = settings(tmp_path, webhook=webhook.url, repeat_hours=24)

    assert send([alert(RANK)], chosen, print, now=NOW)
    assert not send([alert(RANK)], chosen, print, now=NOW + timedelta(hours=23))
    (both,) = send([alert(RANK, WHOLE)], chosen, print, now=NOW + timedelta(hours=23))
    assert send([alert(RANK, kind="check failed")], chosen, print, now=NOW)
    assert send([alert(RANK)], chosen, print, now=NOW + timedelta(hours=25))

    assert both.failures == [WHOLE]
    assert [[f["drop"] for f in body["failures"]] for body in webhook.bodies] == [
        ["d1"],
        ["d2"],
        ["d1"],
        ["d1"],
    ]


@pytest.mark.parametrize("answer", [403, 429, 503])
def test_what_a_server_refuses_is_sent_again_by_the_next_call_and_once(
    answer: int, tmp_path: Path, webhook: Webhook
) -> None:
    chosen = settings(tmp_path, webhook=webhook.url)
    webhook.answers = [answer]
    with pytest.raises(TargetError, match=f"webhook: answered {answer}"):
        send([alert(WHOLE)], chosen, print, now=NOW)
    for _ in range(2):
        assert not send([], chosen, print, now=NOW)
    assert [body["failures"][0]["drop"] for body in webhook.bodies] == ["d2", "d2"]


def test_a_redirect_is_not_followed_with_the_secret_header(tmp_path: Path, webhook: Webhook) -> None:
    with running_webhook() as elsewhere:
        webhook.answers, webhook.redirect_to = [302], elsewhere.url
        chosen = settings(tmp_path, webhook=webhook.url, webhook_header=f"X-Token: {TOKEN}")
        with pytest.raises(TargetError, match="answered 302"):
            send([alert()], chosen, print, now=NOW)
        assert not elsewhere.headers


def test_a_dead_webhook_says_so_without_its_address(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chosen = settings(tmp_path, webhook=f"http://127.0.0.1:{port}/{TOKEN}")

    with pytest.raises(TargetError) as raised:
        send([alert()], chosen, print, now=NOW)

    assert "webhook: ConnectionRefusedError, Connection refused" in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert str(port) not in str(raised.value)


def test_a_silent_webhook_costs_no_more_than_the_time_of_the_settings(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        chosen = settings(tmp_path, webhook=address, timeout_seconds=0.6)
        started = datetime.now(UTC)
        with pytest.raises(TargetError, match="webhook: TimeoutError"):
            send([alert()], chosen, print, now=NOW)
    assert (datetime.now(UTC) - started).total_seconds() < 3


def test_an_address_that_is_none_is_not_quoted(tmp_path: Path) -> None:
    chosen = settings(tmp_path, webhook=f"http://[{TOKEN}/")

    with pytest.raises(TargetError) as raised:
        send([alert()], chosen, print, now=NOW)

    assert TOKEN not in str(raised.value)


def test_an_e_mail_says_the_same_to_everybody(tmp_path: Path, mailbox: Mailbox) -> None:
    chosen = settings(
        tmp_path,
        mail_to="lab@example.org, on-call@example.org",
        mail_from="virnucpro@example.org",
        smtp_host="127.0.0.1",
        smtp_port=mailbox.port,
        smtp_security="none",
    )
    hostile = RANK.model_copy(update={"reason": "found\r\nBcc: someone@example.org ütf"})

    send([alert(hostile, WHOLE)], chosen, print, now=NOW)

    (message,) = mailbox.messages
    assert mailbox.recipients == [["lab@example.org", "on-call@example.org"]]
    assert message["Subject"] == "VirNucPro: 2 drops failed, drop d1, rank 2 first"
    assert message["From"] == "virnucpro@example.org"
    assert message["Bcc"] is None
    text = message.get_content()
    assert "ütf" in text
    assert "to repair: virnucpro retry d1" in text
    assert "http://ui.example/runs/run-1" in text


def test_a_login_goes_over_a_protected_way_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secret = f"mail-{uuid4()}"
    common = {
        "mail_to": "lab@example.org",
        "smtp_host": "localhost",
        "smtp_user": "me",
        "smtp_password": secret,
    }
    with running_mail_server(certificate) as box:
        box.password = secret
        send([alert()], settings(tmp_path, smtp_port=box.port, **common), print, now=NOW)
        assert (box.logins, box.encrypted) == ([("me", secret)], [True])

        box.password = f"another-{uuid4()}"
        with pytest.raises(TargetError) as raised:
            send([alert(WHOLE)], settings(tmp_path, smtp_port=box.port, **common), print, now=NOW)
        assert "e-mail: SMTPAuthenticationError" in str(raised.value)
        assert secret not in str(raised.value)
    with running_mail_server() as plain:
        with pytest.raises(TargetError, match="e-mail: SMTPNotSupportedError"):
            send([alert(WHOLE)], settings(tmp_path, smtp_port=plain.port, **common), print, now=NOW)
        assert not plain.logins


def test_a_target_that_was_away_gets_the_alert_later_and_the_others_get_it_once(
    tmp_path: Path, webhook: Webhook, mailbox: Mailbox
) -> None:
    logged: list[str] = []
    chosen = settings(
        tmp_path,
        log=True,
        webhook=webhook.url,
        mail_to="lab@example.org",
        smtp_host="127.0.0.1",
        smtp_port=mailbox.port,
        smtp_security="none",
    )
    webhook.answers = [503, 503]

    for minutes, alerts in ((0, [alert(RANK), alert(WHOLE)]), (1, [])):
        with pytest.raises(TargetError, match=r"cannot be sent .webhook: answered 503"):
            send(alerts, chosen, logged.append, now=NOW + timedelta(minutes=minutes))
    assert [body["failures"][0]["drop"] for body in webhook.bodies] == ["d1", "d1"], "one try for each call"
    webhook.bodies.clear()
    for minutes in (2, 3):
        assert not send([alert(RANK)], chosen, logged.append, now=NOW + timedelta(minutes=minutes))

    assert [body["failures"][0]["drop"] for body in webhook.bodies] == ["d1", "d2"]
    assert logged == [alert(RANK).text, alert(WHOLE).text]
    assert len(mailbox.messages) == 2


def test_what_no_target_takes_for_a_week_or_whose_target_is_gone_is_given_up(
    tmp_path: Path, webhook: Webhook
) -> None:
    webhook.answers = [503]
    chosen = settings(tmp_path, webhook=webhook.url)
    with pytest.raises(TargetError):
        send([alert(RANK)], chosen, print, now=NOW)

    assert not send([], chosen, print, now=NOW + timedelta(days=8))
    assert len(webhook.bodies) == 1

    webhook.answers = [503]
    with pytest.raises(TargetError):
        send([alert(RANK)], chosen, print, now=NOW + timedelta(days=9))
    logged: list[str] = []
    send([], settings(tmp_path, log=True), logged.append, now=NOW + timedelta(days=9))
    assert (len(webhook.bodies), logged) == (2, [])


def test_an_outbox_that_cannot_be_read_keeps_no_alert_back(tmp_path: Path, webhook: Webhook) -> None:
    (tmp_path / "alerts.toml").write_text("told = []\n")
    assert send([alert(RANK)], settings(tmp_path, webhook=webhook.url), print, now=NOW)
    assert len(webhook.bodies) == 1


def test_a_state_that_lasts_is_sent_once_and_again_when_it_comes_back(
    tmp_path: Path, webhook: Webhook
) -> None:
    chosen = settings(tmp_path, webhook=webhook.url, repeat_hours=24)
    lasts = alert(WHOLE, kind="overdue")

    sent = [send([lasts], chosen, print, now=NOW + timedelta(hours=hours)) for hours in range(0, 96, 3)]
    again = send([lasts], chosen, print, now=NOW + timedelta(hours=96 + 25))

    assert [bool(one) for one in sent] == [True] + [False] * 31
    assert again == [lasts]


def test_warnings_go_by_e_mail_only_if_the_settings_say_so(
    tmp_path: Path, webhook: Webhook, mailbox: Mailbox
) -> None:
    mail = {
        "webhook": webhook.url,
        "mail_to": "lab@example.org",
        "smtp_host": "127.0.0.1",
        "smtp_port": mailbox.port,
        "smtp_security": "none",
    }
    send([alert(RANK, kind="check warned")], settings(tmp_path, **mail), print, now=NOW)
    assert (len(webhook.bodies), len(mailbox.messages)) == (1, 0)

    send([alert(WHOLE, kind="check warned")], settings(tmp_path, **mail, mail_warnings=True), print, now=NOW)
    assert (len(webhook.bodies), len(mailbox.messages)) == (2, 1)
    assert mailbox.messages[0]["Subject"] == "VirNucPro: drop d2 has a warning of a check"


@pytest.mark.parametrize(
    ("kind", "failures", "title"),
    [
        ("run failed", [AlertEntry(drop="", reason="r", command="c")], "a run of embed_drop failed"),
        ("run failed", [RANK], "drop d1, rank 2 failed"),
        (
            "check failed",
            [RANK.model_copy(update={"ranks": [1, 2]})],
            "drop d1, ranks 1, 2 did not pass a check",
        ),
        ("check warned", [WHOLE, RANK], "2 drops have warnings of checks, drop d2 first"),
        ("delivery refused", [WHOLE], "delivery d2 was refused"),
        ("delivery refused", [WHOLE, RANK], "2 deliveries were refused, delivery d2 first"),
        ("overdue", [WHOLE], "drop d2 is overdue"),
        ("finished", [WHOLE], "drop d2 is finished"),
    ],
)
def test_a_title_says_what_failed(kind: Any, failures: list[AlertEntry], title: str) -> None:
    found = alert(*failures, kind=kind)
    assert found.title == f"VirNucPro: {title}"
    assert "no drop" not in found.text


def test_a_run_of_assets_that_were_chosen_by_hand_has_no_name_of_dagsters_own() -> None:
    chosen = alert(AlertEntry(drop="", reason="r", command="c")).model_copy(update={"job": "__ASSET_JOB"})
    assert chosen.title == "VirNucPro: a run failed"
    assert chosen.text.splitlines()[1] == "run run-1"
    assert "__" not in chosen.text


def test_of_a_finished_drop_there_is_something_to_look_at_and_nothing_to_repair() -> None:
    text = alert(WHOLE.model_copy(update={"command": "virnucpro report d2"}), kind="finished").text
    assert text.splitlines()[-1] == "to look: virnucpro report d2"


def test_many_drops_are_one_message_of_bounded_length(tmp_path: Path, webhook: Webhook) -> None:
    many = [WHOLE.model_copy(update={"drop": f"d{n}"}) for n in range(100)]

    send([alert(*many)], settings(tmp_path, webhook=webhook.url), print, now=NOW)

    (body,) = webhook.bodies
    assert len(body["failures"]) == 100
    assert body["text"].count("to repair") == 20
    assert "and 80 more" in body["text"]

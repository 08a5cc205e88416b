"""The ways out of the house for a message: a webhook and e-mail.

Each tries several times within its time, and raises one error that says what kind of trouble it was
and never where the message was to go: addresses may hold tokens.
"""

import http.client
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from pydantic import SecretStr

from virnucpro_assets import __version__
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.settings_groups import AlertSettings

FIRST_PAUSE = 0.5
TOO_MANY, SERVER_ERRORS = 429, 500


class TargetError(VirnucproError):
    """A target did not take a message."""


class _TransientError(Exception):
    """Trouble that the next attempt may not have."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is sent may hold a secret header, which no other server is to see."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(content: bytes, settings: AlertSettings) -> None:
    """Send JSON to the webhook; TargetError if it was not taken."""
    headers = {"Content-Type": "application/json", "User-Agent": f"virnucpro-assets/{__version__}"}
    if settings.webhook_header:
        name, _, value = _plain(settings.webhook_header).partition(": ")
        headers[name] = value
    opener = urllib.request.build_opener(_NoRedirects)

    def attempt(seconds: float) -> None:
        try:
            # The settings take http and https only.
            request = urllib.request.Request(_plain(settings.webhook), content, headers)  # noqa: S310
            with opener.open(request, timeout=seconds):
                pass
        except urllib.error.HTTPError as error:
            with error:
                what = f"webhook: answered {error.code}"
            if error.code == TOO_MANY or error.code >= SERVER_ERRORS:
                raise _TransientError(what) from None
            raise TargetError(what) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _TransientError(f"webhook: {_trouble(error)}") from None

    _in_time(attempt, settings)


def send_mail(subject: str, text: str, settings: AlertSettings) -> None:
    """Send an e-mail to all addresses of the settings; TargetError if it was not taken."""
    addresses = [address.strip() for address in settings.mail_to.split(",") if address.strip()]
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    message["From"] = settings.mail_from or addresses[0]
    message["To"] = ", ".join(addresses)
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="virnucpro.invalid")
    message.set_content(text)

    def attempt(seconds: float) -> None:
        try:
            with _connection(settings, seconds) as server:
                if settings.smtp_user:
                    server.login(settings.smtp_user, _plain(settings.smtp_password))
                server.send_message(message)
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPRecipientsRefused) as error:
            raise TargetError(f"e-mail: {type(error).__name__}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise _TransientError(f"e-mail: {_trouble(error)}") from None

    _in_time(attempt, settings)


def _connection(settings: AlertSettings, seconds: float) -> smtplib.SMTP:
    if settings.smtp_security == "ssl":
        return smtplib.SMTP_SSL(
            settings.smtp_host, settings.smtp_port, timeout=seconds, context=ssl.create_default_context()
        )
    server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=seconds)
    if settings.smtp_security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except (OSError, smtplib.SMTPException):
            server.close()
            raise
    return server


def _in_time(attempt: Callable[[float], None], settings: AlertSettings) -> None:
    """Try until it works, the attempts or the time are used up."""
    end, pause = time.monotonic() + settings.timeout_seconds, FIRST_PAUSE
    for left in reversed(range(settings.attempts)):
        try:
            return attempt(max(0.1, end - time.monotonic()))
        except _TransientError as error:
            if not left or time.monotonic() + pause >= end:
                raise TargetError(f"{error} ({settings.attempts - left} attempts)") from None
            time.sleep(pause)
            pause *= 2
    return None


def _trouble(error: Exception) -> str:
    """What kind of error it was; its own words may quote an address."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, OSError) and reason.errno and reason.strerror:
        return f"{type(reason).__name__}, {reason.strerror}"
    return type(reason).__name__


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""

"""What a scan of the drops folder leaves for the next one: small, and written as JSON.

Of a delivery that is known and unchanged nothing is kept but eight bytes, a hash of its key
and of its files' names, sizes and times. One that settles has an entry; at most PENDING of
them are watched at a time, the others wait for their turn.
"""

import base64
import hashlib

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virnucpro_assets.files.content_passes import ContentPass
from virnucpro_assets.intake.drops_folder import Found

PENDING = 256
_TOKEN_LETTERS = 11


class Pending(BaseModel):
    """A delivery that settles: what was seen of it, since when, and its content once or twice.

    `first` is the digest of the first pass through its content, which ended at `at`; `twice`
    says that a second pass, a settle time later, found the same. `reading` is a pass that has
    not come to its end. Times are those that the scans were given, in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    seen: str = Field(alias="s")
    since: float = Field(alias="t")
    first: str | None = Field(None, alias="d")
    at: float | None = Field(None, alias="a")
    twice: bool = Field(False, alias="ok")
    reading: ContentPass | None = Field(None, alias="r")


class Observations(BaseModel):
    """What the former scan saw: the deliveries that settle, by key or sheet, and tokens of the known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pending: dict[str, Pending] = {}
    known: str = ""

    @classmethod
    def from_cursor(cls, text: str | None) -> "Observations":
        """What was written down; nothing if that is missing or of another kind, so all settles anew."""
        try:
            return cls.model_validate_json(text) if text else cls()
        except ValidationError:
            return cls()

    def to_cursor(self) -> str:
        """One line of JSON for `from_cursor`."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    def tokens(self) -> set[str]:
        """The tokens of the known deliveries."""
        starts = range(0, len(self.known), _TOKEN_LETTERS)
        return {self.known[start : start + _TOKEN_LETTERS] for start in starts}


def fingerprint(found: Found) -> str:
    """A hash of a delivery's files: paths, mates, sizes and times, so that any change is seen."""
    lines = (
        f"{file.path}\0{file.mate}\0{seen.size}\0{seen.modified}\0{seen.changed}\n"
        for file, seen in zip(found.files, found.stats, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def token_of(name: str, seen: str) -> str:
    """Eight bytes, as eleven letters, for a known delivery with this fingerprint."""
    digest = hashlib.sha256(f"{name}\0{seen}".encode()).digest()[:8]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")

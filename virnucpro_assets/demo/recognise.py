"""Which models are the demo's, wherever they lie. No torch here.

The demo's encoders have random weights and its classifiers are trained on them: they show how the
platform works and say nothing about anybody's reads. So whoever uses one says so.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.folders import WEIGHTS_FILE

NOTE = "demo model"


class Say(Protocol):
    """Whoever hears of it."""

    def __call__(self, line: str, /) -> object:
        """Take a line."""


def is_demo_model(folder: Path) -> bool:
    """Whether the weights in `folder` are those of a demo model; False if there are none."""
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        return False
    digest = _demo_digests().get(weights.stat().st_size)
    return digest is not None and sha256_of_file(weights) in digest


def demo_models(folders: Mapping[str, Path]) -> list[str]:
    """The names of those folders that hold a demo model."""
    return [name for name, folder in folders.items() if is_demo_model(folder)]


def demo_line(folders: Mapping[str, Path]) -> str:
    """One line that says which of the models are the demo's; empty if none is."""
    found = demo_models(folders)
    if not found:
        return ""
    return (
        f"{NOTE} in use ({', '.join(found)}): results show how the platform works and say nothing about these reads; "
        "docs/models.md says how to install real models"
    )


@contextmanager
def saying_demo_models(folders: Mapping[str, Path], say: Say) -> Iterator[None]:
    """Say before the block, and after it if it succeeds, which of the models are the demo's, if any is.

    After an error the error is the last line.
    """
    line = demo_line(folders)
    if line:
        say(line)
    yield
    if line:
        say(line)


@cache
def _demo_digests() -> dict[int, set[str]]:
    """SHA-256 of the weights of all demo models by their size."""
    found: dict[int, set[str]] = {}
    for weights in MODELS_FOLDER.glob(f"*/{WEIGHTS_FILE}"):
        found.setdefault(weights.stat().st_size, set()).add(sha256_of_file(weights))
    return found

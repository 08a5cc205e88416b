"""Digests that stop after a block and go on later."""

import time
from pathlib import Path

import pytest

from virnucpro_assets.files.content_passes import ContentPass, go_on

LATER, NOW = float("inf"), 0.0


def digest(files: list[tuple[str, Path]], block: int = 8) -> str:
    """The digest of a pass without a stop."""
    _, content = go_on(files, ContentPass(), LATER, block)
    assert content is not None
    return content


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, Path]]:
    for name, size in (("a", 20), ("b", 16), ("c", 0)):
        (tmp_path / name).write_bytes(bytes(range(size)))
    return [(name, tmp_path / name) for name in "abc"]


def test_a_pass_in_many_steps_ends_like_one_in_one(files: list[tuple[str, Path]]) -> None:
    stops, progress, content = [], ContentPass(), None
    while content is None:
        written = progress.model_dump_json()
        progress, content = go_on(files, ContentPass.model_validate_json(written), time.monotonic() - 1, 8)
        stops.append((progress.file, progress.block))
    assert stops == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0)]
    assert content == digest(files)
    assert len(content) == 32


def test_every_byte_name_order_and_end_of_a_file_counts(
    files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    before = digest(files)
    (a, pa), (b, pb), c = files
    others = [
        digest([("x", pa), (b, pb), c]),
        digest([(b, pb), (a, pa), c]),
        digest([(a, pa), (b, pb)]),
    ]
    for place in (0, 8, 19):
        changed = bytearray(range(20))
        changed[place] ^= 1
        pa.write_bytes(changed)
        others.append(digest(files))
    pa.write_bytes(bytes(range(19)))
    others.append(digest(files))
    pa.write_bytes(bytes(range(20)))
    assert len({before, *others}) == 1 + len(others)
    assert digest(files) == before


def test_nothing_has_a_digest_too() -> None:
    assert digest([]) == digest([])

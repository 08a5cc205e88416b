from pathlib import Path

import pytest
from pydantic import BaseModel

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.digests import FileRecord, check_file, record_of_file
from virnucpro_assets.files.manifests import read_manifest, write_manifest


class Card(BaseModel):
    name: str
    note: str | None = None
    files: dict[str, FileRecord] = {}


def test_a_manifest_reads_back_equal_also_with_odd_letters(tmp_path: Path) -> None:
    card = Card(name='quote " tab \t é', files={"a.b": FileRecord(size=3, sha256="ab")})
    write_manifest(tmp_path / "card.toml", card)
    assert read_manifest(tmp_path / "card.toml", Card) == card


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"name = [", "found"),
        (b"name = 3", "1 validation error"),
        (b"\xff\xfe", "codec"),
        (None, "found no file"),
    ],
)
def test_a_damaged_manifest_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    path = tmp_path / "card.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{path}.*{found}"):
        read_manifest(path, Card)


def test_a_changed_file_is_told_by_size_and_by_digest(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"abc")
    record = record_of_file(path)
    assert record == FileRecord(
        size=3, sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    check_file(path, record, content=True)
    path.write_bytes(b"abd")
    check_file(path, record, content=False)
    with pytest.raises(IntegrityError, match="SHA-256"):
        check_file(path, record, content=True)
    path.write_bytes(b"abcd")
    with pytest.raises(IntegrityError, match="found 4 bytes; expected 3"):
        check_file(path, record, content=False)
    path.unlink()
    with pytest.raises(IntegrityError, match="found no file"):
        check_file(path, record, content=False)

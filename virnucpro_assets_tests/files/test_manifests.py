import hashlib
import tomllib
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from virnucpro_assets.errors import DamagedFileError, IntegrityError
from virnucpro_assets.files.digests import FileRecord, check_file, digest_of_files, record_of_file
from virnucpro_assets.files.manifests import read_manifest, write_manifest


class Card(BaseModel):
    name: str
    note: str | None = None
    files: dict[str, FileRecord] = {}


class Nothing(BaseModel):
    pass


records = st.builds(FileRecord, size=st.integers(0, 2**63 - 1), sha256=st.text())
cards = st.builds(
    Card, name=st.text(), note=st.none() | st.text(), files=st.dictionaries(st.text(), records, max_size=3)
)


@settings(max_examples=40)
@given(cards)
@example(Card(name='quote " tab \t é \r\n \x00'))
def test_a_manifest_reads_back_equal_whatever_its_letters(card: Card) -> None:
    with TemporaryDirectory() as folder:
        write_manifest(Path(folder, "card.toml"), card)
        assert read_manifest(Path(folder, "card.toml"), Card) == card


file_names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
named_digests = st.lists(st.tuples(file_names, st.sampled_from(["0" * 64, "1" * 64])))


@given(named_digests, named_digests, st.randoms(use_true_random=False))
def test_a_digest_of_files_is_that_of_their_names_and_digests_in_any_order(files, others, random) -> None:
    mixed = random.sample(files, len(files))
    assert digest_of_files(mixed) == digest_of_files(files)
    assert (digest_of_files(others) == digest_of_files(files)) is (sorted(others) == sorted(files))
    for place in range(len(files)):
        assert digest_of_files(files[:place] + files[place + 1 :]) != digest_of_files(files)


def test_a_manifest_is_plain_toml_with_its_digest_in_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    write_manifest(path, Card(name="x"))
    first, _, rest = path.read_bytes().partition(b"\n")
    assert first.decode() == f"# virnucpro manifest sha256={hashlib.sha256(rest).hexdigest()}"
    assert tomllib.loads(path.read_text()) == {"name": "x", "files": {}}


@pytest.mark.parametrize("record", [Card(name="x", files={"a": FileRecord(size=3, sha256="ab")}), Nothing()])
def test_every_flipped_bit_and_every_truncation_of_a_manifest_is_found(
    tmp_path: Path, record: BaseModel
) -> None:
    path = tmp_path / "card.toml"
    write_manifest(path, record)
    content = path.read_bytes()
    damaged = [content[:length] for length in range(len(content))]
    for place, bit in product(range(len(content)), range(8)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        damaged.append(bytes(flipped))
    assert len(damaged) == 9 * len(content)
    for other in damaged:
        path.write_bytes(other)
        with pytest.raises(DamagedFileError, match=f"{path}: found content that does not match"):
            read_manifest(path, type(record))


@pytest.mark.parametrize("content", [b"", b'name = "x"\n', b"# a comment\nname = 'x'\n", b"\xff\xfe"])
def test_a_manifest_without_its_digest_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.toml"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"expected a Card as it was written\. Move the file away"):
        read_manifest(path, Card)


def test_a_whole_manifest_of_something_else_is_refused_but_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    write_manifest(path, FileRecord(size=3, sha256="ab"))
    with pytest.raises(IntegrityError, match=f"{path}: found 'Field required' at name, so another") as error:
        read_manifest(path, Card)
    assert not isinstance(error.value, DamagedFileError)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=f"{tmp_path / 'card.toml'}: found no file; expected a Card"):
        read_manifest(tmp_path / "card.toml", Card)


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

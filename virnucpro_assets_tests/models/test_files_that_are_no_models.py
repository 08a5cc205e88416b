"""What failed downloads and mistaken paths leave in the place of a model: one line, and never PyTorch's advice."""

import argparse
import gzip
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from virnucpro_assets.cli import app
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.models.classifier_imports import read_legacy_classifier
from virnucpro_assets.models.folders import read_config
from virnucpro_assets.models.tensor_files import read_safetensors, read_torch_file

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
PAGE = b"\n<!DOCTYPE html><html>Sign in</html>"


class RunsACommand:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("exit 1",)


def saved(content: Any, *, archive: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=archive)
    return stream.getvalue()


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return stream.getvalue()


TENSORS = {"model": {"a": torch.zeros(10), "b": torch.ones(2, 3)}}
ARCHIVE, OLD = saved(TENSORS), saved(TENSORS, archive=False)

FETCH = "expected what torch.save writes. Fetch the model again."
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file; expected a file of the model. Fetch it again."),
    "lfs": (LFS, "a Git LFS pointer; expected a file of the model. Fetch it again with `git lfs pull`."),
    "page": (
        PAGE,
        "a web page, which a server sent in its place; expected a file of the model. Fetch it again.",
    ),
    "error": (b'{"error":"gated"}', "the error of a server; expected a file of the model. Fetch it again."),
    "text": (b"hello\n", f"other content (bytes 68 65 6c 6c …); {FETCH}"),
    "one byte": (b"\x80", f"other content (bytes 80 …); {FETCH}"),
    "zeros": (bytes(5000), f"other content (bytes 00 00 00 00 …); {FETCH}"),
    "gzip": (gzip.compress(ARCHIVE, mtime=0), f"other content (bytes 1f 8b 08 00 …); {FETCH}"),
    "pickle": (pickle.dumps({"a": 1}, 4), f"other content (bytes 80 04 95 0a …); {FETCH}"),
    "harmful pickle": (pickle.dumps(RunsACommand(), 2), f"other content (bytes 80 02 63 70 …); {FETCH}"),
    "cut": (ARCHIVE[: len(ARCHIVE) // 2], f"a zip archive without its end, which was cut; {FETCH}"),
    "cut at its end": (ARCHIVE[:-10], f"a zip archive without its end, which was cut; {FETCH}"),
    "another zip": (
        zipped("a.txt"),
        "a zip archive without data.pkl; expected what torch.save writes. Use the file as published.",
    ),
    "zip without files": (
        zipped(),
        "a zip archive without data.pkl; expected what torch.save writes. Use the file as published.",
    ),
    "harmful": (
        saved(RunsACommand()),
        "posix.system; expected tensors only. Nothing of it was run. Do not trust this file.",
    ),
    "harmful and old": (
        saved(RunsACommand(), archive=False),
        "a pickle of other things, or a damaged one; expected tensors only. Nothing of it was run. "
        "Do not trust this file.",
    ),
    "old and cut": (OLD[:30], f"a damaged file (unpack requires a buffer of 4 bytes); {FETCH}"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_torch_did_not_save_is_named_as_what_it_is(case: str, tmp_path: Path) -> None:
    content, found = FILES[case]
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(IntegrityError) as error:
        read_torch_file(path)
    assert str(error.value) == f"{path}: found {found}"


@pytest.mark.parametrize("case", ["empty", "lfs", "page", "error"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("model.pth", read_legacy_classifier),
        ("model.safetensors", read_safetensors),
        ("config.json", lambda path: read_config(path.parent)),
    ],
)
def test_every_reader_of_models_knows_a_failed_download(
    case: str, name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    content, found = FILES[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(IntegrityError) as error:
        read(path)
    assert str(error.value) == f"{path}: found {found}"


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("options", [["model.pt"], ["model.pt", "--chunk-length", "300"]])
def test_an_import_ends_with_one_line(
    case: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(FILES[case][0])
    ended = CliRunner().invoke(app, ["models", "import", *options])
    assert (ended.exit_code, ended.stdout) == (3, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: model.pt: found ")
    assert "weights_only" not in line


def test_archives_with_flipped_bits_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    path, chance, refused = tmp_path / "model.pt", random.Random(5), 0
    for _ in range(300):
        for whole in (ARCHIVE, OLD):
            content = bytearray(whole)
            for _ in range(chance.choice((1, 1, 2, 5))):
                content[chance.randrange(min(len(content), 1500))] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
            for read in (
                lambda: read_torch_file(path, admitted=[argparse.Namespace]),
                lambda: read_legacy_classifier(path),
            ):
                try:
                    read()
                except IntegrityError as error:
                    refused += 1
                    assert str(error).startswith(f"{path}: found ")
                    assert "weights_only" not in str(error)
                    assert "\n" not in str(error)
    assert refused > 600

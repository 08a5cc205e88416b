"""Messages are one line, with little of what a file held: whatever is in a file, people can read what is wrong."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file

from virnucpro_assets.errors import FILE_TEXT, VirnucproError, excerpt
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.inference.gpu_list import read_answer
from virnucpro_assets.intake.sample_sheet import read_sample_sheet
from virnucpro_assets.models.hugging_face import model_type, read_tensors_of_folder
from virnucpro_assets.models.tensor_files import read_torch_state
from virnucpro_assets.models.tokenisers import DnaTokenizer
from virnucpro_assets.models.weights import read_weights
from virnucpro_assets.sequences.prepare import prepare
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import load_settings
from virnucpro_assets.training.labels import read_labels

LONG = "Q" * 5000


class _Record(BaseModel):
    count: int = 0


def _reads(text: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        path.write_text(text)
        return prepare([ReadFile(path)], path.parent / "out", chunk_length=300, duplicates="refuse")

    return read


def _of(text: str, read: Callable[[Path], object], name: str = "") -> Callable[[Path], object]:
    def write_and_read(path: Path) -> object:
        path = path.with_name(name) if name else path
        path.write_text(text)
        return read(path)

    return write_and_read


def _settings(path: Path) -> object:
    path.with_name("virnucpro.toml").write_text(f'ranks = "{LONG}"\n')
    return load_settings()


def _unknown_setting(path: Path) -> object:
    path.with_name("virnucpro.toml").write_text(f"{LONG} = 1\n")
    return load_settings()


def _manifest(path: Path) -> object:
    class Other(BaseModel, extra="allow"):
        pass

    write_manifest(path, Other(**{LONG: 1, "count": LONG}))

    class Strict(_Record, extra="forbid"):
        pass

    return read_manifest(path, Strict)


def _shards(path: Path) -> object:
    content = {"weight_map": {"a": f"../{LONG}"}}
    path.with_name("model.safetensors.index.json").write_text(json.dumps(content))
    return read_tensors_of_folder(path.parent)


def _torch_pickle(path: Path) -> object:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "archive/data.pkl", pickle.dumps(Path("x"), protocol=2).replace(b"pathlib", LONG.encode())
        )
    return read_torch_state(path)


def _compressed(path: Path) -> object:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(LONG, b"aaaaaaaaaaaaaa")
    return read_torch_state(path)


def _tensors(path: Path) -> object:
    save_file({LONG: torch.zeros(1)}, path)
    return read_weights(path, {"a": (1,)}, dtype=torch.float32, device="cpu")


def _wrong_sample(path: Path) -> None:
    """What is wrong with the last sample of a sheet."""
    if error := read_sample_sheet(path)[-1].error:
        raise error


FILES: dict[str, Callable[[Path], Any]] = {
    "letters of a read with a long name": _reads(f">{LONG}\nAC!GT\n"),
    "control characters in a name": _reads(f">{LONG}\x01\nACGT\n"),
    "a long name again": _reads(f">{LONG}\nACGT\n>{LONG}\nACGT\n"),
    "no reads": _reads(LONG),
    "FASTQ without a plus": _reads(f"@a\nACGT\n{LONG}\nIIII\n"),
    "FASTQ with a second record that is none": _reads(f"@a\nACGT\n+\nIIII\n{LONG}\nACGT\n+\nIIII\n"),
    "wrapped FASTQ": _reads(f"@a\nACGT\nACGT\n+\nIIII\nIIII\n{LONG}\n"),
    "the header of labels": _of(LONG, read_labels),
    "a label": _of(f"drop\tlabel\na\t{LONG}\n", read_labels),
    "the drop of a label": _of(f"drop\tlabel\n{LONG}\tvirus\n", read_labels),
    "a sample sheet": _of(f"sample,fastq_1\n{LONG},a://{LONG}\n", _wrong_sample),
    "a file of a sample sheet": _of(f"sample,fastq_1\nx,{LONG}\ny,{LONG}\n", _wrong_sample),
    "a quote of a sample sheet": _of(f'sample,fastq_1\nx,"{LONG}"Q\n', read_sample_sheet),
    "a setting": _settings,
    "an unknown setting": _unknown_setting,
    "a manifest": _manifest,
    "the type of a model": _of(
        json.dumps({"model_type": [LONG]}), lambda path: model_type(path.parent), "config.json"
    ),
    "a tokenizer": _of(json.dumps({LONG: LONG}), lambda path: DnaTokenizer(path, vocabulary=10)),
    "a list of shards": _shards,
    "names in a pickle": _torch_pickle,
    "a compressed entry": _compressed,
    "names of tensors": _tensors,
}


@pytest.mark.parametrize("what", FILES)
def test_a_message_has_little_of_what_a_file_held(what: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VirnucproError) as error:
        FILES[what](tmp_path / "file")
    message = str(error.value)
    assert message.count("Q") <= FILE_TEXT == 300
    assert message.isprintable()
    assert "expected" in message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is", "as it is"),
        ("two\n lines\t here ", "two lines here"),
        ("\x00\x1b[31m\udc80é", "\\x00\\x1b[31m\\udc80é"),
        ("", ""),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 299 + "…"),
        ("\x00" * 200, "\\x00" * 74 + "\\x0…"),
        (ValueError("of an error"), "of an error"),
    ],
)
def test_an_excerpt_is_one_line_of_printable_letters(text: object, shown: str) -> None:
    assert excerpt(text) == shown
    assert len(excerpt(text)) <= FILE_TEXT


def test_what_a_process_said_last_is_cut_too() -> None:
    answer = read_answer(1, b"", f"some lines\n{LONG}\n".encode())
    assert answer.reason == f"the process that asked CUDA ended with 1 ({'Q' * 299}…)"

"""The DNA tokeniser against the `tokenizers` library called one sequence at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.models.tokenisers import DnaTokenizer
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets_tests.models.published_files import change_json

SEQUENCES = [b"ACGTACGTTTGA", b"A", b"ACGNNNNGTRYACGT", b"acgt", b"TTAGACATTAGGACCCATTAGACCATAG" * 10]


@pytest.fixture
def file(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def changed(file: Path, **fields: object) -> Path:
    """Write the tokenizer.json again with other values in some fields."""
    change_json(file, **fields)
    return file


def tokenised(file: Path, sequences: list[bytes]) -> list[list[int]]:
    tokens = DnaTokenizer(file, vocabulary=64)(Ragged.from_strings(sequences))
    assert (tokens.data.dtype, tokens.offsets.dtype) == (np.int32, np.int64)
    return [part.tolist() for part in np.split(tokens.data, tokens.offsets[1:-1])]


def test_a_batch_gets_the_ids_that_transformers_gives(file: Path) -> None:
    reference = PreTrainedTokenizerFast(tokenizer_file=str(file))
    assert tokenised(file, SEQUENCES) == [reference(text.decode())["input_ids"] for text in SEQUENCES]


def test_every_sequence_stands_between_cls_and_sep(file: Path) -> None:
    assert all(ids[0] == 1 and ids[-1] == 2 and len(ids) > 2 for ids in tokenised(file, SEQUENCES))


def test_more_sequences_than_live_at_once_are_tokenised_alike(file: Path) -> None:
    many = [SEQUENCES[number % 5] for number in range(9001)]
    few = tokenised(file, SEQUENCES)
    assert tokenised(file, many) == [few[number % 5] for number in range(9001)]


def test_no_sequences_give_no_tokens(file: Path) -> None:
    tokens = DnaTokenizer(file, vocabulary=64)(Ragged.from_strings([]))
    assert (len(tokens), len(tokens.data)) == (0, 0)


def test_a_file_without_a_post_processor_gets_the_special_tokens(file: Path) -> None:
    expected = tokenised(file, SEQUENCES)
    assert tokenised(changed(file, post_processor=None), SEQUENCES) == expected


def test_truncation_and_padding_in_the_file_are_switched_off(file: Path) -> None:
    expected = tokenised(file, SEQUENCES)
    truncation = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 3,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    assert tokenised(changed(file, truncation=truncation, padding=padding), SEQUENCES) == expected


def test_a_post_processor_that_adds_other_tokens_is_refused(file: Path) -> None:
    mask = {"SpecialToken": {"id": "[MASK]", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [mask, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"[MASK]": {"id": "[MASK]", "ids": [4], "tokens": ["[MASK]"]}},
    }
    with pytest.raises(IntegrityError, match=r"adds the tokens \[4\] to a sequence; expected .* \[1, 2\]"):
        DnaTokenizer(changed(file, post_processor=template), vocabulary=64)


def test_a_tokeniser_with_more_ids_than_the_model_is_refused(file: Path) -> None:
    largest = max(json.loads(file.read_text())["model"]["vocab"].values())
    DnaTokenizer(file, vocabulary=largest + 1)
    with pytest.raises(
        IntegrityError, match=f"found token ids up to {largest}; expected ids below {largest}"
    ):
        DnaTokenizer(file, vocabulary=largest)


def test_a_damaged_file_is_named(file: Path) -> None:
    file.write_text("{}")
    with pytest.raises(IntegrityError, match=r"tokenizer\.json: found .*; expected a tokenizer\.json"):
        DnaTokenizer(file, vocabulary=64)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"nowhere\.json: found no file"):
        DnaTokenizer(tmp_path / "nowhere.json", vocabulary=64)

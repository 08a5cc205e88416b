"""What the embeddings of a drop are computed from."""

import pytest

from virnucpro_assets.drops.recipes import token_budget
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import EncoderKind


@pytest.mark.parametrize(
    ("devices", "kind", "expected"),
    [
        ("cuda:0", "esm2", 32768),
        ("cuda:0", "dnabert_s", 65536),
        ("cpu:2", "esm2", 8192),
        ("cpu:2", "dnabert_s", 8192),
    ],
)
def test_a_pack_has_as_many_tokens_as_the_devices_of_an_encoder_want(
    devices: str, kind: EncoderKind, expected: int
) -> None:
    assert token_budget(Settings(devices=devices), kind) == expected
    assert token_budget(Settings(devices=devices, token_budget=4096), kind) == 4096


@pytest.mark.parametrize("budget", ["measured", 1023, 0])
def test_a_budget_that_is_none_is_refused(budget: object) -> None:
    with pytest.raises(ValueError, match="token_budget"):
        Settings(token_budget=budget)

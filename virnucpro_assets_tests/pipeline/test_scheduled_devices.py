"""The devices of a deployment under a scheduler that leaves some GPUs to a process."""

from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.pipeline.embed import open_pool
from virnucpro_assets.settings import load_settings


@pytest.mark.parametrize(("variable", "expected"), [(None, None), ("", ""), ("0,3", "0,3")])
def test_the_variable_of_the_scheduler_is_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, expected: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert load_settings().visible_gpus == expected


def test_a_process_without_gpus_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("VIRNUCPRO_DEVICES", "auto")
    assert {device.kind for device in open_pool(load_settings()).devices} == {"cpu"}
    monkeypatch.setenv("VIRNUCPRO_DEVICES", "cuda")
    with pytest.raises(InputError, match=r"found the GPUs \[\] \(CUDA_VISIBLE_DEVICES is ''\)"):
        open_pool(load_settings())

"""Weights files: the bytes of the library's own writer, and reading without a second copy."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.models import file_reading
from virnucpro_assets.models.weights import read_weights, write_weights


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "layers.10.weight": torch.randn(3, 5, generator=generator),
        "layers.2.weight": torch.randn(7, generator=generator).half(),
        "half": torch.randn(2, 3, generator=generator).bfloat16(),
        "batches": torch.tensor(41),
        "turned": torch.randn(4, 6, generator=generator).T,
        "a": torch.randn(1, generator=generator),
    }


def test_the_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    path, state = tmp_path / "model.safetensors", tensors()
    write_weights(path, state)
    assert path.read_bytes() == save({name: tensor.contiguous() for name, tensor in state.items()})
    read = load_file(path)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_others_may_read_a_weights_file_as_the_mask_of_the_process_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_weights(tmp_path / "model.safetensors", tensors())
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_optional_tensors_stay_float32_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shapes, optional = {"weight": (2, 2)}, {"frequencies": (3,)}
    write_weights(path, {"weight": torch.ones(2, 2)})
    state = read_weights(path, shapes, optional=optional, dtype=torch.bfloat16, device="cpu")
    assert {name: tensor.dtype for name, tensor in state.items()} == {"weight": torch.bfloat16}
    write_weights(path, {"weight": torch.ones(2, 2), "frequencies": torch.tensor([1.0, 0.1, 0.01]).half()})
    state = read_weights(path, shapes, optional=optional, dtype=torch.bfloat16, device="cpu")
    assert state["frequencies"].dtype == torch.float32
    assert torch.equal(state["frequencies"], torch.tensor([1.0, 0.1, 0.01]).half().float())


def test_an_optional_tensor_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_weights(path, {"frequencies": torch.ones(4)})
    with pytest.raises(IntegrityError, match=r"frequencies of shape \[4\] where \[3\] was expected"):
        read_weights(path, {}, optional={"frequencies": (3,)}, dtype=torch.float32, device="cpu")


def test_reading_maps_nothing_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_weights(path, {"weight": torch.arange(1 << 20, dtype=torch.float32)})
    state = read_weights(path, {"weight": (1 << 20,)}, dtype=torch.float32, device="cpu")
    assert str(path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(state["weight"], torch.arange(1 << 20, dtype=torch.float32))


@pytest.mark.parametrize("ahead", [1, 64, 1 << 20])
def test_tensors_read_in_pieces_some_ahead_are_those_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr(file_reading, "PIECE", 7)
    monkeypatch.setattr(file_reading, "PREFETCHED", ahead)
    path = tmp_path / "model.safetensors"
    state = {name: tensor.contiguous() for name, tensor in tensors().items()} | {"none": torch.empty(0, 3)}
    save_file(state, path, metadata={"format": "pt"})
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    read = read_weights(path, {}, optional=shapes, dtype=torch.float32, device="cpu")
    assert read.keys() == state.keys()
    for name, tensor in load_file(path).items():
        expected = tensor.float() if tensor.is_floating_point() else tensor
        assert torch.equal(read[name], expected)
        assert read[name].dtype == expected.dtype


def test_a_file_that_shrinks_while_it_is_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    write_weights(path, {"weight": torch.ones(1000)})
    size = path.stat().st_size
    whole = file_reading.read_tensors

    def shrunk(*arguments: Any, **named: Any) -> Iterator[tuple[str, torch.Tensor]]:
        os.truncate(path, size - 100)
        return whole(*arguments, **named)

    monkeypatch.setattr("virnucpro_assets.models.weights.read_tensors", shrunk)
    with pytest.raises(
        IntegrityError, match=f"found the end of the file at byte {size - 100}; expected more"
    ):
        read_weights(path, {"weight": (1000,)}, dtype=torch.float32, device="cpu")


def test_numbers_of_a_kind_that_no_model_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.ones(3, dtype=torch.int8)}, path)
    with pytest.raises(IntegrityError, match="found weight of I8; expected one of F32, F16, BF16, I64"):
        read_weights(path, {"weight": (3,)}, dtype=torch.float32, device="cpu")

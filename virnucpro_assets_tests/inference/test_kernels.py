"""Which kernels are chosen, and what is refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.inference import encoder_choice
from virnucpro_assets.inference.devices import names_gpus
from virnucpro_assets.inference.encoder_choice import EncoderChoice, Kernels, Machine, choose_kernels
from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision


@dataclass(frozen=True)
class _Machine(Machine):
    """A machine whose packages are given instead of looked for."""

    has_flash: bool = False  # type: ignore[assignment]
    has_triton: bool = True  # type: ignore[assignment]


GPUS = _Machine(has_gpus=True)
PORTABLE = Kernels("dense-runs", fused=False)


@pytest.mark.parametrize("kind", ["esm2", "dnabert_s"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_processors_get_the_kernels_that_every_device_has(kind: EncoderKind, precision: Precision) -> None:
    assert choose_kernels(kind, precision, Machine(has_gpus=False)) == PORTABLE


@pytest.mark.parametrize(
    ("kind", "precision", "packages", "asked", "chosen"),
    [
        ("esm2", "float16", {}, {}, Kernels("varlen", fused=True)),
        ("esm2", "bfloat16", {}, {}, Kernels("varlen", fused=True)),
        ("dnabert_s", "float16", {}, {}, Kernels("dense-runs", fused=True)),
        ("esm2", "float32", {}, {}, PORTABLE),
        ("dnabert_s", "float32", {}, {}, PORTABLE),
        ("esm2", "float16", {"has_triton": False}, {}, Kernels("varlen", fused=False)),
        ("esm2", "float32", {}, {"fused": True}, Kernels("dense-runs", fused=True)),
        ("esm2", "float16", {}, {"fused": False}, Kernels("varlen", fused=False)),
        ("dnabert_s", "float16", {"has_flash": True}, {}, Kernels("flash", fused=True)),
        ("dnabert_s", "float32", {"has_flash": True}, {}, PORTABLE),
        ("esm2", "float16", {"has_flash": True}, {}, Kernels("varlen", fused=True)),
        (
            "dnabert_s",
            "float16",
            {"has_flash": True},
            {"attention": "dense-runs"},
            Kernels("dense-runs", fused=True),
        ),
    ],
)
def test_gpus_get_the_fastest_that_is_installed_in_half_precision_only(
    kind: EncoderKind,
    precision: Precision,
    packages: dict[str, bool],
    asked: dict[str, Any],
    chosen: Kernels,
) -> None:
    assert choose_kernels(kind, precision, _Machine(has_gpus=True, **packages), **asked) == chosen


@pytest.mark.parametrize("machine", [GPUS, Machine(has_gpus=False)])
@pytest.mark.parametrize("kind", ["esm2", "dnabert_s"])
def test_plain_attention_is_to_be_had_everywhere_and_is_never_fused(
    machine: Machine, kind: EncoderKind
) -> None:
    chosen = choose_kernels(kind, "float32", machine, "plain", fused=True)
    assert chosen == Kernels("plain", fused=False)


@pytest.mark.parametrize(
    ("kind", "precision", "machine", "attention"),
    [
        ("esm2", "bfloat16", GPUS, "plain"),
        ("dnabert_s", "float16", GPUS, "varlen"),
        ("esm2", "float32", GPUS, "varlen"),
        ("esm2", "float16", Machine(has_gpus=False), "varlen"),
        ("esm2", "float16", GPUS, "flash"),
    ],
)
def test_a_kernel_that_cannot_run_is_refused(
    kind: EncoderKind, precision: Precision, machine: Machine, attention: Attention
) -> None:
    with pytest.raises(InputError, match=f"setting attention.*{attention}.*found {kind} in {precision}"):
        choose_kernels(kind, precision, machine, attention)


@pytest.mark.parametrize(
    ("machine", "found"),
    [
        (Machine(has_gpus=False), "found processors"),
        (_Machine(has_gpus=True, has_triton=False), "found no Triton, or no C compiler"),
    ],
)
def test_kernels_of_our_own_are_refused_where_they_cannot_run(machine: Machine, found: str) -> None:
    with pytest.raises(InputError, match=f"setting fused_kernels.*{found}.*VIRNUCPRO_FUSED_KERNELS"):
        choose_kernels("esm2", "float16", machine, fused=True)


@pytest.mark.parametrize("missing", [None, "gpus", "triton", "compiler", "headers"])
def test_triton_counts_with_all_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str | None
) -> None:
    if missing != "headers":
        (tmp_path / "Python.h").touch()
    monkeypatch.setattr(encoder_choice, "find_spec", lambda name: None if missing == "triton" else name)
    monkeypatch.setattr("shutil.which", lambda name: None if missing == "compiler" else name)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert Machine(has_gpus=missing != "gpus").has_triton is (missing is None)


@pytest.mark.parametrize(("setting", "gpus"), [("cuda", True), ("cuda:0,3", True), ("cpu:2", False)])
def test_settings_that_name_their_devices_need_none_to_be_there(setting: str, gpus: bool) -> None:
    assert names_gpus(setting) is gpus


def test_another_precision_goes_back_to_the_kernels_that_every_precision_has(
    choice_on_a_gpu: EncoderChoice,
) -> None:
    exact = choice_on_a_gpu.in_precision("float32")
    assert (exact.precision, exact.attention, exact.fused) == ("float32", "dense-runs", False)
    assert choice_on_a_gpu.in_precision("float16") == choice_on_a_gpu


@pytest.fixture
def choice_on_a_gpu() -> EncoderChoice:
    """An encoder as it is chosen on a GPU."""
    return EncoderChoice.model_validate(
        {
            "kind": "esm2",
            "folder": "model",
            "digest": "0" * 64,
            "width": 8,
            "precision": "float16",
            "attention": "varlen",
            "fused": True,
        }
    )

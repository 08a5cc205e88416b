"""Which kernels are chosen, and what is refused."""

from dataclasses import dataclass

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.inference.devices import names_gpus
from virnucpro_assets.inference.kernels import Kernels, Machine, choose_kernels
from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision


@dataclass(frozen=True)
class _Machine(Machine):
    """A machine whose packages are given instead of looked for."""

    has_varlen: bool = True  # type: ignore[assignment]
    has_flash: bool = False  # type: ignore[assignment]
    has_compiler: bool = True  # type: ignore[assignment]


GPUS = _Machine(has_gpus=True)
PORTABLE = Kernels("dense-runs", fused=False)


def test_processors_get_the_kernels_that_every_device_has() -> None:
    machine = Machine(has_gpus=False)
    for kind in ("esm2", "dnabert_s"):
        for precision in ("float32", "bfloat16", "float16"):
            assert choose_kernels(kind, precision, machine) == PORTABLE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "precision", "chosen"),
    [
        ("esm2", "float16", Kernels("varlen", fused=True)),
        ("esm2", "bfloat16", Kernels("varlen", fused=True)),
        ("dnabert_s", "float16", Kernels("dense-runs", fused=True)),
        ("esm2", "float32", PORTABLE),
        ("dnabert_s", "float32", PORTABLE),
    ],
)
def test_gpus_get_the_fastest_in_half_precision_only(
    kind: EncoderKind, precision: Precision, chosen: Kernels
) -> None:
    assert choose_kernels(kind, precision, GPUS) == chosen


def test_nothing_is_fused_without_a_compiler_unless_asked_for() -> None:
    machine = _Machine(has_gpus=True, has_compiler=False)
    assert choose_kernels("esm2", "float16", machine) == Kernels("varlen", fused=False)
    assert choose_kernels("esm2", "float16", machine, fused=True) == Kernels("varlen", fused=True)
    assert choose_kernels("esm2", "float16", GPUS, fused=False) == Kernels("varlen", fused=False)


def test_an_older_pytorch_gets_dense_runs() -> None:
    machine = _Machine(has_gpus=True, has_varlen=False)
    assert choose_kernels("esm2", "float16", machine).attention == "dense-runs"


def test_flash_attention_is_used_where_it_is_asked_for_and_installed() -> None:
    machine = _Machine(has_gpus=True, has_flash=True)
    assert choose_kernels("dnabert_s", "float16", machine).attention == "dense-runs"
    assert choose_kernels("dnabert_s", "float16", machine, "flash").attention == "flash"


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

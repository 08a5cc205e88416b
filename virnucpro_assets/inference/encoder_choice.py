"""The choice of an encoder and of its kernels, made before any device process starts. No torch here.

The choice is part of the recipe of what is computed: it follows from the settings, the kind of device, the precision
and the installed packages, and not from what a device process finds.
"""

import shutil
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.errors import InputError
from virnucpro_assets.models.encoders import ENCODERS
from virnucpro_assets.vocabulary import Attention, EncoderKind, Precision

_COMPILERS = ("cc", "gcc", "clang")


class EncoderChoice(BaseModel):
    """An encoder by its folder, the digest that this had when it was chosen, precision and kernels.

    `stamps` are those of the folder's files then: as long as they have them, nobody digests them again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: EncoderKind
    folder: Path
    digest: str
    width: int
    precision: Precision
    attention: Attention = "dense-runs"
    fused: bool = False
    stamps: tuple[tuple[str, str], ...] = ()

    def in_precision(self, precision: Precision) -> "EncoderChoice":
        """The same model in another precision, on the kernels that every device and precision has."""
        changes = {"precision": precision, "attention": "dense-runs", "fused": False}
        return self if precision == self.precision else self.model_copy(update=changes)


@dataclass(frozen=True)
class Machine:
    """What decides on kernels: whether the devices are GPUs, and which packages are there."""

    has_gpus: bool

    @cached_property
    def has_flash(self) -> bool:
        """Whether the package flash-attn is installed."""
        try:
            version("flash-attn")
        except PackageNotFoundError:
            return False
        return self.has_gpus

    @cached_property
    def has_triton(self) -> bool:
        """Whether there is Triton, and what it needs to start its kernels: a C compiler and Python's headers."""
        return (
            self.has_gpus
            and find_spec("triton") is not None
            and any(map(shutil.which, _COMPILERS))
            and Path(sysconfig.get_path("include"), "Python.h").is_file()
        )


@dataclass(frozen=True)
class Kernels:
    """The kernel of attention, and whether the rest of each layer runs on kernels of our own, written in Triton."""

    attention: Attention
    fused: bool


def choose_kernels(
    kind: EncoderKind,
    precision: Precision,
    machine: Machine,
    attention: Attention | None = None,
    *,
    fused: bool | None = None,
) -> Kernels:
    """The kernels for an encoder; None leaves a choice to what is there, and takes the fastest that was measured.

    The kernels for sequences of varying length compute in half precision only, and only that of
    flash-attn knows the biases of DNABERT-S. float32 is the reference, and is never fused unless
    asked for; plain attention, which is for comparison with the original, never is. Raises
    InputError if what is asked for cannot run here.
    """
    half, biased = precision != "float32", ENCODERS[kind].has_attention_bias
    usable: dict[Attention, bool] = {
        "flash": half and machine.has_flash,
        "varlen": half and machine.has_gpus and not biased,
        "dense-runs": True,
        "plain": not half,
    }
    if attention is not None and not usable[attention]:
        raise InputError(
            "setting attention",
            where=repr(attention),
            found=f"{kind} in {precision} on {'GPUs' if machine.has_gpus else 'processors'}",
            expected="GPUs and half precision, also ESM-2 for varlen, flash-attn for flash; float32 for plain",
            advice="Set VIRNUCPRO_ATTENTION to dense-runs, or leave it out.",
        )
    if fused and attention != "plain" and not machine.has_triton:
        raise InputError(
            "setting fused_kernels",
            where="true",
            found="processors"
            if not machine.has_gpus
            else "no Triton, or no C compiler and Python headers for it",
            expected="GPUs, Triton, a C compiler and Python's headers",
            advice="Install them, or leave VIRNUCPRO_FUSED_KERNELS out.",
        )
    if attention is None:
        fastest: Attention = "flash" if biased else "varlen"
        attention = fastest if usable[fastest] else "dense-runs"
    return Kernels(
        attention=attention,
        fused=attention != "plain" and (half and machine.has_triton if fused is None else fused),
    )

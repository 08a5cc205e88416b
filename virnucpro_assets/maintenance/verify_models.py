"""The command that compares encoders with their references: which ones, on which device, and the result."""

from collections.abc import Callable, Sequence

from virnucpro_assets.checks.results import CheckError
from virnucpro_assets.demo.recognise import saying_demo_models
from virnucpro_assets.drops.recipes import installed_encoder
from virnucpro_assets.errors import InputError
from virnucpro_assets.inference.devices import names_gpus
from virnucpro_assets.models.registry import Registry
from virnucpro_assets.reports.model_pages import PRECISIONS
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import ENCODER_KINDS


def verify_models(
    settings: Settings,
    names: Sequence[str],
    say: Callable[[str], None],
    *,
    warn: Callable[[str], None],
    precision: str | None = None,
    device: str | None = None,
    keep: bool = False,
) -> None:
    """Verify the encoders of these names, or those in use; `say` is called with a line for each.

    `warn` is called with the names of demo models among them. Raises InputError for an unknown name, precision or
    device, or an encoder in use that is not installed, DeviceError if no device is given and there is a GPU that
    cannot be used, IntegrityError for a damaged folder, and at the end CheckError if an encoder differs too much from
    its reference.
    """
    # The command line imports this module, and torch takes seconds to import.
    import torch  # noqa: PLC0415

    from virnucpro_assets.models.verification import verify_encoder  # noqa: PLC0415

    chosen = next((one for one in PRECISIONS if one == (precision or settings.precision)), None)
    if chosen is None:
        raise InputError(
            "precision", found=repr(precision), expected=", ".join(PRECISIONS), advice="Give one of them."
        )
    chosen_device = device or ("cuda:0" if names_gpus("auto", visible=settings.visible_gpus) else "cpu")
    _require_device(chosen_device, torch.cuda.device_count())
    registry = Registry(settings.models)
    folders = (
        [installed_encoder(settings, kind) for kind in ENCODER_KINDS]
        if not names
        else [registry.model(name).path for name in names]
    )
    failed = []
    with saying_demo_models({folder.name: folder for folder in folders}, warn):
        for folder in folders:
            found = verify_encoder(folder, precision=chosen, device=chosen_device, keep=keep)
            passed = found.passed(settings.min_cosine)
            say(
                f"{folder}: {found.folder.kind} in {chosen} on {chosen_device} against {found.reference}: smallest "
                f"cosine {found.min_cosine:.8f}, largest difference {found.largest_difference:.3g} where the largest "
                f"number is {found.largest_number:.3g}: {'passed' if passed else 'FAILED'}"
            )
            if not passed:
                failed.append(str(folder))
    if failed:
        raise CheckError(
            f"{', '.join(failed)}: found embeddings that are not those of the reference; expected a cosine of at "
            "least 0.999999 in float32, of min_cosine below it. Do not use this device or library with these models."
        )


def _require_device(device: str, gpus: int) -> None:
    if device not in {"cpu", *(f"cuda:{number}" for number in range(gpus))}:
        raise InputError(
            "device",
            found=repr(device),
            expected=", ".join(["cpu", *(f"cuda:{number}" for number in range(gpus))]),
            advice="Give one that is there.",
        )

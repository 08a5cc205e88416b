"""Which encoders a device process holds beside each other."""

import weakref

import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.inference.encoders import LoadedEncoders
from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.models.folders import read_model_folder


@pytest.fixture
def choice() -> EncoderChoice:
    """The demo's protein model in float32."""
    folder = read_model_folder(MODELS_FOLDER / "esm2")
    return EncoderChoice(
        kind="esm2", folder=folder.path, digest=folder.digest, width=folder.width, precision="float32"
    )


def test_two_precisions_of_a_model_stay_beside_each_other_unless_one_is_asked_for_alone(
    choice: EncoderChoice,
) -> None:
    encoders = LoadedEncoders("cpu")
    first = weakref.ref(encoders.get(choice))
    second = weakref.ref(encoders.get(choice.in_precision("bfloat16")))
    assert first() is encoders.get(choice, alone=True)
    third = encoders.get(choice.in_precision("float16"), alone=True)
    assert (first(), second(), third.precision) == (None, None, "float16")


def test_only_loading_takes_seconds(choice: EncoderChoice) -> None:
    encoders = LoadedEncoders("cpu")
    encoders.get(choice)
    loading = encoders.seconds
    encoders.get(choice)
    assert encoders.seconds == loading > 0

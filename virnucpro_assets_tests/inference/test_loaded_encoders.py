"""Which encoders a device process holds beside each other."""

import shutil
import weakref
from pathlib import Path

import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files import digests
from virnucpro_assets.inference.encoders import LoadedEncoders
from virnucpro_assets.inference.messages import EncoderChoice
from virnucpro_assets.models import folders
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets_tests.changed_models import scale_weights


@pytest.fixture
def choice() -> EncoderChoice:
    """The demo's protein model in float32."""
    folder = read_model_folder(MODELS_FOLDER / "esm2")
    return EncoderChoice(
        kind="esm2",
        folder=folder.path,
        digest=folder.digest,
        width=folder.width,
        precision="float32",
        stamps=folder.stamps,
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


def test_an_unchanged_model_is_not_digested_again_and_a_changed_one_is_refused(
    choice: EncoderChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    copy = shutil.copytree(choice.folder, tmp_path / "esm2")
    folder = read_model_folder(copy)
    chosen = choice.model_copy(update={"folder": copy, "stamps": folder.stamps})
    with monkeypatch.context() as patch:
        patch.setattr(folders, "sha256_of_file", lambda path: pytest.fail(f"{path} was digested"))
        assert LoadedEncoders("cpu").get(chosen).width == choice.width
    scale_weights(copy, 2.0)
    with pytest.raises(IntegrityError, match=f"found a model of digest .*; expected {choice.digest}"):
        LoadedEncoders("cpu").get(chosen)

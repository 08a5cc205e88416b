"""Which encoders a device process holds beside each other."""

import shutil
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from virnucpro_assets.demo.paths import MODELS_FOLDER
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files import digests
from virnucpro_assets.inference import loaded_encoders
from virnucpro_assets.inference.encoder_choice import EncoderChoice
from virnucpro_assets.inference.loaded_encoders import LoadedEncoders
from virnucpro_assets.models import folders
from virnucpro_assets.models.folders import read_model_folder
from virnucpro_assets.models.packed_encoder import PackedEncoder
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


def test_an_encoder_is_loaded_beside_the_one_in_use_where_there_is_room(
    choice: EncoderChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = read_model_folder(MODELS_FOLDER / "dnabert_s")
    other = choice.model_copy(
        update={"kind": "dnabert_s", "folder": folder.path, "digest": folder.digest, "stamps": folder.stamps}
    )
    encoders = LoadedEncoders("cpu")
    first = weakref.ref(encoders.get(choice))
    encoders.prefetch(other)
    assert encoders.get(other).width == folder.width
    assert first() is None, "a CPU slot keeps one model"

    monkeypatch.setattr(LoadedEncoders, "has_memory_for", lambda self, choice: True)
    threads: list[str] = []
    load = loaded_encoders.load_encoder

    def noted(*arguments: Any, **options: Any) -> PackedEncoder:
        threads.append(threading.current_thread().name.split("_")[0])
        return load(*arguments, **options)

    monkeypatch.setattr(loaded_encoders, "load_encoder", noted)
    encoders = LoadedEncoders("cpu")
    in_use = encoders.get(choice)
    for wanted in (other, other, None, choice):
        encoders.prefetch(wanted)
    assert (encoders.get(other).width, encoders.get(choice)) == (folder.width, in_use)
    assert threads == ["MainThread", "next encoder"]


def test_an_encoder_that_cannot_be_prefetched_is_refused_when_its_turn_comes(
    choice: EncoderChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoadedEncoders, "has_memory_for", lambda self, choice: True)
    copy = shutil.copytree(choice.folder, tmp_path / "esm2")
    changed = choice.model_copy(update={"folder": copy, "stamps": ()})
    scale_weights(copy, 2.0)
    encoders = LoadedEncoders("cpu")
    in_use = encoders.get(choice)
    encoders.prefetch(changed)
    assert encoders.get(choice) is in_use
    with pytest.raises(IntegrityError, match="found a model of digest"):
        encoders.get(changed)
    assert encoders.get(choice) is in_use


def test_weights_that_are_gone_stop_no_task_of_the_encoder_in_use(
    choice: EncoderChoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_encoders.torch.cuda, "mem_get_info", lambda device: (1 << 40, 1 << 40))
    lost = choice.model_copy(
        update={"folder": shutil.copytree(choice.folder, tmp_path / "esm2"), "stamps": ()}
    )
    (lost.folder / "model.safetensors").unlink()
    encoders = LoadedEncoders("cuda:0")
    encoders.prefetch(lost)
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        encoders.get(lost)


@pytest.mark.slow
def test_a_device_process_imports_no_compiler_and_no_tables(choice: EncoderChoice) -> None:
    """Each of these takes a second or more of every start."""
    program = (
        "import sys; from pathlib import Path; from virnucpro_assets.inference.worker import Worker; "
        "from virnucpro_assets.models.loading import load_encoder; load_encoder(Path(sys.argv[1])); "
        "print({'pandas', 'sympy', 'torch._dynamo', 'matplotlib', 'dagster'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program, str(choice.folder)]
    assert subprocess.check_output(command, text=True).strip() == "set()"

"""Model folders: identity, loading, and every way in which one can be wrong."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files import digests
from virnucpro_assets.models import folders
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.folders import DIGESTS_FILE, are_unchanged, read_model_folder
from virnucpro_assets.models.loading import load_encoder, published_shapes, random_weights, save_encoder
from virnucpro_assets.models.packed_encoder import Encoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets_tests.models.published_files import change_json

ESM2_SIZES = [(6, 320, 20), (12, 480, 20), (30, 640, 20), (33, 1280, 20), (36, 2560, 40), (48, 5120, 40)]


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_the_digest_is_over_sorted_names_and_digests(dnabert_s_folder: Path) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    digests = {name: hashlib.sha256((dnabert_s_folder / name).read_bytes()).hexdigest() for name in names}
    expected = hashlib.sha256("".join(f"{name}\0{digests[name]}\n" for name in names).encode())
    folder = read_model_folder(dnabert_s_folder)
    assert (folder.kind, folder.width, folder.digest) == ("dnabert_s", 48, expected.hexdigest())


def test_one_changed_weight_is_another_model(esm2_folder: Path) -> None:
    before = read_model_folder(esm2_folder)
    change_weights(esm2_folder, lambda state: state["layers.0.fc1.bias"][0].add_(1))
    after = read_model_folder(esm2_folder)
    assert (before.kind, before.width, before.config) == ("esm2", 32, after.config)
    assert before.digest != after.digest


def test_other_weights_of_the_same_path_size_shapes_and_times_are_another_model(esm2_folder: Path) -> None:
    path = esm2_folder / "model.safetensors"
    before, state = read_model_folder(esm2_folder), path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    now = path.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (state.st_ino, state.st_size, state.st_mtime_ns)
    load_encoder(esm2_folder)
    after = read_model_folder(esm2_folder)
    assert after.config == before.config
    assert after.digest != before.digest


def test_a_file_beside_the_model_does_not_change_its_digest(esm2_folder: Path) -> None:
    before = read_model_folder(esm2_folder).digest
    (esm2_folder / "README.md").write_text("notes")
    assert read_model_folder(esm2_folder).digest == before


def test_folders_and_cards_are_read_without_torch(esm2_folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import virnucpro_assets.models.cards;"
        "from virnucpro_assets.models.folders import read_model_folder;"
        "print(read_model_folder(Path(sys.argv[1])).width, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(esm2_folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "32 False\n"


@pytest.mark.parametrize(("layers", "width", "heads"), ESM2_SIZES)
def test_every_published_esm2_has_its_shapes(layers: int, width: int, heads: int) -> None:
    shapes = published_shapes(
        Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads)
    )
    assert len(shapes) == 16 * layers + 3
    assert shapes["embed_tokens.weight"] == (33, width)
    assert shapes[f"layers.{layers - 1}.fc1.weight"] == (4 * width, width)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_an_esm2_folder_loads_and_embeds(esm2_folder: Path, precision: str) -> None:
    encoder: Encoder = load_encoder(esm2_folder, precision=precision)
    tokens = encoder.tokenise(Ragged.from_strings([b"MKV", b"ACDEFGH", b"W"]))
    means = encoder.embed(TokenPack.from_tokens(tokens, encoder.device))
    assert (encoder.kind, encoder.width, means.shape, means.dtype) == ("esm2", 32, (3, 32), torch.float32)
    hidden = encoder.model(TokenPack.from_tokens(tokens)).float()
    assert torch.allclose(means[0], hidden[1:4].mean(0), atol=1e-6)
    assert torch.allclose(means[2], hidden[15], atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_dnabert_s_folder_loads_and_embeds(dnabert_s_folder: Path, precision: str) -> None:
    encoder: Encoder = load_encoder(dnabert_s_folder, precision=precision)
    tokens = encoder.tokenise(Ragged.from_strings([b"ACGTTGCATTAG", b"AC"]))
    means = encoder.embed(TokenPack.from_tokens(tokens, encoder.device))
    assert (encoder.kind, encoder.width, means.shape, means.dtype) == (
        "dnabert_s",
        48,
        (2, 48),
        torch.float32,
    )
    hidden = encoder.model(TokenPack.from_tokens(tokens)).float()
    assert torch.allclose(means[0], hidden[: tokens.offsets[1]].mean(0), atol=1e-6)


def test_heads_that_fair_esm_keeps_beside_the_encoder_are_ignored(esm2_folder: Path) -> None:
    pack = TokenPack(torch.tensor([0, 5, 6, 2]), np.array([4]))
    expected = load_encoder(esm2_folder).embed(pack)
    extra = ["lm_head.bias", "contact_head.regression.weight"]
    change_weights(esm2_folder, lambda state: state.update({name: torch.zeros(3) for name in extra}))
    assert torch.equal(load_encoder(esm2_folder).embed(pack), expected)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(dnabert_s_folder: Path, name: str) -> None:
    (dnabert_s_folder / name).unlink()
    for read in (read_model_folder, load_encoder):
        with pytest.raises(IntegrityError, match=f"{name}: found no file; expected a file of the model"):
            read(dnabert_s_folder)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"model_type": "llama"}, "'llama'"),
        ({"hidden_size": 30}, "width 30 cannot be shared by 4 heads"),
        ({"hidden_size": 20}, "rotary positions need an even head width, not 5"),
        ({"num_hidden_layers": "many"}, "at esm2.num_hidden_layers"),
    ],
)
def test_a_wrong_config_is_explained(esm2_folder: Path, fields: dict[str, object], complaint: str) -> None:
    change_json(esm2_folder / "config.json", **fields)
    with pytest.raises(IntegrityError, match=r"config\.json: found .*expected the config of") as raised:
        read_model_folder(esm2_folder)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda state: state.update({"layers.1.fc9.bias": state.pop("layers.1.fc1.bias")}),
            r"missing tensors layers\.1\.fc1\.bias; unknown tensors layers\.1\.fc9\.bias",
        ),
        (
            lambda state: [state.pop(name) for name in list(state) if name.startswith("layers.1.")],
            r"missing tensors layers\.1\..* and 11 more",
        ),
        (
            lambda state: state.update({"layers.0.fc2.bias": torch.zeros(31)}),
            r"layers\.0\.fc2\.bias of shape \[31\] where \[32\] was expected",
        ),
    ],
    ids=["another name", "many missing", "another shape"],
)
def test_weights_that_do_not_fit_are_named(
    esm2_folder: Path, change: Callable[[dict[str, torch.Tensor]], object], complaint: str
) -> None:
    change_weights(esm2_folder, change)
    with pytest.raises(IntegrityError, match=complaint):
        load_encoder(esm2_folder)


@pytest.mark.parametrize("size", [0, 7, 500])
def test_a_torn_weights_file_is_named(esm2_folder: Path, size: int) -> None:
    path = esm2_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(IntegrityError, match=r"model\.safetensors: found (a damaged|an empty) file"):
        load_encoder(esm2_folder)


def test_weights_that_do_not_fit_are_not_saved(tmp_path: Path) -> None:
    config = Esm2Config(num_hidden_layers=1, hidden_size=8, num_attention_heads=2)
    state = random_weights(config, seed=1)
    del state["embed_tokens.weight"]
    with pytest.raises(IntegrityError, match=r"missing tensors embed_tokens\.weight"):
        save_encoder(tmp_path / "model", config, state)
    assert list(tmp_path.iterdir()) == []


def test_random_weights_are_the_same_for_the_same_seed() -> None:
    config = Esm2Config(num_hidden_layers=1, hidden_size=8, num_attention_heads=2)
    one, same, other = (random_weights(config, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["embed_tokens.weight"], other["embed_tokens.weight"])


@pytest.mark.parametrize("model", ["esm2_folder", "dnabert_s_folder"])
def test_loading_sets_no_weights_at_random(
    model: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("a normal distribution on the meta device imports torch's compiler")

    folder = request.getfixturevalue(model)
    monkeypatch.setattr(torch.nn.init, "normal_", refused)
    with pytest.raises(AssertionError, match="imports torch's compiler"):
        torch.nn.Embedding(2, 2, device="meta")
    assert load_encoder(folder).width > 0


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files of models that are digested from now on; every model counts as large."""
    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(folders, "sha256_of_file", noted)
    monkeypatch.setattr(folders, "LARGE", 0)
    monkeypatch.setattr(folders, "SETTLED", 0.0)
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    return names


ALL = ["config.json", "model.safetensors"]


def test_a_large_model_is_digested_once(esm2_folder: Path, digested: list[str]) -> None:
    before = read_model_folder(esm2_folder)
    assert digested == ALL
    assert read_model_folder(esm2_folder) == before
    assert digested == ALL
    assert read_model_folder(esm2_folder, content=True) == before
    assert digested == [*ALL, *ALL]


def test_a_changed_model_is_digested_again_also_if_its_time_was_set_back(
    esm2_folder: Path, digested: list[str]
) -> None:
    before, weights = read_model_folder(esm2_folder), esm2_folder / "model.safetensors"
    status, content = weights.stat(), bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not are_unchanged(esm2_folder, before.stamps)
    after = read_model_folder(esm2_folder)
    assert digested == [*ALL, *ALL]
    assert after.digest != before.digest
    assert read_model_folder(esm2_folder).digest == after.digest
    assert digested == [*ALL, *ALL]


@pytest.mark.parametrize("content", [b"", b"# virnucpro manifest sha256=0\n", None])
def test_damaged_digests_are_computed_anew(
    esm2_folder: Path, digested: list[str], content: bytes | None
) -> None:
    before, kept = read_model_folder(esm2_folder), esm2_folder / DIGESTS_FILE
    whole = kept.read_bytes()
    kept.write_bytes(whole.replace(b" ", b"1", 1) if content is None else content)
    assert read_model_folder(esm2_folder) == before
    assert digested == [*ALL, *ALL]
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(
    esm2_folder: Path, digested: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, _: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folders, "write_manifest", refused)
    before = read_model_folder(esm2_folder)
    assert read_model_folder(esm2_folder) == before
    assert digested == [*ALL, *ALL]
    assert not (esm2_folder / DIGESTS_FILE).exists()


def test_a_model_of_just_now_is_stamped_once_it_is_a_second_old(
    esm2_folder: Path, digested: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    now = max((esm2_folder / name).stat().st_ctime for name in ALL)
    clock = [now]
    monkeypatch.setattr(folders, "SETTLED", 1.0)
    monkeypatch.setattr(digests, "SETTLED", 1.0)
    monkeypatch.setattr(digests.time, "time", lambda: clock[0])

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(folders.time, "sleep", sleep)
    found = read_model_folder(esm2_folder)
    assert slept == [1.0]
    assert are_unchanged(esm2_folder, found.stamps)
    assert read_model_folder(esm2_folder) == found
    assert digested == ALL

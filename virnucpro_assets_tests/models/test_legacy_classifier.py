"""The authors' classifiers: read without running anything, and a hostile set of which nothing runs."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.models.classifier import Classifier
from virnucpro_assets.models.classifier_imports import STUBS, ModuleStub, read_legacy_classifier
from virnucpro_assets.models.tensor_files import read_torch_file, read_torch_state

PROGRAM = Path(__file__).with_name("save_classifier.py")
WIDTH = 24


IT_RAN = "touch it_ran"
HOOK = f"type('Hook', (), {{'__reduce__': lambda self: (__import__('os').system, ({IT_RAN!r},))}})()"

OTHER_NETWORKS = {
    f"mlp_model._forward_hooks['x'] = {HOOK}": r"found .*posix\.system; expected tensors only",
    "mlp_model = nn.Sequential(mlp_model)": r"torch\.nn\.modules\.container\.Sequential",
    "mlp_model.output_layer = nn.Bilinear(2, 2, 2)": r"torch\.nn\.modules\.linear\.Bilinear",
    "mlp_model.hidden_layer.half()": r"found hidden_layer\.weight of torch\.float16",
    "mlp_model.more = nn.Linear(2, 2)": "the parts .*more Linear",
    "del mlp_model.dropout": "the parts",
    "mlp_model.bn1.eps = 1e-3": r"a batch norm with eps 0\.001",
    "mlp_model.bn1.eps = [1]": "a batch norm with eps of another type",
    "mlp_model.output_layer = nn.Linear(512, 3)": r"output_layer\.weight of shape \[3, 512\]",
    "mlp_model.hidden_layer = nn.Linear(24, 256)": r"hidden_layer\.weight of shape \[256, 24\]",
    "mlp_model.hidden_layer.weight = nn.Parameter(torch.zeros(3))": r"a first layer of shape \[3\]",
    "mlp_model.output_layer.weight.data = torch.zeros(512, 2).T": r"output_layer\.weight of .* strides \(1, 2\)",
    "mlp_model.output_layer.bias.data[0] = float('nan')": r"not finite in output_layer\.bias",
    "mlp_model = mlp_model.hidden_layer": "a Linear, not a MLPClassifier",
    "mlp_model = mlp_model.state_dict()": "a OrderedDict, not a MLPClassifier",
    "mlp_model.bn1.running_var = torch.zeros(512, device='meta')": "other things than named tensors",
    "mlp_model.bn1.running_var = torch.zeros(512).to_sparse()": "other things than named tensors",
    "mlp_model.hidden_layer.weight = nn.Parameter(torch.zeros(1, 1).expand(512, 1 << 40))": r"with strides \(0, 0\)",
}


def save_modules(folder: Path, *lines: str, width: int = WIDTH) -> Path:
    subprocess.run([sys.executable, str(PROGRAM), str(width), str(folder), *lines], check=True)
    return folder / "model.pth"


@pytest.fixture(scope="session")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as train.py saves it, made in a process of its own; other networks lie beside it."""
    return save_modules(tmp_path_factory.mktemp("genuine"), *OTHER_NETWORKS)


def rewritten(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other entries."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target


def with_pickle(source: Path, target: Path, program: bytes) -> Path:
    return rewritten(source, target, lambda entries: entries.update({"model/data.pkl": program}))


def test_a_genuine_file_gives_the_same_scores(genuine: Path) -> None:
    answers = torch.load(genuine.with_name("answers.pt"), weights_only=True)
    classifier = Classifier(WIDTH)
    classifier.load_state_dict(read_legacy_classifier(genuine))
    found = torch.from_numpy(classifier.scores(answers["rows"].numpy()))
    assert float((found - answers["scores"]).abs().max()) <= 1e-6
    assert float(answers["scores"].std()) > 0.01


@pytest.mark.slow
def test_a_file_of_the_published_size_is_read(tmp_path: Path) -> None:
    state = read_legacy_classifier(save_modules(tmp_path, width=3328))
    assert state["hidden_layer.weight"].shape == (512, 3328)


def test_no_module_of_torch_is_made(genuine: Path) -> None:
    root = read_torch_file(genuine, admitted=STUBS)
    modules = [root, *root.attributes["_modules"].values()]
    assert [type(module).__name__ for module in modules] == [
        *("MLPClassifier", "Linear", "BatchNorm1d", "Linear", "Dropout")
    ]
    assert all(isinstance(module, ModuleStub) for module in modules)
    assert not any(isinstance(module, torch.nn.Module) for module in modules)


class Calls:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call

    def __call__(self) -> None:
        """What is called first may itself be the result of a call."""


def hostile(mark: Path) -> dict[str, tuple[Any, str]]:
    """Objects whose pickles run code that makes `mark`, and what of them an error must name."""
    code = f"open({str(mark)!r}, 'w').close()"
    chain = Calls(getattr, Calls(__import__, "os"), "system")
    return {
        "os.system": (Calls(os.system, f"touch {mark}"), r"posix\.system"),
        "eval": (Calls(eval, code), r"builtins\.eval"),
        "a class of torch": (
            Calls(torch.utils.data.get_worker_info, code),
            r"torch\.utils\.data\._utils\.worker\.get_worker_info",
        ),
        "torch's own loader": (Calls(torch.hub.load, str(mark)), r"torch\.hub\.load"),
        "a chain": (Calls(Calls(getattr, chain, "__call__"), f"touch {mark}"), r"builtins\.getattr"),
        "a module with a hook": (
            OrderedDict(hook=Calls(os.system, f"touch {mark}")),
            r"posix\.system",
        ),
    }


@pytest.mark.parametrize("name", list(hostile(Path())))
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    tmp_path: Path, genuine: Path, name: str, protocol: int
) -> None:
    mark = tmp_path / "it_ran"
    content, named = hostile(mark)[name]
    path = with_pickle(genuine, tmp_path / "model.pth", pickle.dumps(content, protocol=protocol))
    # A later protocol names things on its stack, which torch never writes.
    found = named if protocol == 2 else "a pickle of other things, or a damaged one"
    expected = rf"found .*{found}.*; expected tensors only\. Nothing of it was run"
    with pytest.raises(IntegrityError, match=expected):
        read_legacy_classifier(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", list(hostile(Path())))
def test_a_hostile_pickle_among_weights_is_refused_and_runs_nothing(tmp_path: Path, name: str) -> None:
    mark, path = tmp_path / "it_ran", tmp_path / "pytorch_model.bin"
    content, named = hostile(mark)[name]
    torch.save({"weight": torch.zeros(3), "more": content}, path)
    with pytest.raises(IntegrityError, match=r"Nothing of it was run") as raised:
        read_torch_state(path)
    assert named.replace("\\", "").split(".")[-1] in str(raised.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    "tensor", [torch.zeros(3, device="meta"), torch.zeros(3).to_sparse()], ids=["meta", "sparse"]
)
def test_a_tensor_that_is_not_dense_is_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": tensor}, path)
    with pytest.raises(IntegrityError, match="other things than named tensors"):
        read_torch_state(path)


@pytest.mark.parametrize("line", list(OTHER_NETWORKS))
def test_another_network_is_refused_and_runs_nothing(
    genuine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = genuine.with_name(f"model-{list(OTHER_NETWORKS).index(line)}.pth")
    with pytest.raises(IntegrityError, match=OTHER_NETWORKS[line]):
        read_legacy_classifier(path)
    assert list(tmp_path.iterdir()) == []


def test_a_storage_of_another_size_is_refused(tmp_path: Path, genuine: Path) -> None:
    path = rewritten(
        genuine, tmp_path / "model.pth", lambda entries: entries.update({"model/data/1": bytes(8)})
    )
    with pytest.raises(IntegrityError, match=r"model\.pth: found "):
        read_legacy_classifier(path)


@pytest.mark.parametrize("read", [read_legacy_classifier, read_torch_state])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(1 << 26))
    assert path.stat().st_size < 1 << 17
    with pytest.raises(IntegrityError, match=r"a compressed entry, model/data\.pkl.*Nothing of it was read"):
        read(path)


DAMAGED = "a pickle of other things, or a damaged one|a damaged file"
BOMBS = {
    "a table without end": (b"\x80\x02Nr\xff\xff\xff\x3f.", "a NoneType, not"),
    "an endless text": (
        b"\x80\x02]q\x00" + b"".join(b"(h%ch%ctq%c" % (n, n, n + 1) for n in range(60)) + b".",
        "a tuple, not",
    ),
    "no end": (b"\x80\x02N", DAMAGED),
    "nothing to call": (b"\x80\x02NNR.", DAMAGED),
    "a class with arguments": (b"\x80\x02c__main__\nMLPClassifier\nK\x01\x85\x81.", DAMAGED),
    "a class that is called": (b"\x80\x02c__main__\nMLPClassifier\nK\x01\x85R.", DAMAGED),
    "a module without attributes": (
        b"\x80\x02c__main__\nMLPClassifier\n)\x81.",
        "a MLPClassifier without _modules",
    ),
    "attributes without names": (b"\x80\x02c__main__\nMLPClassifier\n)\x81K\x01b.", DAMAGED),
    "attributes for a function": (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n}X\x01\x00\x00\x00aK\x01sb.",
        DAMAGED,
    ),
    "a storage of another file": (
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x05\x00\x00\x00../..X\x03\x00\x00\x00cpuK\x01tQ.",
        DAMAGED,
    ),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_pickle_that_misuses_admitted_names_is_refused(tmp_path: Path, genuine: Path, name: str) -> None:
    program, named = BOMBS[name]
    path = with_pickle(genuine, tmp_path / "model.pth", program)
    with pytest.raises(IntegrityError, match=named) as raised:
        read_legacy_classifier(path)
    assert len(str(raised.value)) < 1000


def test_missing_and_torn_files_are_named(tmp_path: Path, genuine: Path) -> None:
    with pytest.raises(IntegrityError, match=r"none\.pth: found no file"):
        read_legacy_classifier(tmp_path / "none.pth")
    torn = tmp_path / "torn.pth"
    content = genuine.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 100):
        torn.write_bytes(content[:size])
        with pytest.raises(IntegrityError, match=r"torn\.pth: found"):
            read_legacy_classifier(torn)
    flipped = bytearray(content)
    flipped[content.index(b"hidden_layer")] ^= 1
    torn.write_bytes(flipped)
    with pytest.raises(IntegrityError, match=r"torn\.pth: found"):
        read_legacy_classifier(torn)

"""Fetching from a hub on loopback: commits, digests, tokens, mirrors, and going on after an interruption."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from virnucpro_assets.demo.paths import DNABERT_S_FOLDER
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.files.locks import FileLock
from virnucpro_assets.models import fetching
from virnucpro_assets.models.cards import EncoderCard
from virnucpro_assets.models.classifier_imports import import_classifier
from virnucpro_assets.models.encoder_imports import import_encoder, read_encoder
from virnucpro_assets.models.encoders import PublishedModel
from virnucpro_assets.models.fetching import fetch_encoder
from virnucpro_assets.models.hub import HubError, fetch_files
from virnucpro_assets.models.loading import load_encoder
from virnucpro_assets.models.registry import Registry
from virnucpro_assets_tests.conftest import Installation
from virnucpro_assets_tests.damage import flip_byte
from virnucpro_assets_tests.hub_server import Hub, running_hub
from virnucpro_assets_tests.models.published_files import publish, save_hugging_face_esm2
from virnucpro_assets_tests.waiting import wait_until

REPOSITORY, COMMIT = "someone/esm2_tiny", "1" * 40


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ESM-2 as the hub has it, with a file that no model needs."""
    folder = tmp_path_factory.mktemp("published") / "hub"
    save_hugging_face_esm2(folder, masked_lm=True)
    publish(folder)
    (folder / "modeling.py").write_text("raise SystemExit('code of a repository')")
    return folder


@pytest.fixture
def hub(published: Path) -> Iterator[Hub]:
    with running_hub() as hub:
        hub.publish(REPOSITORY, COMMIT, published)
        yield hub


def fetch(registry: Registry, hub: Hub, **options: object) -> Path:
    model, _ = fetch_encoder(registry, REPOSITORY, endpoint=hub.url, revision=COMMIT, **options)
    return model.path


def test_a_model_is_fetched_verified_and_installed(tmp_path: Path, hub: Hub, published: Path) -> None:
    registry = Registry(tmp_path / "models")
    path = fetch(registry, hub)
    card = registry.model("esm2_tiny").card
    assert path == tmp_path / "models" / "esm2_tiny"
    assert (card.source, card.width, card.kind) == (f"{REPOSITORY}@{COMMIT}", 32, "esm2")
    assert set(card.files) == {"config.json", "model.safetensors"}
    assert load_encoder(path).width == 32
    assert sorted(file.name for file in path.iterdir()) == ["card.json", "config.json", "model.safetensors"]
    # Nothing else lies about, and no code was asked for.
    assert sorted(entry.name for entry in (tmp_path / "models").iterdir()) == [".downloads", "esm2_tiny"]
    assert [entry.suffix for entry in (tmp_path / "models" / ".downloads").iterdir()] == [".lock"]
    assert hub.gets("modeling.py") == []
    assert all(COMMIT in asked for _, asked, _ in hub.requests)


def test_what_is_installed_is_not_fetched_again(tmp_path: Path, hub: Hub) -> None:
    registry = Registry(tmp_path / "models")
    fetch(registry, hub)
    before = len(hub.requests)
    _, was_there = fetch_encoder(registry, REPOSITORY, endpoint=hub.url, revision=COMMIT)
    assert was_there
    assert len(hub.requests) == before
    flip_byte(registry.path("esm2_tiny") / "model.safetensors", -1)
    with pytest.raises(IntegrityError, match=r"model.safetensors of digest .* as card.json says"):
        fetch(registry, hub)
    fetch(registry, hub, replace=True)
    registry.check_content(registry.model("esm2_tiny"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_of_another_digest_is_refused_and_removed(tmp_path: Path, hub: Hub, name: str) -> None:
    registry = Registry(tmp_path / "models")
    hub.damaged.add(name)
    with pytest.raises(IntegrityError, match=rf"{name}: found .*digest .*; expected .*, as the hub lists it"):
        fetch(registry, hub)
    assert registry.names() == []
    assert not list((tmp_path / "models").rglob(name))
    hub.damaged.clear()
    fetch(registry, hub)
    assert registry.names() == ["esm2_tiny"]


def test_a_digest_known_beforehand_is_above_what_the_hub_lists(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(IntegrityError, match=f"expected {'0' * 64}, as it was published"):
        fetch_files(REPOSITORY, COMMIT, tmp_path, endpoint=hub.url, sha256={"model.safetensors": "0" * 64})


@pytest.mark.parametrize(
    ("name", "how"),
    [("model.safetensors", "none"), ("model.safetensors", "pointer"), ("config.json", "none")],
)
def test_a_mirror_that_lists_no_digest_is_refused_before_anything_is_fetched(
    tmp_path: Path, hub: Hub, name: str, how: str
) -> None:
    registry = Registry(tmp_path / "models")
    hub.lists_no_digest[name] = how
    with pytest.raises(IntegrityError, match=rf"{REPOSITORY}: found no digest of {name} in the listing"):
        fetch(registry, hub)
    assert [
        path for path in (tmp_path / "models").rglob("*") if path.suffix != ".lock" and path.is_file()
    ] == []
    assert hub.gets(name) == []


def test_a_digest_on_record_is_enough_where_the_mirror_lists_none(
    tmp_path: Path, hub: Hub, published: Path
) -> None:
    hub.lists_no_digest["model.safetensors"] = "none"
    known = {"model.safetensors": sha256_of_file(published / "model.safetensors")}
    fetch_files(REPOSITORY, COMMIT, tmp_path, endpoint=hub.url, sha256=known)
    assert sha256_of_file(tmp_path / "model.safetensors") == known["model.safetensors"]


@pytest.mark.parametrize("on_record", ["no digest", "this digest", "another shape"])
def test_a_model_is_called_published_only_with_the_digests_on_record(
    tmp_path: Path, hub: Hub, published: Path, monkeypatch: pytest.MonkeyPatch, on_record: str
) -> None:
    config, digest = read_encoder(published).config, sha256_of_file(published / "model.safetensors")
    known = PublishedModel(
        name="tiny",
        repository=REPOSITORY,
        revision=COMMIT,
        licence="MIT",
        config=config if on_record != "another shape" else config.model_copy(update={"hidden_size": 64}),
        sha256={} if on_record == "no digest" else {"model.safetensors": digest},
    )
    monkeypatch.setattr(fetching, "published_model", lambda what: known)
    said: list[str] = []
    model, _ = fetch_encoder(Registry(tmp_path / "models"), "tiny", endpoint=hub.url, report=said.append)
    assert isinstance(model.card, EncoderCard)
    assert (model.card.model, model.card.licence) == ("tiny", "MIT")
    assert model.card.is_published is (on_record == "this digest")
    is_said = any(line.startswith("tiny: no digest of its weights is on record") for line in said)
    assert is_said is (on_record != "this digest")


def test_a_published_model_is_fetched_at_its_commit_and_must_have_its_digest(
    tmp_path: Path, hub: Hub
) -> None:
    hub.publish(
        "facebook/esm2_t6_8M_UR50D",
        "c731040fcd8d73dceaa04b0a8e6329b345b0f5df",
        hub.folders[REPOSITORY, COMMIT],
    )
    with pytest.raises(IntegrityError, match=r"expected 24c5fa47.*, as it was published"):
        fetch_encoder(Registry(tmp_path / "models"), "esm2_t6_8M_UR50D", endpoint=hub.url)


@pytest.mark.parametrize("revision", ["main", "v1.0", "1" * 39, ""])
def test_a_revision_that_may_move_is_refused_before_the_hub_is_asked(
    tmp_path: Path, hub: Hub, revision: str
) -> None:
    with pytest.raises(InputError, match="expected a commit, 40 hexadecimal digits"):
        fetch_files(REPOSITORY, revision, tmp_path, endpoint=hub.url)
    assert hub.requests == []


def test_an_unknown_commit_and_an_unknown_repository_are_named(tmp_path: Path, hub: Hub) -> None:
    for repository, commit in ((REPOSITORY, "2" * 40), ("someone/else", COMMIT)):
        with pytest.raises(InputError, match=f"{repository} at {commit}: found"):
            fetch_files(repository, commit, tmp_path, endpoint=hub.url)
    with pytest.raises(InputError, match="found no published model and no repository"):
        fetch_encoder(Registry(tmp_path), "esm2_t7", endpoint=hub.url)


def test_a_hub_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        HubError, match=r"127\.0\.0\.1:9, someone/esm2_tiny: found .*; expected the model's files"
    ):
        fetch_files(REPOSITORY, COMMIT, tmp_path, endpoint="http://127.0.0.1:9")


def test_a_token_is_sent_only_where_one_is_set(tmp_path: Path, hub: Hub) -> None:
    fetch_files(REPOSITORY, COMMIT, tmp_path / "one", endpoint=hub.url)
    assert hub.tokens == {None}
    fetch_files(REPOSITORY, COMMIT, tmp_path / "two", endpoint=hub.url, token="hf_secret")  # noqa: S106
    assert hub.tokens == {None, "Bearer hf_secret"}


def test_shards_are_fetched_with_their_list(tmp_path: Path, hub: Hub) -> None:
    folder = tmp_path / "published"
    save_hugging_face_esm2(folder, shard_size="30KB")
    torch.save({}, folder / "pytorch_model.bin")
    hub.publish(REPOSITORY, "3" * 40, folder)
    registry = Registry(tmp_path / "models")
    fetch_encoder(registry, REPOSITORY, endpoint=hub.url, revision="3" * 40)
    shards = {path.name for path in folder.glob("model-*.safetensors")}
    assert set(registry.model("esm2_tiny").card.files) == shards | {
        "config.json",
        "model.safetensors.index.json",
    }
    assert hub.gets("pytorch_model.bin") == []


@pytest.mark.slow
def test_an_interrupted_fetch_goes_on_where_it_was(
    new_installation: Callable[[str], Installation], hub: Hub, published: Path
) -> None:
    place = new_installation("interrupted")
    # The library writes to the disk from ten million bytes on.
    state = load_file(published / "model.safetensors")
    more = {"esm.embeddings.position_embeddings.weight": torch.zeros(100_000, 32)}
    larger = shutil.copytree(published, place.folder / "larger")
    save_file(state | more, larger / "model.safetensors")
    hub.publish(REPOSITORY, "4" * 40, larger)
    hub.stall_at = 11_000_000
    arguments = ("models", "fetch", REPOSITORY, "--revision", "4" * 40)
    script = str(Path(sys.executable).with_name("virnucpro"))
    environment = place.environment | {"HF_ENDPOINT": hub.url}
    with subprocess.Popen(
        [script, *arguments], cwd=place.folder, env=environment, stderr=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: any(path.stat().st_size for path in unfinished(place)), 60, pause=0.05)
        process.kill()
    (partial,) = unfinished(place)
    kept = partial.stat().st_size
    hub.stall_at = None
    hub.go_on.set()

    outcome = place.run(*arguments, HF_ENDPOINT=hub.url)

    assert outcome.exit_code == 0, outcome.stderr
    assert 0 < kept <= 11_000_000
    assert hub.gets("model.safetensors") == [None, f"bytes={kept}-"]
    size = (larger / "model.safetensors").stat().st_size
    assert f"fetching model.safetensors, {size:,} bytes, {kept:,} bytes of it already there" in outcome.stderr
    registry = Registry(place.folder / "models")
    assert registry.names() == ["esm2_tiny"]
    assert [entry.suffix for entry in (place.folder / "models" / ".downloads").iterdir()] == [".lock"]


def test_a_fetch_that_waits_for_another_does_not_disturb_it(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, holders = Registry(tmp_path / "models"), []
    locks: list[Path] = []
    remove = shutil.rmtree

    @contextmanager
    def locked(path: Path, *rest: Any) -> Iterator[None]:
        locks.append(path)
        with fetching_locked(path, *rest):
            yield

    def remove_while_another_waits(folder: Path, **options: Any) -> None:
        remove(folder, **options)
        holders.append(FileLock(locks[0], "a second fetch").try_acquire())

    fetching_locked = fetching.locked
    monkeypatch.setattr(fetching, "locked", locked)
    monkeypatch.setattr(fetching.shutil, "rmtree", remove_while_another_waits)
    fetch(registry, hub)
    monkeypatch.undo()

    assert holders
    assert all(holder and holder.startswith("virnucpro models fetch") for holder in holders)
    assert [path for path in (tmp_path / "models" / ".downloads").iterdir() if path.is_dir()] == []
    assert registry.names() == ["esm2_tiny"]


@pytest.mark.slow
def test_of_two_fetches_at_once_one_installs_and_both_end_well(
    new_installation: Callable[[str], Installation], hub: Hub
) -> None:
    place = new_installation("two-fetches")
    command = [str(Path(sys.executable).with_name("virnucpro")), "models", "fetch", REPOSITORY]
    environment = place.environment | {"HF_ENDPOINT": hub.url}
    both = [
        subprocess.Popen(
            [*command, "--revision", COMMIT],
            cwd=place.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert [line.split(": ")[1].strip() for line in said] == ["installed", "is installed already, and whole"]
    assert len(hub.gets("model.safetensors")) == 1


def unfinished(place: Installation) -> list[Path]:
    return list(place.folder.rglob("model.safetensors.unfinished"))


@pytest.mark.slow
def test_after_a_fetch_nothing_needs_the_network(
    new_installation: Callable[[str], Installation], hub: Hub, tmp_path: Path
) -> None:
    """A run in a network namespace of its own, in which there is not even a loopback."""
    place = new_installation("offline")
    registry = Registry(place.folder / "models")
    fetch(registry, hub)
    import_encoder(registry, DNABERT_S_FOLDER, "dna")
    program = Path(__file__).with_name("save_classifier.py")
    subprocess.run([sys.executable, str(program), str(96 + 32), str(tmp_path)], check=True)
    encoders = {"dnabert_s": registry.path("dna"), "esm2": registry.path("esm2_tiny")}
    import_classifier(registry, tmp_path / "model.pth", 300, encoders=encoders)
    (place.folder / "reads.fa").write_text(">one\nATGGCTGCAGGTCTGAAAGTTCGTGACATGGCTGCAGGTCTGAAAGTTCGT\n")
    chosen = {
        "VIRNUCPRO_ESM2": "esm2_tiny",
        "VIRNUCPRO_DNABERT_S": "dna",
        "VIRNUCPRO_CLASSIFIERS": "models",
        "HF_ENDPOINT": hub.url,
    }
    before = len(hub.requests)
    cut_off = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m"]

    refused = place.run(
        *("models", "fetch", REPOSITORY, "--revision", "5" * 40, "--name", "other"),
        program=[*cut_off, "virnucpro_assets.cli"],
        **chosen,
    )
    run = place.run("reads.fa", "--out", "out", program=[*cut_off, "virnucpro_assets.pipeline"], **chosen)

    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "expected the model's files" in refused.stderr
    assert run.exit_code == 0, run.stderr
    assert "warning" not in run.stderr
    assert len((place.folder / "out" / "prediction_results.txt").read_text().splitlines()) > 1
    assert len(hub.requests) == before

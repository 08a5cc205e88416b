"""Versions of classifiers: kept once, taken into use, gone back from, and never used when damaged."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from virnucpro_assets.demo.paths import classifier_folder
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.files.digests import sha256_of_file
from virnucpro_assets.models.cards import read_card
from virnucpro_assets.models.classifier import load_classifier, save_classifier
from virnucpro_assets.models.versions import CONFIGURED, ClassifierVersions, Version, VersionRecord
from virnucpro_assets.reports.classifier_pages import version_lines
from virnucpro_assets.settings import Settings
from virnucpro_assets_tests.damage import flip_byte


@pytest.fixture
def versions(tmp_path: Path) -> ClassifierVersions:
    return Settings(data_root=tmp_path).classifier_versions(300)


def keep(versions: ClassifierVersions, change: float, *, day: int = 1, microsecond: int = 0) -> Version:
    """The demo's classifier with one weight changed, as a version."""
    state = load_classifier(classifier_folder(300))[0].state_dict()
    state = {name: tensor.clone() for name, tensor in state.items()}
    state["output_layer.bias"] += torch.tensor([change, 0.0])
    with versions.adding() as folder:
        save_classifier(folder, state, read_card(classifier_folder(300)))
        record = VersionRecord(
            digest=sha256_of_file(folder / "model.safetensors"),
            made_at=datetime(2026, 1, day, microsecond=microsecond, tzinfo=UTC),
            training_set="s",
            options={},
            accepted=True,
            verdict="",
            files={},
        )
        return versions.keep(folder, record)


def test_a_version_is_named_by_the_digest_of_its_weights_and_kept_once(versions):
    first = keep(versions, 1.0)
    assert first.name == sha256_of_file(first.path / "model.safetensors")[:12]
    again = keep(versions, 1.0, day=2)
    assert (again.name, again.record.made_at.day) == (first.name, 1)
    second = keep(versions, 2.0, day=3)
    assert versions.names() == [first.name, second.name]
    assert not list(versions.root.glob(".new*"))


def test_versions_of_one_second_are_listed_in_the_order_in_which_they_were_made(versions):
    made = [keep(versions, float(number), microsecond=number).name for number in range(1, 5)]
    assert made != sorted(made)
    assert versions.names() == made


def test_the_settings_resolve_to_the_version_in_use_and_back_again(versions, tmp_path):
    settings = Settings(data_root=tmp_path)
    configured = settings.classifier_folder(300)
    assert (versions.in_use(), configured) == (CONFIGURED, classifier_folder(300))
    first, second = keep(versions, 1.0), keep(versions, 2.0)
    for version in (first, second):
        versions.use(version.name)
        versions.use(version.name)
        assert settings.classifier_folder(300) == version.path
    assert settings.classifier_folder(500) == classifier_folder(500)
    assert versions.rollback() == first.name
    assert settings.classifier_folder(300) == first.path
    assert versions.rollback() == CONFIGURED
    assert settings.classifier_folder(300) == configured
    with pytest.raises(InputError, match="no activation before"):
        versions.rollback()


def test_the_classifier_of_the_settings_can_be_chosen_too(versions):
    version = keep(versions, 1.0)
    versions.use(version.name)
    versions.use(CONFIGURED)
    assert versions.folder_in_use() is None
    assert versions.rollback() == version.name


@pytest.mark.parametrize("name", ["0" * 12, "../300", "in_use.toml", ""])
def test_what_is_no_version_cannot_be_used(versions, name):
    kept = keep(versions, 1.0)
    with pytest.raises(InputError, match=f"no such version; expected {kept.name}, configured"):
        versions.use(name)
    assert versions.in_use() == CONFIGURED


def test_a_damaged_version_in_use_is_refused_and_not_replaced_by_another(versions, tmp_path):
    version = keep(versions, 1.0)
    versions.use(version.name)
    flip_byte(version.path / "model.safetensors", -1)
    with pytest.raises(IntegrityError, match="found SHA-256"):
        Settings(data_root=tmp_path).classifier_folder(300)
    version.path.rename(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="expected the classifier in use"):
        Settings(data_root=tmp_path).classifier_folder(300)
    assert versions.rollback() == CONFIGURED


def test_a_damaged_pointer_is_refused(versions, tmp_path):
    versions.use(keep(versions, 1.0).name)
    pointer = versions.root / "in_use.toml"
    pointer.write_text(pointer.read_text().replace("2", "3"))
    with pytest.raises(IntegrityError, match="does not match the SHA-256 in its first line"):
        Settings(data_root=tmp_path).classifier_folder(300)


def test_a_damaged_version_hides_no_other_in_the_list(versions, tmp_path):
    whole, damaged = keep(versions, 1.0), keep(versions, 2.0)
    (damaged.path / "version.toml").write_text("x")
    lines = list(version_lines(Settings(data_root=tmp_path)))
    assert versions.names() == [damaged.name, whole.name]
    assert [line.split()[3] for line in lines[1:3]] == [damaged.name, whole.name]
    assert "damaged" in lines[1]
    assert "damaged" not in lines[2]

"""Files of a class become drops that teach, for whose predictions nobody waits."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from virnucpro_assets.errors import InputError
from virnucpro_assets.intake.registration import list_drop, register_reads
from virnucpro_assets.maintenance.overdue import overdue_drops
from virnucpro_assets.reports.drop_state import missing_drops
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.training.labelled_drops import is_embedded, labelled_paths, register_labelled
from virnucpro_assets.training.labels import LabelledDrop


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in (
        "phages.fa",
        "others/b.fa",
        "others/a.fa.gz",
        "others/.hidden",
        "others/more/c.fa",
        "x/phages.fa",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(">a\nATGGCTGCA\n")
    return tmp_path


def test_a_file_or_a_folder_is_a_drop_called_by_its_class_and_name(files: Path):
    settings = Settings(data_root=files / "data")
    paths = labelled_paths([files / "phages.fa", files / "x" / "phages.fa"], [files / "others"])
    register_labelled(paths, settings, chunk_length=500, replace=False)
    assert list(paths) == [
        LabelledDrop(drop="virus-phages", label="virus"),
        LabelledDrop(drop="virus-phages-2", label="virus"),
        LabelledDrop(drop="others-others", label="others"),
    ]
    source = DropStore(settings.data_root).source("others-others")
    assert [file.path.name for file in source.files] == ["a.fa.gz", "b.fa"]
    assert (source.label, source.chunk_length) == ("others", 500)
    assert not is_embedded("others-others", settings)


def test_a_folder_without_a_file_is_refused(files: Path):
    (files / "empty").mkdir()
    with pytest.raises(InputError, match="a folder without a file"):
        register_labelled(
            labelled_paths([files / "empty"], []),
            Settings(data_root=files / "data"),
            chunk_length=300,
            replace=False,
        )


def test_nobody_waits_for_predictions_of_a_drop_that_teaches(files: Path):
    settings = Settings(data_root=files / "data", drops_folder=files / "none")
    register_reads("ordinary", [ReadFile(files / "phages.fa")], settings)
    register_labelled(labelled_paths([files / "phages.fa"], []), settings, chunk_length=300, replace=False)
    for key in ("ordinary", "virus-phages"):
        list_drop(key, settings)
    assert list(missing_drops(settings, {})) == ["ordinary"]
    assert list(overdue_drops(settings, datetime.now(UTC) + timedelta(hours=100))) == ["ordinary"]

"""What a report is gathered from: its provenance is that of the files, the models and the run of the drop."""

from datetime import UTC, datetime
from pathlib import Path

from virnucpro_assets import __version__
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.files.digests import record_of_file, sha256_of_file
from virnucpro_assets.models.folders import WEIGHTS_FILE, read_model_folder
from virnucpro_assets.reports.drop_report import InputFigures
from virnucpro_assets.reports.gather import gather_report
from virnucpro_assets.vocabulary import ENCODER_KINDS


def test_the_provenance_of_a_report_is_that_of_the_drop(finished: DropWork, small_reads: Path) -> None:
    report, settings = gather_report(finished), finished.settings
    record = record_of_file(small_reads)
    assert report.inputs == [InputFigures(name=small_reads.name, size=record.size, digest=record.sha256)]
    assert report.inputs_not_shown == 0
    assert report.made_by == f"virnucpro-assets {__version__}"
    classifier = settings.classifier_folder(300)
    assert {model.role: (model.name, model.digest) for model in report.models} == {
        kind: (settings.encoder_folder(kind).name, read_model_folder(settings.encoder_folder(kind)).digest)
        for kind in ENCODER_KINDS
    } | {"classifier": (classifier.name, sha256_of_file(classifier / WEIGHTS_FILE))}
    made = datetime.strptime(report.made_at, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    assert 0 <= (datetime.now(UTC) - made).total_seconds() < 3600

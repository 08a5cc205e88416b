"""Files of a class as drops: registered like all others, and listed in a table of labels."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from virnucpro_assets.checks.gate import require_passed, subjects_of_merged
from virnucpro_assets.checks.results import CheckError
from virnucpro_assets.drops.stage_locks import registration_lock
from virnucpro_assets.drops.work import DropWork, fitting_merged
from virnucpro_assets.errors import InputError, IntegrityError
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.intake.registration import key_from_name, register_reads
from virnucpro_assets.sequences.read_files import ReadFile, pair_files
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore
from virnucpro_assets.training.labels import LabelledDrop
from virnucpro_assets.vocabulary import LABELS


def labelled_paths(virus: Sequence[Path], others: Sequence[Path]) -> dict[LabelledDrop, Path]:
    """Each path, a file of reads or a folder of them, as a drop of its class, named by class and path."""
    labelled: dict[str, tuple[LabelledDrop, Path]] = {}
    for label in LABELS:
        for path in virus if label == "virus" else others:
            key = _free_key(f"{label}-{key_from_name(path)}"[:60], labelled)
            labelled[key] = LabelledDrop(drop=key, label=label), path
    return dict(labelled.values())


def register_labelled(
    paths: Mapping[LabelledDrop, Path], settings: Settings, *, chunk_length: int, replace: bool
) -> None:
    """Register labelled drops; InputError for a folder without a file, and as `register_reads` does."""
    for one, path in paths.items():
        register_reads(
            one.drop, _files_of(path), settings, chunk_length=chunk_length, label=one.label, replace=replace
        )


@contextmanager
def registration_locks(
    labelled: Iterable[LabelledDrop], settings: Settings, report: Reporter
) -> Iterator[None]:
    """Hold the registrations of labelled drops for the block, as `registration_lock` does of one."""
    with ExitStack() as held:
        for key in sorted({one.drop for one in labelled}):
            held.enter_context(registration_lock(key, settings, report))
        yield


def is_embedded(drop: str, settings: Settings) -> bool:
    """Whether the registered files of a drop are embedded and merged under these settings, and their checks passed."""
    if not DropStore(settings.data_root).is_listed(drop):
        return False
    try:
        work = DropWork.on(drop, settings)
        require_passed(work, subjects_of_merged(work.index.manifest.digest, fitting_merged(work)))
    except (IntegrityError, CheckError):
        return False
    return True


def _files_of(path: Path) -> list[ReadFile]:
    if not path.is_dir():
        return [ReadFile(path)]
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files:
        raise InputError(
            path,
            found="a folder without a file",
            expected="files of reads or genomes",
            advice="Give the folder that contains the files; its subfolders are not read.",
        )
    return pair_files(files)


def _free_key(key: str, taken: Collection[str]) -> str:
    """The key, with a number appended if another path of the command has the same key."""
    return next(
        free
        for number in range(1, 10_000)
        if (free := key if number == 1 else f"{key}-{number}") not in taken
    )

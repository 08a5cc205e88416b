"""The first stage of a drop: its index, from the files that were registered."""

from virnucpro_assets.drops.disk_space import check_data_root, index_bytes, require_disk_space
from virnucpro_assets.drops.recipes import index_origin
from virnucpro_assets.drops.stage_locks import stage_lock
from virnucpro_assets.drops.stage_records import recorded_stage
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.inference.progress import Progress
from virnucpro_assets.sequences.index_builder import build_index
from virnucpro_assets.sequences.index_manifest import IndexManifest, IndexOrigin, reuse_existing_index


def index_drop(work: DropWork) -> IndexManifest:
    """Read the files of a drop and build its index, or keep the one that is there.

    Raises IntegrityError if a file changed since the drop was listed, InputError if one is no
    file of reads, InsufficientDiskSpaceError if the disk has too little room.
    """
    drop = work.drop
    with stage_lock(work, "index"):
        drop.check_files()
        origin = index_origin(drop, work.settings)
        manifest = reuse_existing_index(work.folder.index, origin, work.report) or _build_index(work, origin)
    for remark in manifest.remarks:
        work.report(f"note: {remark}")
    if not manifest.reads:
        work.report(f"warning: drop {drop.key} holds no reads; every output will be empty")
    elif not manifest.rows:
        work.report(
            f"warning: no read of drop {drop.key} has a stop-free frame; the tables of calls will be empty"
        )
    return manifest


def _build_index(work: DropWork, origin: IndexOrigin) -> IndexManifest:
    drop = work.drop
    check_data_root(work.folder.path)
    require_disk_space(work.folder.path, index_bytes(drop.read_files), f"the index of drop {drop.key}")
    with recorded_stage(work.folder.stages, "index") as figures:
        progress = Progress("index", "read", None, work.report)
        manifest = build_index(drop.read_files, work.folder.index, origin, progress=progress.advance)
        figures.update({"reads": manifest.reads, "members": manifest.members, "rows": manifest.rows})
    return manifest

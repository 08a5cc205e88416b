"""What failed is made again, in this process: the command `virnucpro retry`."""

from collections.abc import Callable, Sequence

import dagster as dg

from virnucpro_assets.defs.attempts import failed_drops
from virnucpro_assets.defs.held_back import held_back
from virnucpro_assets.defs.partitions import Partitions
from virnucpro_assets.defs.process_runs import fail_dead_runs
from virnucpro_assets.defs.runs import Job, make_again
from virnucpro_assets.defs.standing import GOING_ON, Standing
from virnucpro_assets.errors import InputError, VirnucproError
from virnucpro_assets.settings import Settings


def repair_drops(
    jobs: tuple[Job, Job, Job],
    instance: dg.DagsterInstance,
    settings: Settings,
    drops: Sequence[str],
    report: Callable[[str], None],
) -> list[VirnucproError]:
    """Make again what failed and what depends on it, and nothing else, drop by drop; returns the errors.

    What a blocking check holds back is made again too, so that the check runs again. Without names all drops
    of which something failed, the oldest failure first; of drops that are named also what was never made.
    `report` is told of each drop how it ended.
    """
    fail_dead_runs(instance)
    standing = Standing.of(instance, Partitions(settings.ranks))
    errors: list[VirnucproError] = []
    for drop in drops or [failed.drop for failed in failed_drops(instance, standing)]:
        try:
            report(f"{drop}: {_repair(jobs, instance, standing, settings, drop, named=bool(drops))}")
        except VirnucproError as error:
            report(f"{drop}: {error}")
            errors.append(error)
    return errors


def _repair(
    jobs: tuple[Job, Job, Job],
    instance: dg.DagsterInstance,
    standing: Standing,
    settings: Settings,
    drop: str,
    *,
    named: bool,
) -> str:
    if drop not in standing.drops:
        raise InputError(
            f"drop {drop}",
            found="no partition of this name",
            expected="a drop that was worked on",
            advice=f"Check the name, or run `virnucpro materialize {drop}`.",
        )
    if standing.having(drop, GOING_ON):
        return "something of it goes on; not touched"
    held = held_back(drop, settings)
    work = standing.left_over(drop, held) if named else standing.to_repair(drop, held)
    if not work:
        return "nothing failed"
    make_again(jobs, instance, standing.partitions, drop, work)
    return "done"

"""What of a drop is made, but held back: a blocking check of it did not pass, or has not run.

Dagster counts it as made. Whoever makes failed work again must make it again too, or its checks would not
run, and everything after it would be refused.
"""

from virnucpro_assets.defs.standing import Work
from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.reports.check_pages import gather_checks
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.drops import DropStore


def held_back(drop: str, settings: Settings) -> Work:
    """The partitions of a drop without a pass of each of their blocking checks, whether they are made or not."""
    if not DropStore(settings.data_root).was_listed(drop):
        return {}
    try:
        report = gather_checks(DropWork.on(drop, settings, lambda _: None))
    except IntegrityError:
        # Whoever works on the drop reports the damaged record; other drops must not wait for that.
        return {}
    found: Work = {}
    for check in report.checks:
        if check.blocking and check.state != "passed":
            key = drop if check.rank is None else f"{drop}|{check.rank}"
            found.setdefault(check.asset, set()).add(key)
    return found

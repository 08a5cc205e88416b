"""Token budgets: the number of the settings, or for each encoder the size that was measured to be fastest.

A measured budget belongs to the data root, and is measured once: when embedding begins and there
is none. From then on it is as frozen as a number in the settings, so that what is computed stays
a function of the index and of what is stored. Whoever only compares recipes reads it and needs
no device. It does not depend on which of several GPUs measured it: the ranks of one drop, which
may be computed on different ones, must have one budget.
"""

from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.locks import locked
from virnucpro_assets.inference.budgets import SIZES
from virnucpro_assets.inference.devices import names_gpus
from virnucpro_assets.inference.messages import BudgetTask, EncoderChoice
from virnucpro_assets.inference.pool import Lease
from virnucpro_assets.inference.progress import Reporter
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.token_budgets import BudgetSubject, MeasuredBudget, read_budget

SECONDS = 30.0
"""About how long the sizes of one encoder are timed; a size that would take longer is not tried."""


def token_budget(settings: Settings, encoder: EncoderChoice) -> int:
    """Tokens of a pack of an encoder under the settings.

    Raises IntegrityError if it is to be measured and was not yet, or if what was measured is damaged.
    """
    budget = known_budget(settings, encoder)
    if budget is None:
        path = settings.budgets_folder / budget_subject(settings, encoder).file_name
        raise IntegrityError(
            f"{path}: found no file; expected the token budget that was measured for {encoder.kind} in "
            f"{encoder.precision}. Materialise {encoder.kind}_embeddings again, or call `virnucpro models budgets`."
        )
    return budget


def known_budget(settings: Settings, encoder: EncoderChoice) -> int | None:
    """As `token_budget`, None if it is to be measured and was not yet."""
    if settings.fixed_budget is not None:
        return settings.fixed_budget
    measured = measured_budget(settings, encoder)
    return None if measured is None else measured.token_budget


def measured_budget(settings: Settings, encoder: EncoderChoice) -> MeasuredBudget | None:
    """What was measured for an encoder, None if nothing was. Raises IntegrityError if it is damaged."""
    return read_budget(settings.budgets_folder, budget_subject(settings, encoder))


def budget_subject(settings: Settings, encoder: EncoderChoice) -> BudgetSubject:
    """What the budget of an encoder is measured for."""
    has_gpus = names_gpus(settings.devices, visible=settings.visible_gpus)
    return BudgetSubject(
        encoder=encoder.kind,
        weights_digest=encoder.digest,
        precision=encoder.precision,
        attention=encoder.attention,
        fused=encoder.fused,
        device_kind="cuda" if has_gpus else "cpu",
    )


def ensure_budget(settings: Settings, encoder: EncoderChoice, lease: Lease, report: Reporter) -> None:
    """Measure the budget of an encoder if the settings want that and nobody has; say where it comes from."""
    if settings.fixed_budget is None:
        measured = measured_budget(settings, encoder) or measure_budget(settings, encoder, lease, report)
        report(f"{encoder.kind}: packs of {measured.token_budget} tokens, {measured.note}")


def measure_budget(
    settings: Settings, encoder: EncoderChoice, lease: Lease, report: Reporter, *, again: bool = False
) -> MeasuredBudget:
    """Measure the budget of an encoder on a device of the lease and keep it; what another run measured
    meanwhile is taken, unless `again` asks for a new one.

    Raises BusyError if another run measures it and the settings say refuse, DeviceError if no device can.
    """

    def about_to_wait(line: str) -> None:
        # Whoever measures may be waiting for these devices.
        lease.rest()
        report(line)

    subject = budget_subject(settings, encoder)
    target = settings.budgets_folder / subject.file_name
    lock, owner = target.with_suffix(".lock"), f"the token budget of {encoder.kind}"
    with locked(lock, owner, settings.when_busy, about_to_wait):
        if not again and (there := measured_budget(settings, encoder)):
            return there
        report(
            f"{encoder.kind}: measuring how many tokens a pack should have, about {SECONDS:.0f} seconds at most"
        )
        task = BudgetTask(
            encoder=encoder,
            subject=subject,
            chunk_length=settings.chunk_length,
            packs_per_part=settings.packs_per_part,
            sizes=list(SIZES),
            seconds=SECONDS,
            target=target,
        )
        lease.complete([task], report)
        # What the process holds for the largest packs is given back, and the peak of memory that is
        # reported for parts is theirs.
        lease.rest()
    measured = measured_budget(settings, encoder)
    if measured is None:
        raise IntegrityError(f"{target}: found no file after it was written; expected the measured budget.")
    return measured

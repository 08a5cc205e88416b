"""Token budgets as a person asks for them: what was measured, in a table, and measuring it now."""

from collections.abc import Callable

from virnucpro_assets.pipeline.budgets import measure_budget, measured_budget
from virnucpro_assets.pipeline.devices import open_pool
from virnucpro_assets.pipeline.model_pages import MIB, table
from virnucpro_assets.pipeline.recipes import EncoderChoices
from virnucpro_assets.settings import Settings
from virnucpro_assets.storage.token_budgets import MeasuredBudget, SizeRate


def show_budgets(settings: Settings, say: Callable[[str], None], *, again: bool = False) -> None:
    """Say what was measured of each encoder in use, measured now where nothing was or with `again`.

    Raises as `measure_budget` does.
    """
    with open_pool(settings) as pool, pool.lease() as lease:
        for kind, encoder in EncoderChoices(settings).items():
            former = None if again else measured_budget(settings, encoder)
            found = former or measure_budget(settings, encoder, lease, say, again=again)
            for line in budget_lines(found):
                say(line)
            if settings.fixed_budget is not None:
                say(
                    f"{kind} uses {settings.fixed_budget}, the number of the settings; "
                    f"VIRNUCPRO_TOKEN_BUDGET=measured uses {found.token_budget}"
                )
            say("")


def budget_lines(budget: MeasuredBudget) -> list[str]:
    """What was measured of one encoder: where, when, and a line a size."""
    subject = budget.subject
    kernels = f"{subject.attention}{', fused' if subject.fused else ''}"
    return [
        f"{subject.encoder} {subject.weights_digest[:12]} in {subject.precision} ({kernels}): packs of "
        f"{budget.token_budget} tokens",
        f"measured {budget.measured_at} on {budget.device} in {budget.seconds:.1f} s, frames of chunks of "
        f"{budget.chunk_length} bases",
        *table(("tokens", "tokens a second", "MiB at most"), [_row(size) for size in budget.sizes]),
    ]


def _row(size: SizeRate) -> tuple[str, ...]:
    rate = "does not fit" if size.tokens_per_second is None else f"{size.tokens_per_second:,.0f}"
    return (str(size.tokens), rate, f"{size.peak_memory / MIB:,.0f}")

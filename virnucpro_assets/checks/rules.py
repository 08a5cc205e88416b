"""All checks of a drop: what each looks at, its threshold, and the reason for it.

A result says what was found. A rule also exists for a check that has not run, so that reports and the UI can list it.
"""

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.checks.results import (
    COMPLETE,
    EFFICIENT,
    EVERY_READ,
    FINITE,
    FLOAT16,
    PACKED,
    PRECISION_IN_USE,
)
from virnucpro_assets.settings import Settings
from virnucpro_assets.vocabulary import ENCODER_KINDS


class CheckRule(BaseModel):
    """A check of an asset: what it looks at, its threshold under the present settings, and the reason for that.

    `by_rank` if there is one result per rank. `blocking` if later stages need it to pass. `settings` are the names of
    the settings with the threshold; empty if it is fixed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    name: str
    what: str
    threshold: str
    reason: str
    blocking: bool = True
    by_rank: bool = False
    settings: list[str] = []


def check_rules(settings: Settings) -> list[CheckRule]:
    """All checks of a drop, in the order in which they run."""
    return [
        CheckRule(
            asset="sequence_index",
            name="every_read_accounted_for",
            what="Each read has candidates, or a reason why it has none.",
            threshold=EVERY_READ,
            reason="A read with neither a call nor a reason would be lost silently. "
            "These are counts, so they must be equal.",
        ),
        *(rule for kind in ENCODER_KINDS for rule in _shard_rules(f"{kind}_embeddings", settings)),
        CheckRule(
            asset="merged_embeddings",
            name="completeness",
            what="Each row of the index once, in the right order, every digest as recorded.",
            threshold=COMPLETE,
            reason="A missing file of a view reads as NaN without an error, and a row in the wrong place gets "
            "the score of another sequence. So all rows are counted and every byte is compared.",
        ),
        *precision_rules(settings).values(),
    ]


def _shard_rules(asset: str, settings: Settings) -> list[CheckRule]:
    return [
        CheckRule(
            asset=asset,
            name="finite_values",
            what="No embedding holds NaN or Inf. Quarantined sequences are a warning.",
            threshold=FINITE,
            reason="Results computed from NaN or Inf are meaningless. Quarantined sequences are listed, left "
            "out of the results and counted here: that is a warning, which does not hold the results back.",
            by_rank=True,
            settings=["quarantine"],
        ),
        CheckRule(
            asset=asset,
            name="packing_efficiency",
            what="Tokens in packs over what the packs could hold.",
            threshold=EFFICIENT.format(settings.min_packing_efficiency),
            reason="Sequences sorted by length fill their packs almost completely; a lower figure means a token budget "
            "that does not fit them, and wasted time of the devices. Results are the same, so this is only a "
            "warning. Shards of fewer than ten packs a part are not judged: their last packs are partly empty.",
            blocking=False,
            by_rank=True,
            settings=["min_packing_efficiency", "token_budget"],
        ),
    ]


def precision_rules(settings: Settings) -> dict[str, CheckRule]:
    """The rules of PRECISION_CHECKS, by name."""
    agreement = f"cosine at least {settings.min_cosine}, equal labels at least {settings.min_label_agreement}"
    difference = ""
    if settings.precision == "float32":
        difference = f", largest difference at most {settings.max_packed_difference}"
    common = ["min_cosine", "min_label_agreement", "check_sample"]
    rules = [
        CheckRule(
            asset="predictions",
            name=PRECISION_IN_USE,
            what="Stored embeddings, in the precision in use, against float32: cosine of each sequence, and labels.",
            threshold=agreement,
            reason="Rounding in half precision gives cosines near 0.9999; ten times that distance is more than "
            "rounding. Labels may differ only where both scores are almost equal, at most one in fifty.",
            settings=common,
        ),
        CheckRule(
            asset="predictions",
            name=FLOAT16,
            what="The same sequences computed in float16 against float32.",
            threshold=agreement,
            reason="Shows whether these sequences could be computed in float16. It holds results back only if float16 "
            "is in use.",
            blocking=settings.precision == "float16",
            settings=common,
        ),
        CheckRule(
            asset="predictions",
            name=PACKED,
            what="Stored embeddings, computed packed, against the same sequences one at a time.",
            threshold=agreement + difference,
            reason="A sequence must get the same embedding whatever else is in its pack. In float32 only the "
            "order of sums may differ, so the largest difference of any number is bounded as well as the cosine.",
            settings=[*common, "max_packed_difference"],
        ),
    ]
    return {rule.name: rule for rule in rules}

"""The checks of a drop: each returns a `CheckResult` with the figures and the threshold that decided.

Results are stored beside the drop, so that reports show them whoever ran the check. A result has the digest of what was
checked: once that is made again from something else, the result is out of date and is not shown.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from virnucpro_assets.drops.work import DropWork
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.files.manifests import read_manifest, write_manifest
from virnucpro_assets.inference.shard_runs import EmbeddingError
from virnucpro_assets.storage.merged import merged_rows, read_merged, read_merged_rows
from virnucpro_assets.storage.shards import ShardManifest

PRECISION_IN_USE = "precision_in_use_matches_float32"
FLOAT16 = "float16_matches_float32"
PACKED = "packed_matches_one_at_a_time"
PRECISION_CHECKS = (PRECISION_IN_USE, FLOAT16, PACKED)

EVERY_READ = "reads = reads with candidates + reads with a reason"
FINITE = "no NaN and no Inf"
EFFICIENT = "at least {}"
COMPLETE = "each row of the index once, rank after rank; every digest as recorded"
"""The thresholds of the other checks; that of `packing_efficiency` has a place for the setting."""

_SAME = ("min_cosine", "candidate_label_agreement", "chunk_label_agreement")
DECIDING = {
    "finite_values": ("quarantined",),
    "packing_efficiency": ("efficiency",),
    **dict.fromkeys(PRECISION_CHECKS, _SAME),
    PACKED: (*_SAME, "largest_difference"),
}
"""The figures that decide a check which has other figures too."""
IN_WORDS = {
    "min_cosine": "lowest cosine",
    "candidate_label_agreement": "equal labels of candidates",
    "chunk_label_agreement": "equal labels of chunks",
    "quarantined": "sequences in quarantine",
}
NOT_JUDGED = "not judged"
"""The first words of the threshold of a check that cannot judge what it found, and passes."""
_PRECISE = "`virnucpro materialize {drop} --replace` with precision float32"
REMEDIES = {
    "every_read_accounted_for": "`virnucpro retry {drop}`; if it fails again, report it as a fault of this program",
    "finite_values": "`virnucpro retry {drop}`; if it fails again, set quarantine to not_scored",
    "packing_efficiency": "nothing: the results are the same; another token_budget would compute them faster",
    PRECISION_IN_USE: _PRECISE,
    FLOAT16: _PRECISE,
    PACKED: "`virnucpro retry {drop}`; if it fails again, materialize it with attention plain and --replace",
}
"""What to do about a failed check; for other checks: retry."""


class CheckError(VirnucproError):
    """A blocking check did not pass."""

    exit_code = 5


class CheckResult(BaseModel):
    """The outcome of one check of an asset, of one rank where the asset is cut into ranks.

    `subject` is the digest of what was checked; empty if that was never finished.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    name: str
    passed: bool
    threshold: str
    figures: dict[str, int | float | str] = {}
    rank: int | None = None
    blocking: bool = True
    subject: str = ""

    @property
    def file_name(self) -> str:
        rank = "" if self.rank is None else f".{self.rank:02d}"
        return f"{self.asset}.{self.name}{rank}.toml"


def record_check(folder: Path, result: CheckResult) -> CheckResult:
    """Store a result of a drop, replacing an earlier one of the same check; returns it."""
    write_manifest(folder / result.file_name, result)
    return result


def require_pass(drop: str, result: CheckResult) -> None:
    """Raise CheckError if a blocking check of a drop failed."""
    if result.blocking and not result.passed:
        raise CheckError(
            f"check {check_title(result.name, result.asset, result.rank)}: "
            f"{sentence(result.name, result.figures, result.threshold)}. The results of drop {drop} are held back. "
            f"Look: `virnucpro checks {drop}`; then: {remedy(result.name, drop)}."
        )


def check_title(name: str, asset: str, rank: int | None) -> str:
    """A check in a message: `NAME of ASSET`, with the rank if it has one."""
    return f"{name} of {asset}" + ("" if rank is None else f" rank {rank}")


def outcome(*, passed: bool, threshold: str) -> str:
    """The outcome of a check in a word or two: passed, failed or not judged."""
    if passed and threshold.startswith(NOT_JUDGED):
        return NOT_JUDGED
    return "passed" if passed else "failed"


def sentence(name: str, figures: Mapping[str, int | float | str], threshold: str) -> str:
    """What a check found and its threshold: the figures that decided, or the reason why there are none."""
    decided = {key: figures[key] for key in DECIDING.get(name, ()) if key in figures}
    shown = {"reason": figures["reason"]} if "reason" in figures else decided or figures
    found = ", ".join(
        f"{IN_WORDS.get(key, key.replace('_', ' '))} {figure(value)}" for key, value in shown.items()
    )
    return f"{found.removeprefix('reason ')}; needed {threshold}"


def remedy(name: str, drop: str) -> str:
    """What to do about a check that did not pass."""
    return REMEDIES.get(name, "`virnucpro retry {drop}`").format(drop=drop)


def read_checks(folder: Path, subjects: Mapping[str, str]) -> list[CheckResult]:
    """The results of a drop for `subjects` (digest by asset), sorted by asset, name and rank."""
    results = [read_manifest(path, CheckResult) for path in sorted(folder.glob("*.toml"))]
    return [result for result in results if subjects.get(result.asset) == result.subject]


def every_read_accounted_for(work: DropWork) -> CheckResult:
    """Each read has candidates or a reason why not."""
    index = work.index.manifest
    reads_with_members = sum(int((batch.members > 0).sum()) for batch in work.index.read_batches())
    without = sum(index.reasons.values())
    return CheckResult(
        asset="sequence_index",
        name="every_read_accounted_for",
        passed=index.reads == reads_with_members + without,
        threshold=EVERY_READ,
        figures={"reads": index.reads, "with_candidates": reads_with_members, **index.reasons},
        subject=index.digest,
    )


def finite_values(asset: str, shard: ShardManifest) -> CheckResult:
    """Every number of a finished shard is finite, except in quarantined rows.

    Those are NaN, which the policy `not_scored` allows: the check then fails as a warning and does not block.
    """
    incidents = shard.incidents
    return CheckResult(
        asset=asset,
        name="finite_values",
        passed=not incidents.quarantined,
        threshold=FINITE,
        figures={
            "rows": shard.rows,
            "values": shard.rows * shard.width,
            "recomputed_in_float32": len(incidents.recomputed),
            "quarantined": len(incidents.quarantined),
        },
        rank=shard.rank,
        blocking=not incidents.quarantined,
        subject=shard.recipe.digest,
    )


def not_finite(asset: str, rank: int, reason: str) -> CheckResult:
    """A rank that was not finished because of NaN or Inf; `reason` names the candidate."""
    return CheckResult(
        asset=asset,
        name="finite_values",
        passed=False,
        threshold=FINITE,
        figures={"reason": reason},
        rank=rank,
    )


def packing_efficiency(asset: str, shard: ShardManifest, minimum: float) -> CheckResult:
    """Tokens in packs over what the packs could hold.

    The last pack of a part has only the rows that are left, so parts of a few packs say nothing about the packing: only
    shards with at least ten packs a part are judged.
    """
    counts, budget, needed = shard.counts, shard.recipe.token_budget, EFFICIENT.format(minimum)
    efficiency = counts.efficiency(budget)
    judged = counts.packs >= 10 * max(1, len(shard.parts))
    return CheckResult(
        asset=asset,
        name="packing_efficiency",
        passed=efficiency >= minimum or not judged,
        threshold=needed if judged else f"{NOT_JUDGED} below 10 packs a part; else {needed}",
        figures={
            "efficiency": round(efficiency, 4),
            "tokens": counts.tokens,
            "packs": counts.packs,
            "token_budget": budget,
        },
        rank=shard.rank,
        blocking=False,
        subject=shard.recipe.digest,
    )


def shard_checks(shard: ShardManifest, minimum_efficiency: float) -> list[CheckResult]:
    """All checks of a finished shard."""
    asset = f"{shard.recipe.encoder}_embeddings"
    return [finite_values(asset, shard), packing_efficiency(asset, shard, minimum_efficiency)]


def failure_checks(error: EmbeddingError) -> list[CheckResult]:
    """The failed checks of the shards that were not finished because of NaN or Inf."""
    return [
        not_finite(f"{kind}_embeddings", rank, error.failures[kind, rank])
        for kind, rank in sorted(error.not_finite)
    ]


def completeness(work: DropWork) -> CheckResult:
    """The merged view holds each row of the index exactly once, in the order of the shards.

    Every byte of every part is read for its digest; what follows in the same step does not do so again.
    """
    manifest = read_merged(work.folder.path, verified=work.verified)
    index = work.index.manifest
    found = read_merged_rows(work.folder.path)
    expected = merged_rows([len(range(rank, index.rows, index.ranks)) for rank in range(index.ranks)])
    equal = len(found) == len(expected) and bool((found == expected).all())
    return CheckResult(
        asset="merged_embeddings",
        name="completeness",
        passed=equal,
        threshold=COMPLETE,
        figures={"index_rows": index.rows, "merged_rows": len(found), "parts": len(manifest.sources)},
        subject=manifest.digest,
    )


def figure(value: int | float | str) -> str:
    """A figure as text: integers with thousands separators, others with six digits, to show how near a threshold is."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"

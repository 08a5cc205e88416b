"""The report of a drop: its figures, and the page with them. Pictures are inline SVG."""

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from virnucpro_assets.checks.results import NOT_JUDGED, CheckResult, outcome
from virnucpro_assets.reports import plots
from virnucpro_assets.reports.histograms import Histogram
from virnucpro_assets.reports.pages import render_page
from virnucpro_assets.reports.tracks import Track

TEMPLATE = "drop_report.html"


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFigures(_Figures):
    """A model that the results of the drop depend on; `note` is a warning about it."""

    role: str
    name: str
    digest: str
    note: str = ""


class InputFigures(_Figures):
    """A file of the drop: its name, its bytes, and its SHA-256."""

    name: str
    size: int
    digest: str


class StageFigures(_Figures):
    """A stage by name, its wall-clock seconds, and what it did."""

    name: str
    seconds: float
    detail: str = ""


class RankFigures(_Figures):
    """A shard: what one rank computed with one encoder.

    Efficiency is tokens over capacity; MFU is the share of the device's peak rate, None if that is unknown. The
    device was idle for `waited_for_input` and `waited_for_output` seconds and used `memory_mib` at most.
    `cached_rows` came from the embedding cache, None if there was none.
    """

    encoder: str
    rank: int
    rows: int
    tokens: int
    tokens_per_second: float
    packing_efficiency: float
    device: str
    sequences_per_second: float = 0.0
    mfu: float | None = None
    waited_for_input: float = 0.0
    waited_for_output: float = 0.0
    memory_mib: int = 0
    cached_rows: int | None = Field(None, exclude_if=lambda cached: cached is None)


class LowComplexity(_Figures):
    """Chunks with a dust score above `above`, of all `chunks`; and Viral reads with at least half of such chunks."""

    above: float
    low_chunks: int
    chunks: int
    viral_reads: int


class CallRow(_Figures):
    """A read or contig with its call.

    `score` is its largest P(virus), `low_complexity` the share of its chunks that are low in complexity.
    """

    name: str
    length: int
    chunks: int
    call: str
    tier: str
    weighted_delta: float
    score: float
    low_complexity: float = 0.0


class QuarantinedFigures(_Figures):
    """A sequence that cannot be embedded: its first candidate, its number of candidates, its row, and the reason."""

    name: str
    members: int
    row: int
    encoder: str
    reason: str


class ErrorRateFigures(_Figures):
    """Reads whose q-value is at most `wanted`: how many, and the expected and the true share of wrong ones."""

    wanted: float
    reads: int
    expected: float | None
    true: float | None


class Evaluation(_Figures):
    """How well known labels are predicted: AUROC with its interval, a baseline, and shares of wrong calls."""

    auroc: float
    low: float
    high: float
    baseline: float
    baseline_name: str
    detail: str = ""
    error_rates: list[ErrorRateFigures] = []


class DropReport(_Figures):
    """All figures of a drop's report.

    `candidates` counts open frames and the `whole_chunks` of `reads_without_open_frame`,
    `unique_candidates` the distinct ones, which were computed. `calls` counts reads by call and tier, `reasons` reads
    without a call by reason, `routes` called reads by the classifier that scored them, if there are two.
    `made_at` is when the calls were made. `inputs` are the first of the drop's files.
    `expected_false_calls` is the expected number of Viral calls that are wrong, None without a calibration, if the
    share of viruses among the reads is `assumed_viral_share`, which the settings set or the calibration has;
    `uncalibrated` are the names of classifiers without one, whose reads have no q-value.
    `quarantined` counts sequences without an embedding, `quarantine` lists the first of them, and
    `not_scored_candidates` counts their candidates.
    """

    drop: str
    generation: str
    made_by: str
    made_at: str = ""
    settings: dict[str, str | int | float] = {}
    models: list[ModelFigures] = []
    inputs: list[InputFigures] = []
    inputs_not_shown: int = 0

    reads: int = 0
    bases: int = 0
    chunks: int = Field(0, description="chunks with at least one scored candidate")
    virus_chunks: int = 0
    candidates: int = 0
    unique_candidates: int = 0
    reads_without_open_frame: int = 0
    whole_chunks: int = 0
    remarks: list[str] = Field([], description="remarks on the names and letters of the reads")
    reasons: dict[str, int] = {}
    calls: dict[str, dict[str, int]] = {}
    routes: dict[str, int] = {}
    hits: int = 0
    pairs: int = Field(0, description="rows of the table of pairs, if it was wanted")
    expected_false_calls: float | None = None
    assumed_viral_share: float | None = None
    is_share_set: bool = False
    uncalibrated: list[str] = []
    q_values: Histogram | None = None
    low_complexity: LowComplexity | None = None
    tracks: list[Track] = []
    quarantined: int = 0
    quarantine: list[QuarantinedFigures] = []
    not_scored_candidates: int = 0

    stages: list[StageFigures] = []
    ranks: list[RankFigures] = []
    checks: list[CheckResult] = []
    scores: Histogram | None = None
    read_lengths: Histogram | None = None
    protein_lengths: Histogram | None = None
    top_calls: list[CallRow] = []
    evaluation: Evaluation | None = None

    @property
    def called_reads(self) -> int:
        """Reads that have a call."""
        return sum(count for tiers in self.calls.values() for count in tiers.values())

    @property
    def repeated_share(self) -> float:
        """Share of the candidates that repeat another one, 0 to 1."""
        return 1 - self.unique_candidates / self.candidates if self.candidates else 0.0

    @property
    def failed_checks(self) -> int:
        """How many checks failed."""
        return self._checks("failed")

    @property
    def passed_checks(self) -> int:
        """How many checks passed."""
        return self._checks("passed")

    @property
    def unjudged_checks(self) -> int:
        """How many checks could not judge: too little data."""
        return self._checks(NOT_JUDGED)

    def _checks(self, wanted: str) -> int:
        return sum(outcome(passed=one.passed, threshold=one.threshold) == wanted for one in self.checks)


def render_report(report: DropReport) -> str:
    """The report as one self-contained HTML page; the same figures give the same page."""
    return render_page(TEMPLATE, report=report, pictures=_pictures(report))


def with_links_beside(page: str) -> str:
    """The page for a folder in which the files of the results lie beside it, not in folders of their own."""
    # Data cannot contain this: its quotes are escaped.
    return page.replace('<a href="calls/', '<a href="').replace('<a href="predictions/', '<a href="')


def _pictures(report: DropReport) -> dict[str, Markup]:
    """The pictures for which there are figures, as SVG elements by name."""
    drawn: dict[str, bytes] = {}
    if report.called_reads:
        drawn["calls"] = plots.calls_by_tier(report.calls, form="svg")
    if report.scores and report.scores.total:
        drawn["scores"] = plots.score_histogram(report.scores, form="svg")
    if report.q_values and report.q_values.total:
        drawn["hits_by_fdr"] = plots.hits_by_fdr(report.q_values, form="svg")
    if report.tracks:
        drawn["tracks"] = plots.tracks(report.tracks, form="svg")
    if report.read_lengths and report.read_lengths.total:
        drawn["read_lengths"] = plots.length_distribution(report.read_lengths, "reads", "bases", form="svg")
    if report.protein_lengths and report.protein_lengths.total:
        drawn["protein_lengths"] = plots.length_distribution(
            report.protein_lengths, "proteins", "residues", form="svg"
        )
    speeds = [(f"{rank.encoder}, rank {rank.rank}", rank.tokens_per_second) for rank in report.ranks]
    if any(speed > 0 for _, speed in speeds):
        drawn["throughput"] = plots.throughput(dict(speeds), form="svg")
    if report.stages:
        drawn["stages"] = plots.stage_times(
            {stage.name: stage.seconds for stage in report.stages}, form="svg"
        )
    # The markup is matplotlib's own, which escapes every text in it.
    return {name: Markup(svg.decode()) for name, svg in drawn.items()}  # noqa: S704

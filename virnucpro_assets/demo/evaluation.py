"""How well scores tell viruses from others in the demo: AUROC beside that of GC content, and the rate of wrong calls.

The GC content of a read is what a classifier must beat: its direction is fixed on the training
excerpts, so it cannot profit from knowing the answer.

The interval takes reads as independent. Those of the demo overlap, so the true one is wider.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from virnucpro_assets.demo.excerpts import Excerpt, read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER
from virnucpro_assets.demo.truth import Truth
from virnucpro_assets.models.evaluation import Auroc, auroc

WANTED_RATES = (0.1, 0.15, 0.2, 0.25, 0.3)
"""The false discovery rates for which the expected and the true share of wrong reads are compared."""

_MISSING = float("nan")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores against the truth. Reads without a score are counted in `unscored` and left out."""

    viruses: int
    others: int
    unscored: int
    score: Auroc
    gc: Auroc


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """The reads whose q-value is at most `wanted`: how many, and the expected and the true share of others.

    Both shares are None without a read.
    """

    wanted: float
    reads: int
    expected: float | None
    true: float | None


def gc_content(bases: bytes) -> float:
    """The share of G and C among A, C, G and T; 0.5 when there is none of them."""
    upper = bases.upper()
    strong, weak = (sum(map(upper.count, letters)) for letters in ((b"G", b"C"), (b"A", b"T")))
    return strong / (strong + weak) if strong + weak else 0.5


def gc_direction(training: list[Excerpt]) -> int:
    """1 if the viruses among the excerpts have the higher GC content, else -1."""
    joined = {"virus": b"", "others": b""}
    for excerpt in training:
        joined[excerpt.label] += excerpt.letters.encode("ascii")
    return 1 if gc_content(joined["virus"]) > gc_content(joined["others"]) else -1


def evaluate(
    scores: Mapping[str, float],
    bases: Mapping[str, bytes],
    truth: Mapping[str, Truth],
    *,
    genome: str | None = None,
    data_folder: Path = DATA_FOLDER,
) -> Evaluation:
    """Compare a drop's scores by read id, the higher the more a virus, with the truth.

    `bases` gives the reads' letters for the baseline. With `genome`, only reads of seen or unseen
    genomes count. Artefacts never count; a read that is missing or NaN in `scores` is unscored.
    Raises ValueError as `auroc` does.
    """
    judged = [
        name
        for name, fact in truth.items()
        if fact.label != "artefact" and (genome is None or fact.genome == genome)
    ]
    scored = [name for name in judged if not np.isnan(scores.get(name, _MISSING))]
    is_virus = np.array([truth[name].label == "virus" for name in scored], np.bool_)
    gc = np.array([gc_content(bases[name]) for name in scored])
    direction = gc_direction(read_excerpts(data_folder, "training"))
    return Evaluation(
        viruses=int(is_virus.sum()),
        others=int((~is_virus).sum()),
        unscored=len(judged) - len(scored),
        score=auroc(np.array([scores[name] for name in scored]), is_virus),
        gc=auroc(direction * gc, is_virus),
    )


def error_rates(
    q_values: Mapping[str, float], truth: Mapping[str, Truth], wanted: Sequence[float] = WANTED_RATES
) -> list[ErrorRate]:
    """Compare q-values by read id with the truth, at each of the `wanted` rates. Artefacts never count."""
    names = [name for name in q_values if truth[name].label != "artefact"]
    values = np.array([q_values[name] for name in names])
    is_wrong = np.array([truth[name].label != "virus" for name in names], np.bool_)
    found = []
    for rate in wanted:
        taken = values <= rate
        any_taken = bool(taken.any())
        found.append(
            ErrorRate(
                wanted=rate,
                reads=int(taken.sum()),
                # The q-value of the least sure read is the mean over it and all that are surer.
                expected=float(values[taken].max()) if any_taken else None,
                true=float(is_wrong[taken].mean()) if any_taken else None,
            )
        )
    return found

"""`virnucpro retry`: of what failed, only that and what depends on it is made again."""

import subprocess
import sys
from pathlib import Path

import pytest

from virnucpro_assets_tests.deployments import Deployment
from virnucpro_assets_tests.held_ranks import held_rank

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

EMBEDDINGS = ("dnabert_s_embeddings", "esm2_embeddings")
AFTER = ("merged_embeddings", "predictions", "virus_calls", "drop_report")
ALL = ("sequence_drop", "sequence_index", *EMBEDDINGS, *AFTER)


def virnucpro(deployment: Deployment, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that finds held files and refuses."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("virnucpro")), *words],
        env=deployment.environment | {"VIRNUCPRO_WHEN_BUSY": "refuse"} | environment,
        cwd=deployment.root,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def failed(new_deployment) -> Deployment:
    """A deployment with a drop of which a rank failed, one that is finished, and one with a wrong file."""
    deployment = new_deployment()
    deployment.deliver("rank", 6)
    deployment.deliver("whole", 4, first=20)
    deployment.deliver("wrong", 0, text="@read\nACGT\n+\nII\n")
    assert virnucpro(deployment, "materialize", "wrong").returncode == 2
    assert virnucpro(deployment, "materialize", "whole").returncode == 0
    assert deployment.run("index_drop", "rank").success
    with held_rank(deployment, "rank", "esm2", 1):
        refused = virnucpro(deployment, "materialize", "rank")
    assert refused.returncode == 4, refused.stderr
    return deployment


def test_retry_makes_the_failed_rank_and_what_follows_and_says_what_fails_again(failed: Deployment) -> None:
    made = failed.made(*ALL)
    assert "rank|1" not in made["esm2_embeddings"]

    done = virnucpro(failed, "retry")

    after = {asset: keys[len(made[asset]) :] for asset, keys in failed.made(*ALL).items()}
    assert {asset: keys for asset, keys in after.items() if keys} == {
        "sequence_drop": ["wrong"],
        "esm2_embeddings": ["rank|1"],
        **{asset: ["rank"] for asset in AFTER},
    }
    lines = done.stdout.splitlines()
    assert done.returncode == 2
    assert lines[0].startswith(f"wrong: {failed.root / 'drops' / 'wrong' / 'wrong.fastq'}")
    assert lines[1:] == ["rank: done"]


def test_a_drop_in_order_is_not_touched_and_an_unknown_one_is_refused(failed: Deployment) -> None:
    made = failed.made(*ALL)

    done = virnucpro(failed, "retry", "whole", "nobody")

    assert failed.made(*ALL) == made
    assert done.stdout.splitlines()[0] == "whole: nothing failed"
    assert done.stdout.splitlines()[1].startswith("nobody: found no such drop")
    assert done.returncode == 2

"""What is to be made of a drop, from the statuses of its partitions."""

import pytest

from virnucpro_assets.defs import statuses as module
from virnucpro_assets.defs.partitions import ASSETS, OF_CALL, Partitions
from virnucpro_assets.defs.statuses import AT_WORK, FAILED, MADE, NOTHING, Statuses, Todo, whole
from virnucpro_assets.settings import Settings

PARTITIONS, SETTINGS = Partitions(2), Settings(ranks=2)


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What is held back of the drop: nothing, unless a test puts it there."""
    found: dict[str, set[str]] = {}
    monkeypatch.setattr(module, "partitions_held_back", lambda *_: found)
    return found


def statuses_of(**changes: str | None) -> Statuses:
    """A drop of which all is made but for some partitions, named with `__` for `|`."""
    statuses: dict[str, dict[str, str | None]] = {
        asset: dict.fromkeys(PARTITIONS.of_asset(asset, "d"), MADE) for asset in ASSETS
    }
    for name, status in changes.items():
        asset, _, rank = name.partition("__")
        statuses[asset][f"d|{rank}" if rank else "d"] = status
    return Statuses(PARTITIONS, ["d"], statuses)


def call_from(asset: str) -> tuple[str, ...]:
    return OF_CALL[OF_CALL.index(asset) :]


def todo(*call: str, **ranks: list[int]) -> Todo:
    return Todo(index=False, ranks=ranks, call=call)


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        ("drop_report", todo(*call_from("drop_report"))),
        ("predictions", todo(*call_from("predictions"))),
        ("esm2_embeddings__1", todo(*OF_CALL, esm2_embeddings=[1])),
        ("sequence_index", whole(2)),
    ],
)
def test_what_failed_is_made_again_with_all_that_depends_on_it(failed: str, expected: Todo) -> None:
    assert statuses_of(**{failed: FAILED}).failed("d", SETTINGS) == expected


def test_what_is_held_back_is_made_again_with_what_failed(held: dict[str, set[str]]) -> None:
    held |= {"esm2_embeddings": {"d|1"}, "predictions": {"d"}}
    statuses = statuses_of(virus_calls=FAILED, predictions=None)

    expected = todo(*OF_CALL, esm2_embeddings=[1])
    assert statuses.failed("d", SETTINGS) == statuses.unmaterialized("d", SETTINGS) == expected
    assert statuses_of().failed("d", SETTINGS) == NOTHING
    assert statuses_of().unmaterialized("d", SETTINGS) == expected


def test_a_drop_of_which_something_is_at_work_is_left_alone() -> None:
    statuses = statuses_of(esm2_embeddings__0=FAILED, predictions=AT_WORK)

    assert statuses.failed("d", SETTINGS) == statuses.never_started("d") == NOTHING


def test_a_drop_is_begun_once_and_what_failed_is_not_what_never_started() -> None:
    assert statuses_of(drop_report=None).never_started("d") == todo(*call_from("drop_report"))
    assert statuses_of(drop_report=None, virus_calls=FAILED).never_started("d") == NOTHING
    missing = statuses_of(drop_report=None, virus_calls=FAILED).unmaterialized("d", SETTINGS)
    assert missing == todo(*call_from("virus_calls"))
    assert not statuses_of().failed("d", SETTINGS)


def test_ranks_that_lack_the_same_encoders_are_one_run_a_stretch() -> None:
    both = todo(dnabert_s_embeddings=[0, 1, 3], esm2_embeddings=[0, 1, 3])
    assert list(both.embed_runs()) == [
        (["dnabert_s_embeddings", "esm2_embeddings"], 0, 1),
        (["dnabert_s_embeddings", "esm2_embeddings"], 3, 3),
    ]
    assert list(todo(esm2_embeddings=[1, 2]).embed_runs(one_by_one=True)) == [
        (["esm2_embeddings"], 1, 1),
        (["esm2_embeddings"], 2, 2),
    ]
    assert list(todo(dnabert_s_embeddings=[0], esm2_embeddings=[1]).embed_runs()) == [
        (["dnabert_s_embeddings"], 0, 0),
        (["esm2_embeddings"], 1, 1),
    ]

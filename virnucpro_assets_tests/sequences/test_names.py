"""Repeated names: what they become, that nothing but the names decides, and what they cost."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucpro_assets.errors import InputError
from virnucpro_assets.sequences.names import ReadNames, hash_names
from virnucpro_assets.sequences.prepare import prepare
from virnucpro_assets.sequences.read_files import ReadFile
from virnucpro_assets_tests.sequences.reference import reference_names


def final_names(names: list[str], folder: Path, *, batch: int = 3, bits: int = 64) -> list[str]:
    """The final names by way of batches, with hashes cut to `bits` so that they collide."""

    def hashing(some: Sequence[str]) -> npt.NDArray[np.uint64]:
        return hash_names(some) >> np.uint64(64 - bits)

    read_names = ReadNames(folder, hashing=hashing)
    batches = [(first, names[first : first + batch]) for first in range(0, len(names), batch)]
    for _, some in batches:
        read_names.add(some)
    renames = read_names.resolve()
    final = [name for first, some in batches for name in renames.apply(first, some)]
    assert renames.count == sum(old != new for old, new in zip(names, final, strict=True))
    return final


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_1", "a_2"]),
        (["a", "a", "b", "a", "b"], ["a", "a_1", "b", "a_2", "b_1"]),
        (["a", "a", "a_1"], ["a", "a_2", "a_1"]),
        (["a", "a", "a_1", "a_1"], ["a", "a_2", "a_1", "a_1_1"]),
        (["a", "a", "a", "a_2", "a_1"], ["a", "a_3", "a_4", "a_2", "a_1"]),
        (["a", "a", "a_01"], ["a", "a_1", "a_01"]),
        (["a/1", "a/2", "a/1"], ["a/1", "a/2", "a/1_1"]),
        (["é", "é"], ["é", "é_1"]),
    ],
)
def test_the_first_read_keeps_its_name_and_repeats_get_free_numbers(
    names: list[str], expected: list[str], tmp_path: Path
) -> None:
    assert final_names(names, tmp_path) == expected


@pytest.mark.parametrize(
    ("names", "lone"),
    [
        ([], 0),
        (["a", "b"], 0),
        (["a/1", "b/1", "a/2", "b/2"], 0),
        (["a/1", "a/2", "b/1", "b/2"], 0),
        (["a/1", "b/1", "c/1", "a/2"], 2),
        (["a/1", "b/2", "c/2", "b/1", "d"], 2),
        (["a/1", "b/1"], 0),
        (["a/1", "b/2"], 2),
    ],
)
def test_mates_without_a_partner_are_counted(names: list[str], lone: int, tmp_path: Path) -> None:
    read_names = ReadNames(tmp_path)
    for first in range(0, len(names), 3):
        read_names.add(names[first : first + 3])
    assert read_names.resolve().lone_mates == lone
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(st.from_regex(r"[ab](_[123]){0,2}", fullmatch=True), max_size=60),
    st.integers(1, 8),
    st.sampled_from([64, 4, 1]),
)
def test_repeats_get_the_names_of_the_plain_rule_whatever_the_hashes(
    names: list[str], batch: int, bits: int
) -> None:
    with TemporaryDirectory() as folder:
        final = final_names(names, Path(folder), batch=batch, bits=bits)
    assert final == reference_names(names)
    assert len(set(final)) == len(final)


def test_two_hundred_thousand_reads_of_two_names_get_all_numbers(tmp_path: Path) -> None:
    # More reads than are looked at in one go: one of the names lies across the border.
    final = final_names(["r", "s"] * 100_000, tmp_path, batch=30_000)
    assert final[0::2] == ["r"] + [f"r_{number}" for number in range(1, 100_000)]
    assert final[1::2] == ["s"] + [f"s_{number}" for number in range(1, 100_000)]


def test_a_long_run_of_taken_numbers_is_passed_over(tmp_path: Path) -> None:
    taken = [f"r_{number}" for number in range(1, 50_001)]
    final = final_names(["r", "r", *taken], tmp_path, batch=30_000)
    assert final == ["r", "r_50001", *taken]


def test_the_count_and_the_first_examples_are_told(tmp_path: Path) -> None:
    names = ReadNames(tmp_path)
    names.add([f"r{number % 10}" for number in range(30)])
    renames = names.resolve()
    assert renames.count == 20
    assert renames.examples == (
        ("r0", "r0_1"), ("r1", "r1_1"), ("r2", "r2_1"), ("r3", "r3_1"), ("r4", "r4_1"),
    )  # fmt: skip


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    final_names(["a", "b", "a"], tmp_path)
    assert list(tmp_path.iterdir()) == []


A, B = Path("a.fa"), Path("b.fa")


@pytest.mark.parametrize(
    ("batches", "where"),
    [
        ([(A, "xab"), (B, "cba")], "b.fa, record 2: found the name 'b' again, which record 3 of a.fa has"),
        ([(A, "xa"), (A, "bcb")], "a.fa, record 5: found the name 'b' again, which record 3 of a.fa has"),
        ([(A, "x"), (B, "ab"), (B, "ca")], "b.fa, record 4: found the name 'a' again, which record 1 of b.fa has"),
        ([(None, "ab"), (None, "b")], "the drop, record 3: found the name 'b' again, which record 2 of the drop has"),
    ],
)  # fmt: skip
def test_the_policy_refuse_names_both_files_and_records(
    tmp_path: Path, batches: list[tuple[Path | None, str]], where: str
) -> None:
    names = ReadNames(tmp_path, policy="refuse")
    for file, letters in batches:
        names.add(list(letters), file)
    with pytest.raises(InputError) as error:
        names.resolve()
    assert str(error.value) == (
        f"{where}; expected a name of its own for every read. Rename the reads, or let repeated names get a suffix."
    )


def test_prepare_names_the_files_and_records_of_a_repeated_name(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(">x\nACGT\n>y\nACGT\n")
    (tmp_path / "b.fastq").write_text("@z\nACGT\n+\nIIII\n@y\nACGT\n+\nIIII\n")
    files = [ReadFile(tmp_path / "a.fa"), ReadFile(tmp_path / "b.fastq")]
    with pytest.raises(InputError) as error:
        prepare(files, tmp_path / "out", chunk_length=300, duplicates="refuse")
    assert str(error.value).startswith(
        f"{files[1].path}, record 2: found the name 'y' again, which record 2 of {files[0].path} has; expected"
    )


def test_the_policy_refuse_lets_distinct_names_pass(tmp_path: Path) -> None:
    names = ReadNames(tmp_path, policy="refuse")
    names.add(["a", "b", "a_1"])
    assert names.resolve().count == 0


def test_resolving_takes_few_bytes_a_read(tmp_path: Path) -> None:
    count = 200_000
    names = ReadNames(tmp_path)
    for first in range(0, count, 10_000):
        names.add(
            [
                f"a-long-name-of-a-read-as-sequencers-write-it:{number}"
                for number in range(first, first + 10_000)
            ]
        )
    tracemalloc.start()
    names.resolve()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Some arrays are of the size of a window and not of the drop.
    assert peak < 24 * count + 4_000_000

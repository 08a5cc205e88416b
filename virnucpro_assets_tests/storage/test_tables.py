import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from virnucpro_assets.storage.tables import as_printed, float32_text, three_decimals


def digits(text: str) -> int:
    """Significant digits."""
    return len(text.partition("e")[0].replace(".", "").strip("-0")) or 1


def fewest_digits(value: np.float32) -> int:
    """The least number of digits with which the nearest decimal reads back as the same float32."""
    return next(count for count in range(1, 10) if np.float32(f"{value:.{count - 1}e}") == value)


@given(
    st.lists(
        st.floats(0, 1, width=32)
        | st.floats(2**-30, 2**-10, width=32)
        | st.floats(-(2.0**100), 2.0**100, width=32)
    )
)
@example([0.0, 1.0, -0.0, 1e-45, 0.1, -0.3, float("nan"), float("inf")])
def test_a_float32_is_the_shortest_decimal_that_reads_back_written_as_numpy_does(
    numbers: list[float],
) -> None:
    values = np.array(numbers, np.float32)
    texts = float32_text(values).to_pylist()
    assert texts == [str(value) for value in values]
    np.testing.assert_array_equal(np.array([float(text) for text in texts], np.float32), values)
    np.testing.assert_array_equal(as_printed(values), [float(text) for text in texts])
    for value, text in zip(values, texts, strict=True):
        assert not np.isfinite(value) or digits(text) <= fewest_digits(value)


def test_floats_are_written_as_numpy_writes_them() -> None:
    values = np.array([0, 1, -0.0, 0.5, 2.861023e-06, 1e-4, 0.99999714, 1e-45, 0.1, np.nan, -0.3], np.float32)
    assert float32_text(values).to_pylist() == [
        "0.0", "1.0", "-0.0", "0.5", "2.861023e-06", "1e-04", "0.99999714", "1e-45", "0.1", "nan", "-0.3",
    ]  # fmt: skip


def test_many_random_floats_are_written_as_numpy_does() -> None:
    random = np.random.default_rng(0)
    uniform = random.random(20_000)
    values = np.concatenate([uniform, 1 - uniform**8, 10.0 ** random.uniform(-9, 0, 20_000)]).astype(
        np.float32
    )
    assert float32_text(values).to_pylist() == [str(value) for value in values]


@given(st.lists(st.floats(-1, 1) | st.integers(-2000, 2000).map(lambda count: count / 2000)))
@example([0.0625, -0.0625, 1.0, -1.0, 2 / 3, 0.53, -0.0001])
def test_three_decimals_round_as_python_does_and_nothing_has_a_sign(values: list[float]) -> None:
    assert three_decimals(np.array(values)).to_pylist() == [str(round(value, 3) + 0.0) for value in values]

import numpy as np
import pytest

from virnucpro_assets.storage.number_text import as_printed, float32_text, three_decimals


def test_floats_are_written_as_numpy_writes_them():
    values = np.array([0, 1, -0.0, 0.5, 2.861023e-06, 1e-4, 0.99999714, 1e-45, 0.1, np.nan, -0.3], np.float32)
    assert float32_text(values).to_pylist() == [
        "0.0", "1.0", "-0.0", "0.5", "2.861023e-06", "1e-04", "0.99999714", "1e-45", "0.1", "nan", "-0.3",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_random_floats_read_back_and_are_the_shortest(seed):
    random = np.random.default_rng(seed)
    uniform = random.random(20_000)
    values = np.concatenate([uniform, 1 - uniform**8, 10.0 ** random.uniform(-9, 0, 20_000)]).astype(
        np.float32
    )
    texts = float32_text(values).to_pylist()
    assert texts == [str(value) for value in values]
    assert np.array_equal(np.array(texts).astype(np.float32), values)


def test_no_floats_make_no_texts():
    assert float32_text(np.empty(0, np.float32)).to_pylist() == []


def test_numbers_as_printed_are_what_python_reads():
    values = np.array([0.1, 0.8, 3e-6, 1], np.float32)
    assert as_printed(values).tolist() == [0.1, 0.8, 3e-6, 1.0]


def test_three_decimals_round_as_python_does():
    ties = np.arange(-1000, 1000) / 1000 + 0.0005
    values = np.concatenate([ties, [0.0625, -0.0625, 1, -1, 2 / 3, 0.53], np.linspace(-1, 1, 4001)])
    values = values[np.abs(values) <= 1]
    assert three_decimals(values).to_pylist() == [str(round(value, 3) + 0.0) for value in values.tolist()]


def test_a_small_negative_number_is_written_without_a_sign():
    assert three_decimals(np.array([-0.0001])).to_pylist() == ["0.0"]

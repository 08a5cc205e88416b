import numpy as np

from virnucpro_assets.reports.histograms import LengthCounter, ScoreCounter


def test_scores_fall_into_fifty_bins_with_both_ends_included_and_nan_in_none():
    counter = ScoreCounter()
    counter.add(np.array([0, np.nan, 0.019, 0.5, 1], np.float32))
    counter.add(np.empty(0, np.float32))
    histogram = counter.histogram()
    assert len(histogram.counts) == 50
    assert (histogram.counts[0], histogram.counts[25], histogram.counts[49]) == (2, 1, 1)
    assert histogram.total == 4


def test_reads_of_one_length_are_one_bin():
    counter = LengthCounter()
    counter.add(np.full(7, 151))
    assert counter.histogram().edges == [151, 152]
    assert counter.histogram().counts == [7]


def test_short_lengths_are_counted_in_equal_bins():
    counter = LengthCounter()
    counter.add(np.array([30, 31, 32, 151]))
    histogram = counter.histogram()
    assert histogram.edges[:2] == [30, 33]
    assert histogram.counts[0] == 3
    assert histogram.counts[-1] == 1
    assert len(histogram.counts) <= 50
    assert histogram.edges[-1] > 151


def test_long_lengths_are_counted_in_geometric_bins_whatever_the_batches():
    lengths = (10 ** np.random.default_rng(0).uniform(2, 7, 5000)).astype(np.int64)
    whole, cut = LengthCounter(), LengthCounter()
    whole.add(lengths)
    for start in range(0, 5000, 7):
        cut.add(lengths[start : start + 7])
    histogram = whole.histogram()
    assert histogram == cut.histogram()
    assert histogram.is_log
    assert histogram.edges[0] <= lengths.min()
    assert histogram.edges[-1] > lengths.max()
    assert histogram.counts == np.histogram(lengths, histogram.edges)[0].tolist()


def test_no_lengths_have_an_empty_histogram():
    assert LengthCounter().histogram().total == 0


def test_empty_reads_count_as_length_zero():
    counter = LengthCounter()
    counter.add(np.array([0, 0, 2]))
    assert counter.histogram().counts == [2, 0, 1]

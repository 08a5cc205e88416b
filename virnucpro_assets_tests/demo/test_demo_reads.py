"""Reads are cut where and as they say, the same ones for the same seed."""

import numpy as np

from tools.demo.reads import bases_of, cut_read, is_virus, labelled_reads, sample_reads
from virnucpro_assets.demo.excerpts import Excerpt

VIRUS = Excerpt("phage", 100, "virus", "AACCGGTTACGTNNAC" * 40)
OTHERS = Excerpt("host", 0, "others", "GATTACAGATTACA" * 60)


def test_a_forward_read_has_the_letters_of_its_place():
    read = cut_read(VIRUS, 2, 6, "+")
    assert (read.bases, read.start, read.strand, read.source) == (b"CCGGTT", 102, "+", "phage")


def test_a_backward_read_is_the_reverse_complement_and_keeps_its_place():
    read = cut_read(VIRUS, 8, 8, "-")
    assert (read.bases, read.start) == (b"GTNNACGT", 108)


def test_the_same_seed_cuts_the_same_reads():
    first, second = (labelled_reads([VIRUS, OTHERS], 20, 50, 90, seed=3) for _ in range(2))
    assert first == second
    assert first != labelled_reads([VIRUS, OTHERS], 20, 50, 90, seed=4)


def test_each_label_gets_its_reads_and_half_of_them_are_as_long_as_can_be():
    reads = labelled_reads([VIRUS, OTHERS], 20, 50, 90, seed=3)
    assert is_virus(reads).tolist() == [True] * 20 + [False] * 20
    lengths = bases_of(reads).lengths
    assert (lengths[::2] == 90).all()
    assert lengths.min() >= 50
    assert lengths.max() <= 90


def test_a_read_longer_than_an_excerpt_comes_from_a_longer_one():
    short = Excerpt("short", 0, "virus", "ACGT" * 10)
    reads = sample_reads([short, VIRUS], "virus", np.full(30, 41), np.random.default_rng(0))
    assert {read.source for read in reads} == {"phage"}


def test_an_excerpt_of_just_the_reads_length_gives_itself():
    excerpt = Excerpt("whole", 5, "virus", "ACGTTGCAAC")
    (read,) = sample_reads([excerpt], "virus", np.array([10]), np.random.default_rng(0))
    assert read.bases in {b"ACGTTGCAAC", b"GTTGCAACGT"}
    assert read.start == 5

"""Regions: which pieces of which genomes the demo uses, and for what.

`training` regions teach the classifiers and the tokenizer, `validation` regions stop the
training, and reads of the demo drop come from `held_out` regions only. A held-out region is
either another stretch of a genome that training also saw elsewhere, or belongs to a genome
that training never saw (`unseen_genome`); results are given for both.
"""

from dataclasses import dataclass

from virnucpro_assets.demo.excerpts import Role


@dataclass(frozen=True, slots=True)
class Region:
    """Bases `start` (counted from 0) up to but not including `stop` of a source."""

    source: str
    start: int
    stop: int
    role: Role

    @property
    def name(self) -> str:
        """A name without spaces, counted from 1 as people write it."""
        return f"{self.source}:{self.start + 1}-{self.stop}"


def _regions(source: str, role: Role, *spans: tuple[int, int]) -> tuple[Region, ...]:
    return tuple(Region(source, start, stop, role) for start, stop in spans)


def _spaced(source: str, role: Role, length: int, *starts: int) -> tuple[Region, ...]:
    return _regions(source, role, *((start, start + length) for start in starts))


REGIONS: tuple[Region, ...] = (
    # Viruses.
    # Lambda's left arm, rich in GC, and its right arm differ so much that every role takes of both.
    *_regions("lambda", "training", (0, 9_000), (14_000, 18_000), (23_000, 27_500)),
    *_regions("lambda", "training", (32_500, 36_500), (41_000, 45_500)),
    *_regions("lambda", "validation", (18_500, 22_500), (37_000, 40_500)),
    *_regions("lambda", "held_out", (9_500, 13_500), (28_000, 32_000), (46_000, 48_502)),
    *_regions("dwv", "training", (0, 8_000)),
    *_regions("dwv", "validation", (8_500, 10_140)),
    *_regions("vdv1", "training", (0, 8_000)),
    *_regions("influenza_pa", "training", (0, 2_148)),
    *_regions("influenza_h5", "training", (0, 1_650)),
    *_regions("influenza_h1", "validation", (0, 1_650)),
    *_regions("dengue4", "training", (0, 1_485)),
    *_regions("phix174", "held_out", (0, 5_386)),
    *_regions("hiv1", "held_out", (0, 9_056)),
    *_regions("rabies", "held_out", (0, 2_700)),
    *_regions("yellow_fever", "held_out", (0, 650)),
    # Bacteria and their hosts. Ranges lie far apart.
    *_spaced("ecoli", "training", 12_000, 300_000, 1_500_000, 2_800_000, 4_200_000),
    *_spaced("ecoli", "validation", 6_000, 900_000),
    *_spaced("ecoli", "held_out", 9_000, 3_500_000),
    *_spaced("saureus", "training", 12_000, 200_000, 1_100_000, 2_500_000),
    *_spaced("saureus", "validation", 6_000, 700_000),
    *_spaced("saureus", "held_out", 9_000, 1_700_000),
    *_spaced("yeast", "training", 14_000, 35_000, 110_000, 170_000),
    *_spaced("yeast", "validation", 6_000, 80_000),
    *_spaced("yeast", "held_out", 9_000, 140_000),
    *_spaced("human", "training", 12_000, 7_000_000, 25_000_000, 37_000_000, 49_000_000),
    *_spaced("human", "validation", 6_000, 13_000_000),
    *_spaced("human", "held_out", 9_000, 12_800_000),
    *_spaced("hpylori", "held_out", 9_000, 400_000, 1_000_000),
    *_spaced("fly_up_1", "held_out", 2_000, 0),
    *_spaced("fly_up_2", "held_out", 2_000, 0),
    *_spaced("fly_up_3", "held_out", 2_000, 0),
    *_spaced("fly_up_4", "held_out", 2_000, 0),
)


def seen_sources() -> frozenset[str]:
    """The sources of which training or validation saw at least one region."""
    return frozenset(region.source for region in REGIONS if region.role != "held_out")

from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pysam
import pytest

from virnucpro_assets.calling.region_tables import BED_FILE, GFF_FILE, REGIONS_FILE, write_regions
from virnucpro_assets.errors import IntegrityError
from virnucpro_assets.files.parquet import table_writer
from virnucpro_assets.settings_groups import RegionRules
from virnucpro_assets.storage.call_tables import CHUNK_CALLS_FILE, CHUNK_SCHEMA, READ_CALLS_FILE, READ_SCHEMA

RULES = RegionRules(smoothing_chunks=1, min_region_chunks=2)


def write_tables(folder: Path, reads: dict[str, tuple[int, dict[int, float]]]) -> None:
    """Tables of calls with the P(virus) of some chunks of reads of a length."""
    chunks = [
        (name, number, score) for name, (_, scored) in reads.items() for number, score in scored.items()
    ]
    columns = {
        "id": [f"{name}_chunk_{number}" for name, number, _ in chunks],
        "name": [name for name, _, _ in chunks],
        "chunk": np.array([number for _, number, _ in chunks], np.int32),
        "is_virus": np.array([score > 0.5 for _, _, score in chunks], bool),
        "max_score_0": np.array([1 - score for _, _, score in chunks], np.float32),
        "max_score_1": np.array([score for _, _, score in chunks], np.float32),
        "route": ["joint"] * len(chunks),
        "p_virus_calibrated": [None] * len(chunks),
        "dust_score": np.full(len(chunks), 5, np.float32),
    }
    with table_writer(folder / CHUNK_CALLS_FILE, CHUNK_SCHEMA, 4) as table:
        table.add(columns)
    of_reads: dict[str, object] = {name: [None] * len(reads) for name in READ_SCHEMA.names}
    of_reads |= {
        "name": list(reads),
        "length": np.array([length for length, _ in reads.values()], np.int64),
        "chunks": np.array([-(-length // 300) for length, _ in reads.values()], np.int32),
        "scored_chunks": np.array([len(scored) for _, scored in reads.values()], np.int32),
        "unreadable_frames": np.zeros(len(reads), np.int32),
    }
    with table_writer(folder / READ_CALLS_FILE, READ_SCHEMA, 4) as table:
        table.add(of_reads)


def write(folder: Path) -> int:
    return write_regions(
        folder / READ_CALLS_FILE, folder / CHUNK_CALLS_FILE, folder, chunk_length=300, rules=RULES
    )


PROPHAGE = {1: 0.1, 2: 0.9, 3: 0.8, 4: 0.1, 5: 0.75, 6: 0.75}
READS = {
    "short": (200, {1: 0.9}),
    "contig,1": (1800, PROPHAGE),
    "silent": (900, {}),
    "phage": (600, {1: 0.9, 2: 0.9}),
}


def test_regions_are_the_same_in_bed_gff3_and_parquet(tmp_path: Path) -> None:
    write_tables(tmp_path, READS)
    assert write(tmp_path) == 3
    assert (tmp_path / BED_FILE).read_text() == (
        "#chrom\tstart\tend\tname\tscore\tstrand\n"
        "contig,1\t300\t900\tregion_1\t700\t.\n"
        "contig,1\t1200\t1800\tregion_2\t500\t.\n"
        "phage\t0\t600\tregion_3\t800\t.\n"
    )
    assert (tmp_path / GFF_FILE).read_text() == (
        "##gff-version 3\n"
        "##sequence-region contig%2C1 1 1800\n"
        "contig%2C1\tvirnucpro\tviral_sequence\t301\t900\t0.7000\t.\t.\t"
        "ID=region_1;chunks=2;mean_score=0.8500;whole=false\n"
        "contig%2C1\tvirnucpro\tviral_sequence\t1201\t1800\t0.5000\t.\t.\t"
        "ID=region_2;chunks=2;mean_score=0.7500;whole=false\n"
        "##sequence-region phage 1 600\n"
        "phage\tvirnucpro\tviral_sequence\t1\t600\t0.8000\t.\t.\t"
        "ID=region_3;chunks=2;mean_score=0.9000;whole=true\n"
    )
    table = pd.read_parquet(tmp_path / REGIONS_FILE)
    assert table[["name", "start", "end", "length", "chunks", "is_whole"]].values.tolist() == [
        ["contig,1", 300, 900, 1800, 2, False],
        ["contig,1", 1200, 1800, 1800, 2, False],
        ["phage", 0, 600, 600, 2, True],
    ]
    assert table.mean_score.tolist() == pytest.approx([0.85, 0.75, 0.9])


def intervals(path: Path, preset: str) -> list[tuple[str, int, int]]:
    """The intervals of a file by contig, as htslib finds them."""
    compressed = pysam.tabix_index(str(path), preset=preset, keep_original=True)
    parser = {"bed": pysam.asBed, "gff": pysam.asGFF3}[preset]()
    with pysam.TabixFile(compressed) as file:
        return [
            (row.contig, row.start, row.end)
            for name in file.contigs
            for row in file.fetch(name, parser=parser)
        ]


def test_htslib_and_pandas_find_the_same_regions(tmp_path: Path) -> None:
    write_tables(tmp_path, READS)
    write(tmp_path)
    table = pd.read_parquet(tmp_path / REGIONS_FILE)
    expected = list(table[["name", "start", "end"]].itertuples(index=False, name=None))
    assert expected == [("contig,1", 300, 900), ("contig,1", 1200, 1800), ("phage", 0, 600)]
    assert intervals(tmp_path / BED_FILE, "bed") == expected
    # GFF3 escapes the comma in the name of a sequence.
    assert [(unquote(name), *place) for name, *place in intervals(tmp_path / GFF_FILE, "gff")] == expected
    with pysam.TabixFile(str(tmp_path / f"{BED_FILE}.gz")) as bed:
        assert [row.split("\t")[3] for row in bed.fetch("contig,1", 850, 1300)] == ["region_1", "region_2"]


def test_htslib_reads_the_files_of_a_drop_without_a_region(tmp_path: Path) -> None:
    write_tables(tmp_path, {})
    write(tmp_path)
    assert intervals(tmp_path / BED_FILE, "bed") == intervals(tmp_path / GFF_FILE, "gff") == []


def test_a_drop_of_short_reads_has_headers_alone(tmp_path: Path) -> None:
    for number, reads in enumerate(({}, {"short": (200, {1: 0.9}), "silent": (900, {})})):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_tables(folder, reads)
        assert write(folder) == 0
        assert (folder / BED_FILE).read_text().count("\n") == 1
        assert (folder / GFF_FILE).read_text() == "##gff-version 3\n"
        assert len(pd.read_parquet(folder / REGIONS_FILE)) == 0


@pytest.mark.parametrize(("scored", "found"), [({1: 0.9, 2: 0.9, 3: 0.9}, "more"), ({1: 0.9}, "fewer")])
def test_chunks_of_other_reads_are_refused(tmp_path: Path, scored: dict[int, float], found: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_tables(tmp_path, READS)
    write_tables(other, READS | {"phage": (600, scored)})
    (other / CHUNK_CALLS_FILE).replace(tmp_path / CHUNK_CALLS_FILE)
    with pytest.raises(IntegrityError, match=f"found {found} chunks than the table of reads has"):
        write(tmp_path)
    assert not (tmp_path / BED_FILE).exists()

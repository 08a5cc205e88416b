"""The readers of the packages' formats, each on a small file of its kind."""

import gzip

import pytest

from tools.demo.sources import (
    SOURCES,
    Package,
    Source,
    beast_sequence,
    fasta_record,
    nexus_row,
    r_phix,
    r_string,
)
from virnucpro_assets.errors import InputError

PACKAGE = Package("some-examples", "1.0-1")


def source(reader=fasta_record, record=""):
    return Source("one", "virus", "X1", "a virus", PACKAGE, "share/one.fa.gz", reader, record)


def write_package(folder, content):
    path = folder / "x_some-examples" / "share" / "one.fa.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(content))


def test_a_fasta_record_is_found_by_a_part_of_its_header():
    assert fasta_record(b">a x\nAC\nGT\n>b y\nTT\nA\n", "b y") == "TTA"


def test_without_a_record_the_first_of_a_fasta_file_is_taken():
    assert fasta_record(b">a\nAC\n>b\nTT\n", "") == "AC"


def test_a_nexus_row_is_found_by_its_name_with_or_without_quotes():
    matrix = b"Matrix\n\t[ 1 11 ]\n\t'p9-01'  AC-GT\nD4Brazi82 TTGA\n;"
    assert nexus_row(matrix, "p9-01") == "AC-GT"
    assert nexus_row(matrix, "D4Brazi82") == "TTGA"


def test_a_nexus_file_with_carriage_returns_is_read():
    assert nexus_row(b"Matrix\r\tone   ACGT\r\ttwo   TTTT\r", "one") == "ACGT"


def test_a_beast_sequence_is_that_of_its_taxon_in_the_alignment():
    xml = b"""<taxa><taxon idref="b"/>x</taxa><alignment><sequence><taxon idref="a"/> AC
      GT</sequence><sequence><taxon idref="b"/>TT--
      AA</sequence></alignment>"""
    assert beast_sequence(xml, "b") == "TT--AA"
    assert beast_sequence(xml, "c") == ""


def test_the_long_string_of_an_r_file_is_found_behind_short_ones():
    letters = b"ACGT" * 2000
    content = b"RDX2\nX\n\0\0\0\x09\0\0\0\x04name\0\0\0\x09" + len(letters).to_bytes(4, "big") + letters
    assert r_string(content, "") == "ACGT" * 2000


def test_the_first_genome_of_phix_is_decoded_from_one_bit_a_letter():
    genome = bytes([1, 2, 4, 8]) * 1346 + bytes([1, 1])
    pool = genome + bytes([8]) * len(genome)
    content = b"RDX2\nX\n\0\0\0\x18" + len(pool).to_bytes(4, "big") + pool
    assert r_phix(content, "") == "ACGT" * 1346 + "AA"


def test_a_source_is_read_in_upper_case_without_gaps(tmp_path):
    write_package(tmp_path, b">a\n" + b"ac-gt?n" * 100)
    assert source().read(tmp_path) == "ACGTN" * 100


def test_a_missing_record_is_an_error_that_names_file_record_and_package(tmp_path):
    write_package(tmp_path, b">a\n" + b"ACGT" * 200)
    with pytest.raises(InputError) as error:
        source(record="NC_000001").read(tmp_path)
    for part in ("one.fa.gz", "'NC_000001'", "0 letters", "Unpack some-examples 1.0-1"):
        assert part in str(error.value)


def test_sources_have_names_of_their_own():
    names = [one.name for one in SOURCES]
    assert len(names) == len(set(names))

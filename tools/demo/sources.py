"""Sources: the public sequences behind the demo, and how to read them from Debian packages.

Only a developer who builds the demo again needs the packages (unpacked with `dpkg-deb -x`, one
folder `x_PACKAGE` each); what was taken from them is shipped. Sequences are facts in the public
domain; the packages are named because that is where the bytes came from.
"""

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from virnucpro_assets.errors import InputError, excerpt
from virnucpro_assets.vocabulary import Label


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package of bookworm: its name and version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Source:
    """One sequence: `record` tells `reader` which one of the file it is."""

    name: str
    label: Label
    accession: str
    organism: str
    package: Package
    file: str
    reader: Callable[[bytes, str], str]
    record: str = ""

    def read(self, packages: Path) -> str:
        """The whole sequence, upper case and without gaps, from the packages unpacked in `packages`."""
        path = packages / f"x_{self.package.name}" / self.file
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        letters = self.reader(content, self.record).upper().replace("-", "").replace("?", "")
        if len(letters) < 500 or re.fullmatch("[ACGTRYKMSWBDHVN]+", letters) is None:
            raise InputError(
                path,
                where=f"record {excerpt(repr(self.record))}",
                found=f"{len(letters)} letters",
                expected="a DNA sequence",
                advice=f"Unpack {self.package.name} {self.package.version}.",
            )
        return letters


def fasta_record(content: bytes, record: str) -> str:
    """The record of a FASTA file whose header contains `record`; the first if `record` is empty."""
    for entry in content.decode("ascii").split(">")[1:]:
        header, _, letters = entry.partition("\n")
        if record in header:
            return "".join(letters.split())
    return ""


def nexus_row(content: bytes, record: str) -> str:
    """The row `record` of a NEXUS matrix that is not interleaved."""
    text = content.decode("latin-1").replace("\r", "\n")
    match = re.search(rf"^\s*'?{re.escape(record)}'?\s+([A-Za-z?-]+)\s*$", text, re.M)
    return match[1] if match else ""


def beast_sequence(content: bytes, record: str) -> str:
    """The sequence of taxon `record` in a BEAST XML file's first alignment."""
    text = content.decode("latin-1")
    start = text.find(f'<taxon idref="{record}"/>', text.find("<alignment"))
    match = re.match(r"<[^>]*>([A-Za-z?\s-]+)<", text[start:]) if start >= 0 else None
    return "".join(match[1].split()) if match else ""


def r_string(content: bytes, record: str) -> str:
    """The first long string of an R data file (XDR, type CHARSXP)."""
    return _r_vector(content, b"\x00\x00\x00\x09").decode("ascii")


def r_phix(content: bytes, record: str) -> str:
    """The first of the six genomes in phiX174Phage: 5,386 bases of a raw vector, one bit a letter."""
    letters = {1: "A", 2: "C", 4: "G", 8: "T"}
    return "".join(letters[code] for code in _r_vector(content, b"\x00\x00\x00\x18")[:5386])


def _r_vector(content: bytes, kind: bytes) -> bytes:
    """The bytes of the first vector of `kind` with at least 5,000 of them in an XDR file of R."""
    for match in re.finditer(re.escape(kind), content):
        length = int.from_bytes(content[match.end() : match.end() + 4], "big")
        if 5_000 <= length <= len(content) - match.end() - 4:
            return content[match.end() + 4 : match.end() + 4 + length]
    return b""


BOWTIE = Package("bowtie-examples", "1.3.1-1")
BOWTIE2 = Package("bowtie2-examples", "2.5.0-3")
BIOSTRINGS = Package("r-bioc-biostrings", "2.66.0-1")
SIBELIA = Package("sibelia-examples", "3.0.7+dfsg-3")
BEAST = Package("beast-mcmc-examples", "1.10.4+dfsg-5")
GASIC = Package("gasic-examples", "0.0.r19-8")
IVA = Package("iva", "1.0.11+ds-3")
VT = Package("vt-examples", "0.57721+ds-3")

_BOWTIE = "usr/share/doc/bowtie/examples/genomes"
_BOWTIE2 = "usr/share/doc/bowtie2/examples/reference"
_BIOSTRINGS = "usr/lib/R/site-library/Biostrings"
_SIBELIA = "usr/share/doc/sibelia/examples/Sibelia"
_BEAST = "usr/share/doc/beast-mcmc/examples"
_GASIC = "usr/share/doc/gasic/examples/genomes"
_IVA = "usr/lib/python3/dist-packages/iva/test_run_data"
_VT = "usr/share/doc/vt/examples/ref"

_VIRUSES = (
    ("lambda", "NC_001416.1", "Escherichia phage Lambda", BOWTIE2, f"{_BOWTIE2}/lambda_virus.fa.gz"),
    ("dwv", "NC_004830.2", "Deformed wing virus", GASIC, f"{_GASIC}/dwv.fasta.gz"),
    ("vdv1", "NC_006494.1", "Varroa destructor virus 1", GASIC, f"{_GASIC}/vdv1.fasta.gz"),
    ("hiv1", "DQ234790", "Human immunodeficiency virus 1", IVA, f"{_IVA}/reference.fasta"),
)

_ALIGNED_VIRUSES = (
    (
        "influenza_pa",
        "CY021714",
        "Influenza A virus A/AA/Huston/1945, PA",
        "TestXML/ClockModels/testFixedLocalClock.xml.gz",
        beast_sequence,
        "1945|Human|A/AA/Huston/1945|3|USA|CY021714",
    ),
    (
        "influenza_h5",
        "alignment row A_chicken_Fujian_1042_2005",
        "Influenza A virus H5N1, HA",
        "DiscreteTraits/H5N1_HA.nex.gz",
        nexus_row,
        "A_chicken_Fujian_1042_2005",
    ),
    (
        "influenza_h1",
        "alignment row hSCar1918",
        "Influenza A virus H1N1, HA",
        "Data/H1N1_HA.nex.gz",
        nexus_row,
        "hSCar1918",
    ),
    (
        "dengue4",
        "alignment row D4Brazi82",
        "Dengue virus 4, envelope",
        "Data/Dengue4.env.nex.gz",
        nexus_row,
        "D4Brazi82",
    ),
    (
        "yellow_fever",
        "AY540489",
        "Yellow fever virus, prM/E",
        "Data/YFV.nex.gz",
        nexus_row,
        "1998_AY540489_35720_Venezuela",
    ),
    (
        "rabies",
        "alignment row hOH10_97.2",
        "Rabies virus, raccoon variant",
        "ContinuousTraits/racoon_rabies.xml.gz",
        beast_sequence,
        "hOH10_97.2",
    ),
)

_FLY_RECORDS = (
    ("NM_164814", "chr2L:8382455-8384454"),
    ("NM_137148", "chr2R:10707493-10709492"),
    ("NM_140077", "chr3L:9594426-9596425"),
    ("NM_080511", "chr3R:20165273-20167272"),
)

SOURCES: tuple[Source, ...] = (
    *(
        Source(name, "virus", accession, organism, package, file, fasta_record)
        for name, accession, organism, package, file in _VIRUSES
    ),
    *(
        Source(name, "virus", accession, organism, BEAST, f"{_BEAST}/{file}", reader, record)
        for name, accession, organism, file, reader, record in _ALIGNED_VIRUSES
    ),
    Source(
        "phix174",
        "virus",
        "NC_001422.1",
        "Escherichia phage phiX174",
        BIOSTRINGS,
        f"{_BIOSTRINGS}/data/phiX174Phage.rda",
        r_phix,
        "first of six",
    ),
    Source(
        "ecoli",
        "others",
        "NC_008253.1",
        "Escherichia coli 536",
        BOWTIE,
        f"{_BOWTIE}/NC_008253.fna.gz",
        fasta_record,
    ),
    Source(
        "saureus",
        "others",
        "NC_002745.2",
        "Staphylococcus aureus N315",
        SIBELIA,
        f"{_SIBELIA}/Staphylococcus_aureus/Staphylococcus.fasta.gz",
        fasta_record,
        "NC_002745.2",
    ),
    Source(
        "hpylori",
        "others",
        "NC_017366.1",
        "Helicobacter pylori F32",
        SIBELIA,
        f"{_SIBELIA}/Helicobacter_pylori/Helicobacter_pylori.fasta.gz",
        fasta_record,
        "NC_017366.1",
    ),
    Source(
        "yeast",
        "others",
        "chromosome 1, as of Biostrings",
        "Saccharomyces cerevisiae",
        BIOSTRINGS,
        f"{_BIOSTRINGS}/data/yeastSEQCHR1.rda",
        r_string,
        "yeastSEQCHR1",
    ),
    Source(
        "human",
        "others",
        "GRCh37 chromosome 20",
        "Homo sapiens",
        VT,
        f"{_VT}/20.fa.gz",
        fasta_record,
        "20",
    ),
    *(
        Source(
            f"fly_up_{number}",
            "others",
            f"dm3 {place}, upstream of {gene}",
            "Drosophila melanogaster",
            BIOSTRINGS,
            f"{_BIOSTRINGS}/extdata/dm3_upstream2000.fa.gz",
            fasta_record,
            place,
        )
        for number, (gene, place) in enumerate(_FLY_RECORDS, start=1)
    ),
)

"""Small inputs and mistakes that users met: each command line, its exit code, and the line that it prints."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virnucpro_assets.cli import app

BASES = "ACGTACGTAC"
RECORD = f"@a\n{BASES}\n+\nIIIIIIIIII\n"
ONE_READ = "1 read, 1 chunk, 6 candidates in out"
READ = "ATGGCTGCAGGTCTGAAAGTTCGTGAC"
LONG_WINDOW = bytes.fromhex("28b52ffd0090a5000060") + b"@a\nACGT\n+\nI\n" + bytes.fromhex("0200b8421e9c11")
NEWLINE_AFTER_GZIP = bytes.fromhex("1f8b08000000000000037348e47274760f81602e6d2e4f38e00200a1ae16ea1b0000000a")
NANO = f"@one\n{READ}\n+\n{'I' * len(READ)}\n"
SHEET = """sample,run_accession,instrument_platform,fastq_1,fastq_2,fasta
liver,R1,ILLUMINA,un_R1.fq,un_R2.fq,
nano,R2,OXFORD_NANOPORE,one.fq,,
contigs,R3,ILLUMINA,,,x.fa
"""


def mates(mate: int, count: int) -> str:
    return "".join(f"@A01:1:{number} {mate}:N:0\n{READ}\n+\n{'I' * len(READ)}\n" for number in range(count))


@dataclass(frozen=True)
class Case:
    """Files of the working folder, a command line, and what it comes to."""

    files: dict[str, str | bytes]
    command: str
    line: str
    exit_code: int = 0
    environment: dict[str, str] = field(default_factory=dict)


def fastq(content: str | bytes, name: str = "r.fq", line: str = ONE_READ) -> Case:
    return Case({name: content}, f"prepare {name} --out out", line)


CASES = {
    "letters of RNA": fastq(
        "@r0 read=1\n" + "AUGGCUGCAGGUCUG" + "\n+\n" + "I" * 15 + "\n",
        line="reads with a U, which is read as T: 1",
    ),
    "the input under the name of a result": Case(
        {"chunks.fa": ">a\nACGT\n"},
        "prepare chunks.fa --out .",
        "error: chunks.fa: found the input chunks.fa under the name of a result; expected results that replace no "
        "input. Choose another --out.",
        2,
    ),
    "reads from a stream": Case(
        {},
        "prepare /dev/fd/0 --out out",
        "error: /dev/fd/0: found a stream of this process; expected a file of reads. Write it to a file, and give "
        "the path of that.",
        2,
    ),
    "a home folder in a settings file": Case(
        {"virnucpro.toml": 'data_root = "~/vnp"\n'},
        "settings",
        "data_root = {folder}/vnp  # all data and results",
        environment={"HOME": "{folder}"},
    ),
    "mates with dots before their marks": Case(
        {"t.R1.fastq": mates(1, 3), "t.R2.fastq": mates(2, 3)},
        "prepare t.R1.fastq t.R2.fastq --out out",
        "6 reads, 6 chunks, 24 candidates in out",
    ),
    "mates of unequal number": Case(
        {"un_R1.fq": mates(1, 10), "un_R2.fq": mates(2, 7)},
        "prepare un_R1.fq un_R2.fq --out out",
        "note: mates whose partner is not there: 3 of 17 reads",
    ),
    "alternating mates in a file that does not say so": Case(
        {"inter.fq": "".join(mates(mate, 1) for mate in (1, 2))},
        "prepare inter.fq --out out",
        "note: reads renamed because an earlier read has their name: 1 of 2 (A01:1:0 to A01:1:0_1). If they are mates, "
        "say so with --paired or --interleaved",
    ),
    "a sheet of another pipeline with a file that is not there yet": Case(
        {
            "drops/sheet.csv": SHEET,
            "drops/un_R1.fq": mates(1, 1),
            "drops/un_R2.fq": mates(2, 1),
            "drops/one.fq": NANO,
        },
        "drops --missing",
        "virnucpro materialize nano  # not begun: it was delivered",
    ),
    "a plus line that differs from the header": fastq(RECORD.replace("+", "+file a length=10")),
    "letters beyond ASCII in a FASTQ comment": fastq(RECORD.replace("@a", "@a Müller")),
    "letters beyond ASCII in wrapped FASTQ": fastq("@a Müller\nACGTA\nCGTAC\n+\nIIIIIIIIII\n"),
    "letters beyond ASCII in a FASTA comment": fastq(f">a Müller\n{BASES}\n", "r.fa"),
    "a byte-order mark": fastq(f"\ufeff>a\n{BASES}\n", "r.fa"),
    "line ends of an old Mac": fastq(RECORD.replace("\n", "\r")),
    "blanks at line ends": fastq(RECORD.replace(BASES, f"{BASES} ").replace("II\n", "II \n")),
    "blanks in the last line": fastq("@a\nACGT\n+\nIIII\n \n", line="1 read, 1 chunk, 4 candidates in out"),
    "a leading blank line with CRLF": fastq("\r\n" + RECORD),
    "two leading blank lines": fastq("\n\n" + RECORD),
    "a line end after gzip": fastq(NEWLINE_AFTER_GZIP, "r.fq.gz"),
    "zstd with a long window": fastq(LONG_WINDOW, "r.fq.zst"),
    "an empty model": Case(
        {"empty.pt": ""},
        "models import empty.pt",
        "error: empty.pt: found an empty file; expected a file of the model. Fetch it again.",
        3,
    ),
    "a model that is a Git LFS pointer": Case(
        {"lfs.pt": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"},
        "models import lfs.pt",
        "error: lfs.pt: found a Git LFS pointer; expected a file of the model. Fetch it again with `git lfs pull`.",
        3,
    ),
    "a misspelt variable": Case(
        {},
        "settings",
        "error: variable VIRNUCPRO_PRECISON: found a name that no setting has; expected the name of a setting, the "
        "nearest is VIRNUCPRO_PRECISION. Correct the name or unset it; docs/settings.md lists all settings.",
        2,
        {"VIRNUCPRO_PRECISON": "bfloat16"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_input_comes_to_its_line_and_exit_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    for variable in ("VIRNUCPRO_DATA_ROOT", "VIRNUCPRO_DROPS_FOLDER", "DAGSTER_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in case.environment.items():
        monkeypatch.setenv(variable, value.format(folder=tmp_path))
    for file, content in case.files.items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {file: (tmp_path / file).read_bytes() for file in case.files}
    done = CliRunner().invoke(app, case.command.split(), prog_name="virnucpro")
    assert done.exit_code == case.exit_code, done.output
    assert isinstance(done.exception, SystemExit | None)
    assert case.line.format(folder=tmp_path) in done.output.splitlines()
    assert len(done.stderr.splitlines()) <= 2
    assert {file: (tmp_path / file).read_bytes() for file in case.files} == before

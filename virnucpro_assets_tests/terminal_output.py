"""What the commands print, as files in `e2e/terminal`: `python -m virnucpro_assets_tests.terminal_output` writes them.

What differs from run to run is replaced: folders, digests, run ids, times, rates, and figures of floating point.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from virnucpro_assets_tests.conftest import Installation, Outcome
from virnucpro_assets_tests.jobs import write_small_reads

FOLDER = Path(__file__).parent / "e2e" / "terminal"
COMMANDS: dict[str, Sequence[str]] = {
    "demo": ("demo", "--out", "demo-results"),
    "predict": ("predict", "small.fastq", "--out", "results"),
    "predict-quiet-json": ("predict", "small.fastq", "--out", "results", "--quiet", "--json"),
    "materialize": ("materialize", "small"),
    "retry": ("retry", "small"),
    "retry-all": ("retry",),
    "drops": ("drops",),
    "drops-json": ("drops", "--json"),
    "drops-missing": ("drops", "--missing"),
    "checks": ("checks", "small"),
    "report": ("report", "small"),
}
REPLACED = (
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "RUN"),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{12}\b", "DIGEST"),
    (r"(, [\d,.]+ a second)?(, \S+ (s|min) left)?$", ""),
    (r"\b(min cosine|percentile|difference|efficiency|agreement) [\d.e-]+", r"\1 N"),
    (r'("(seconds|viral_share\w*|expected_false_calls)": )[\d.]+', r"\1N"),
    # How often progress is said depends on how fast the machine is.
    (r"^\w+: [\d,]+ of [\d,]+ \((?!100%)\d+%\) sequences\n", ""),
)


def outputs(installation: Installation) -> dict[str, str]:
    """What each of COMMANDS prints in an empty installation, by name, one after the other."""
    write_small_reads(installation.folder / "small.fastq")
    lines = [(command, dict[str, str]()) for command in COMMANDS.values()]
    found = installation.run_all(lines)
    return {
        name: _text(command, outcome, installation.folder)
        for (name, command), outcome in zip(COMMANDS.items(), found, strict=True)
    }


def _text(command: Sequence[str], outcome: Outcome, folder: Path) -> str:
    parts = [f"$ virnucpro {' '.join(command)}", "--- standard error", outcome.stderr.rstrip("\n")]
    parts += ["--- standard output", outcome.stdout.rstrip("\n"), f"--- exit code {outcome.exit_code}"]
    text = "\n".join(part for part in parts if part).replace(str(folder), "FOLDER")
    for pattern, replacement in REPLACED:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return f"{text}\n"


def main() -> None:
    """Write what the commands print now."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in outputs(Installation(Path(folder))).items():
            (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

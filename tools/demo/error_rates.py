"""The expected share of wrong calls against the true one: `python -m tools.demo.error_rates READ_CALLS [--json FILE]`.

READ_CALLS is the `read_calls.parquet` of the demo drop, whose reads are from regions that neither training nor
calibration saw. For each of five rates it says how many reads have a q-value of at most that, the share of wrong ones
that is expected among them, and the true share.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from virnucpro_assets.demo.evaluation import error_rates
from virnucpro_assets.demo.truth import read_truth
from virnucpro_assets.errors import InputError
from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.reports.drop_figures import values_by_name


def main() -> None:
    """Print the table, and write it as JSON if wanted."""
    parser = argparse.ArgumentParser(description="The expected share of wrong calls against the true one.")
    parser.add_argument("read_calls", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    q_values = values_by_name(options.read_calls, "q_value")
    if not q_values:
        raise InputError(
            options.read_calls,
            found="no q-value",
            expected="the calls of the demo drop by a classifier with a calibration",
            advice="Run `virnucpro demo --out demo` and give demo/read_calls.parquet.",
        )
    found = error_rates(q_values, read_truth())
    sys.stdout.write("q-value at most\treads\texpected share\ttrue share\n")
    for rate in found:
        shares = ("-" if share is None else f"{share:.3f}" for share in (rate.expected, rate.true))
        sys.stdout.write("\t".join((f"{rate.wanted:g}", str(rate.reads), *shares)) + "\n")
    if options.json:
        write_text(options.json, json.dumps([asdict(rate) for rate in found], indent=1) + "\n")


if __name__ == "__main__":
    main()

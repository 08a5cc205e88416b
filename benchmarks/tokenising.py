"""What tokenising costs: the share of the time of the model that it feeds.

    python -m benchmarks.tokenising [--sequences 16] [--rounds 5] [--out FILE]

DNABERT-S at its published shape (12 layers, width 768) with random weights and a vocabulary of 4,096
learned from the shipped excerpts, and ESM-2 8M, its smallest shape, on reads of 300 bases and on
proteins of 100 residues. Tokenising and one pass of the model take turns; the shares are those of the
medians.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.demo_reads import demo_reads
from tools.demo.tokenizer import learn_tokenizer
from virnucpro_assets.demo.excerpts import read_excerpts
from virnucpro_assets.demo.paths import DATA_FOLDER
from virnucpro_assets.models.configs import DnabertSConfig, Esm2Config
from virnucpro_assets.models.loading import load_encoder, random_weights, save_encoder
from virnucpro_assets.models.packed_encoder import PackedEncoder
from virnucpro_assets.models.packs import TokenPack
from virnucpro_assets.sequences.ragged import Ragged
from virnucpro_assets.vocabulary import Precision

VOCABULARY = 4096
DNA = DnabertSConfig(
    num_hidden_layers=12,
    hidden_size=768,
    num_attention_heads=12,
    intermediate_size=3072,
    vocab_size=VOCABULARY,
)
PROTEIN = Esm2Config(num_hidden_layers=6, hidden_size=320, num_attention_heads=20)
AMINO_ACIDS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
MOST = 0.05


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(encoder: PackedEncoder, sequences: Ragged, rounds: int) -> dict[str, Any]:
    """Seconds of tokenising and of the model, by turns, after one pass of each to warm up."""
    pack = TokenPack.from_tokens(encoder.tokenise(sequences))
    encoder.embed(pack)
    tokenising, model = [], []
    for _ in range(rounds):
        tokenising.append(timed(lambda: encoder.tokenise(sequences)))
        model.append(timed(lambda: encoder.embed(pack)))
    seconds, of_model = statistics.median(tokenising), statistics.median(model)
    return {
        "encoder": encoder.kind,
        "precision": encoder.precision,
        "sequences": len(sequences),
        "tokens": len(pack.tokens),
        "seconds_tokenising": round(seconds, 5),
        "seconds_model": round(of_model, 4),
        "share": round(seconds / of_model, 5),
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = ["| encoder | tokens | tokenising, ms | model, ms | share |", "| --- | --- | --- | --- | --- |"]
    for one in results:
        times = (f"{1000 * one[name]:,.1f}" for name in ("seconds_tokenising", "seconds_model"))
        cells = (f"{one['encoder']} {one['precision']}", f"{one['tokens']:,}", *times, f"{one['share']:.2%}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and fail if a share is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    dna = Ragged.from_strings(row.tobytes() for rows in demo_reads(options.sequences, 300) for row in rows)
    residues = np.random.default_rng(3).choice(AMINO_ACIDS, (8 * options.sequences, 100))
    proteins = Ragged.from_strings(row.tobytes() for row in residues)
    learned = learn_tokenizer(read_excerpts(DATA_FOLDER, "training"), VOCABULARY)
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_encoder(folder / "dna", DNA, random_weights(DNA, seed=1), tokenizer_json=learned)
        save_encoder(folder / "protein", PROTEIN, random_weights(PROTEIN, seed=1))
        for model, sequences in (("dna", dna), ("protein", proteins)):
            for precision in PRECISIONS:
                encoder = load_encoder(folder / model, precision=precision)
                results.append(measure(encoder, sequences, options.rounds))
    print(table(results))
    if options.out:
        content = {"processors": os.cpu_count(), "results": results}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if (largest := max(one["share"] for one in results)) > MOST:
        raise SystemExit(f"found a share of {largest:.1%}; expected at most {MOST:.0%}")


if __name__ == "__main__":
    main()

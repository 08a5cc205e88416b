"""Time and peak memory of loading ESM-2 in its published formats, side by side with fair-esm's own loader.

    python -m benchmarks.model_loading [--models 650M,3B] [--layers-3b 36] [--out benchmarks/results/model_loading.json]

Models of the published shapes with random weights are saved as they are published: 650M in float32
as fair-esm's `.pt` and as Hugging Face safetensors, 3B in float16 as fair-esm's `.pt`. Then each
step is a process of its own: fair-esm's loader (with the one class of its files admitted, as newer
torch asks for it), our import, and our loading of what was imported. The peak is what the kernel
counts as the process's own (anonymous) memory and as resident in all, sampled a hundred times a
second, less what the imports of the libraries take. Pages mapped from a file are resident, but the
kernel takes them back at will. `--layers-3b` builds 3B with fewer layers where memory asks for it.
"""

import argparse
import json
import select
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, TextIO

import psutil
import torch

from virnucpro_assets.models.attention import rotary_frequencies
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.loading import published_shapes
from virnucpro_assets.models.weights import write_weights

MIB = 1 << 20
SHAPES = {"650M": (33, 1280, 20, torch.float32), "3B": (36, 2560, 40, torch.float16)}

STEPS = {
    "fair-esm loads its file": """
import esm.pretrained
from argparse import Namespace
with torch.serialization.safe_globals([Namespace]):
    model, _ = esm.pretrained.load_model_and_alphabet_local(sys.argv[1] + '/esm2.pt')
""",
    "import of fair-esm's file": """
from virnucpro_assets.models.encoder_imports import import_encoder
from virnucpro_assets.models.registry import Registry
from pathlib import Path
import_encoder(Registry(Path(sys.argv[1]) / 'models'), Path(sys.argv[1]) / 'esm2.pt', 'one')
""",
    "import of a Hugging Face folder": """
from virnucpro_assets.models.encoder_imports import import_encoder
from virnucpro_assets.models.registry import Registry
from pathlib import Path
import_encoder(Registry(Path(sys.argv[1]) / 'models'), Path(sys.argv[1]) / 'hub', 'two')
""",
    "load as stored": """
from virnucpro_assets.models.loading import load_encoder
from pathlib import Path
load_encoder(Path(sys.argv[1]) / 'models' / 'one', precision=sys.argv[2])
""",
    "load in bfloat16": """
from virnucpro_assets.models.loading import load_encoder
from pathlib import Path
load_encoder(Path(sys.argv[1]) / 'models' / 'one', precision='bfloat16')
""",
    "load in float32": """
from virnucpro_assets.models.loading import load_encoder
from pathlib import Path
load_encoder(Path(sys.argv[1]) / 'models' / 'one', precision='float32')
""",
}

# The libraries are loaded before the clock starts: a line on standard output says so.
PROGRAM = """
import sys, time, torch, esm.pretrained
import virnucpro_assets.models.encoder_imports, virnucpro_assets.models.loading
torch.set_num_threads(1)
print('ready', flush=True); sys.stdin.readline()
started = time.monotonic()
{step}
print(time.monotonic() - started, flush=True); sys.stdin.readline()
"""


def save_models(folder: Path, layers: int, width: int, heads: int, dtype: torch.dtype, *, hub: bool) -> int:
    """Write a model as published, one tensor's worth of random numbers at a time; its size in bytes."""
    config = Esm2Config(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads)
    generator = torch.Generator().manual_seed(1)
    state = {
        name: (torch.randn(shape, generator=generator) * 0.02).to(dtype)
        for name, shape in published_shapes(config).items()
    }
    size = sum(tensor.nbytes for tensor in state.values())
    shape = Namespace(
        encoder_layers=layers, encoder_embed_dim=width, encoder_attention_heads=heads, token_dropout=True
    )
    prefix, frequencies = "encoder.sentence_encoder.", rotary_frequencies(config.head_width).half().to(dtype)
    named = {prefix + name: tensor for name, tensor in state.items()}
    for number in range(layers):
        named[f"{prefix}layers.{number}.self_attn.rot_emb.inv_freq"] = frequencies.clone()
    head = {"dense": (width, width), "layer_norm": (width,)}
    for name, sizes in head.items():
        named[f"encoder.lm_head.{name}.weight"] = torch.ones(sizes, dtype=dtype)
        named[f"encoder.lm_head.{name}.bias"] = torch.zeros(width, dtype=dtype)
    named["encoder.lm_head.weight"] = named[f"{prefix}embed_tokens.weight"]
    named["encoder.lm_head.bias"] = torch.zeros(33, dtype=dtype)
    torch.save({"cfg": {"model": shape}, "model": named}, folder / "esm2.pt")
    contact = {
        "contact_head.regression.weight": torch.zeros(1, layers * heads),
        "contact_head.regression.bias": torch.zeros(1),
    }
    torch.save({"model": contact}, folder / "esm2-contact-regression.pt")
    if hub:
        save_hub(folder / "hub", config, state)
    return size


def save_hub(folder: Path, config: Esm2Config, state: dict[str, torch.Tensor]) -> None:
    """Write the same tensors as a Hugging Face folder."""
    parts = {
        "self_attn.q_proj": "attention.self.query",
        "self_attn.k_proj": "attention.self.key",
        "self_attn.v_proj": "attention.self.value",
        "self_attn.out_proj": "attention.output.dense",
        "self_attn_layer_norm": "attention.LayerNorm",
        "fc1": "intermediate.dense",
        "fc2": "output.dense",
        "final_layer_norm": "LayerNorm",
        "embed_tokens": "embeddings.word_embeddings",
    }

    def theirs(name: str) -> str:
        stem, _, kind = name.rpartition(".")
        layer, _, part = stem.partition(".")
        if layer == "layers":
            number, _, part = part.partition(".")
            return f"esm.encoder.layer.{number}.{parts[part]}.{kind}"
        return f"esm.{parts[stem]}.{kind}" if stem in parts else f"esm.encoder.{name}"

    write_weights(folder / "model.safetensors", {theirs(name): tensor for name, tensor in state.items()})
    about = {
        "model_type": "esm",
        "intermediate_size": 4 * config.hidden_size,
        "vocab_size": 33,
        "position_embedding_type": "rotary",
        "token_dropout": True,
        "layer_norm_eps": 1e-5,
    }
    shape = config.model_dump(exclude={"model_type"})
    (folder / "config.json").write_text(json.dumps(shape | about))


def measure(step: str, folder: Path, precision: str) -> dict[str, float]:
    """Run a step in a process of its own; seconds, and MiB above what the libraries take."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM.format(step=step), str(folder), precision],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    watched = psutil.Process(process.pid)
    before = memory_of(watched)
    peak = dict(before)
    process.stdin.write("\n")
    process.stdin.flush()
    while (line := line_of(process.stdout)) is None:
        now = memory_of(watched)
        peak = {name: max(peak[name], value) for name, value in now.items()}
        time.sleep(0.01)
    process.stdin.close()
    process.wait()
    if not line:
        sys.exit(f"the step ended with {process.returncode}")
    return {
        "seconds": round(float(line), 2),
        **{f"{name}_mib": round((peak[name] - before[name]) / MIB) for name in peak},
    }


def memory_of(process: psutil.Process) -> dict[str, int]:
    """Bytes that are the process's own, and all that are resident."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    kilobytes = {name: int(values[name].split()[0]) for name in ("RssAnon", "VmRSS")}
    return {"own": kilobytes["RssAnon"] << 10, "resident": kilobytes["VmRSS"] << 10}


def line_of(stream: TextIO) -> str | None:
    """The line of a pipe once it is there, an empty text at the end, None so far."""
    ready, _, _ = select.select([stream], [], [], 0)
    return stream.readline() if ready else None


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="650M,3B")
    parser.add_argument("--layers-3b", type=int, default=36)
    parser.add_argument("--folder", type=Path, help="where models are written, some 3 times their size")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name in arguments.models.split(","):
        layers, width, heads, dtype = SHAPES[name]
        layers = arguments.layers_3b if name == "3B" else layers
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            place = Path(folder)
            stored = save_models(place, layers, width, heads, dtype, hub=name == "650M")
            found: dict[str, Any] = {
                "layers": layers,
                "stored_as": str(dtype).removeprefix("torch."),
                "stored_mib": round(stored / MIB),
            }
            print(f"{name}: {layers} layers, {found['stored_as']}, {found['stored_mib']} MiB")
            for step, program in STEPS.items():
                if "Hugging" in step and not (place / "hub").exists():
                    continue
                found[step] = measure(program, place, found["stored_as"])
                print(f"  {step}: {found[step]}", flush=True)
            results[name] = found
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What a device process does before its first pack, alone and on all devices at once; and the classifier's pass.

    python -m benchmarks.gpu.loading [--devices 2] [--rounds 2] [--rows 400000] [--folder /dev/shm]
        [--out benchmarks/results/gpu_loading.json] [--small]

Each process is a fresh one that sees one GPU, with the processors that a device process has. Its steps are timed from
the start of the interpreter: torch is imported, then what else a device process imports, the device answers, the files
are known to be unchanged, weights and kernels are there (`ready`). Memory is what the process held at most. `together`
is all processes at the same time, the slowest of them; the ratio to `alone` may be 1.2.

The classifier's pass scores made-up rows of the published width with all processors of the machine: 200,000 rows a
second are wanted. `--small` takes small shapes on the processors: a trial of the command.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from virnucpro_assets.files.atomic import write_text
from virnucpro_assets.inference.encoder_choice import Machine, choose_kernels
from virnucpro_assets.models.folders import are_unchanged, read_config, read_model_folder
from virnucpro_assets.vocabulary import Precision

CHILD = "import sys; from benchmarks.gpu.loading import child; child(*sys.argv[1:])"
MOST_TOGETHER = 1.2
LEAST_ROWS = 200_000


def child(folder: str, device: str, threads: str, started: str) -> None:
    """Load the encoder in `folder` onto `device`; print the seconds since `started` after each step, as JSON."""
    steps = {"started": time.time() - float(started)}
    os.environ["OMP_NUM_THREADS"] = threads
    import torch  # noqa: PLC0415

    steps["torch_imported"] = time.time() - float(started)
    from virnucpro_assets.inference import worker  # noqa: PLC0415
    from virnucpro_assets.models.loading import load_encoder  # noqa: PLC0415

    worker.limit_threads(int(threads))
    steps["all_imported"] = time.time() - float(started)
    torch.empty(1, device=device).cpu()
    steps["device_answers"] = time.time() - float(started)
    path, on_gpu = Path(folder), device.startswith("cuda")
    model = read_model_folder(path)
    if not are_unchanged(path, model.stamps):
        raise SystemExit(f"{path}: found a model that changed just now")
    steps["known_unchanged"] = time.time() - float(started)
    precision: Precision = "float16" if on_gpu else "float32"
    kernels = choose_kernels(model.kind, precision, Machine(has_gpus=on_gpu))
    load_encoder(path, precision=precision, device=device, attention=kernels.attention, fused=kernels.fused)
    if on_gpu:
        torch.cuda.synchronize()
    steps["ready"] = time.time() - float(started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({name: round(value, 3) for name, value in steps.items()} | {"peak_mib": peak}))


def at_once(folder: Path, devices: list[int], *, on_gpu: bool) -> list[dict[str, float]]:
    """One process a device, all started together; what each printed."""
    threads, processes = max(1, (os.cpu_count() or 1) // max(1, len(devices))), []
    for device in devices:
        environment = os.environ | ({"CUDA_VISIBLE_DEVICES": str(device)} if on_gpu else {})
        arguments = [str(folder), "cuda:0" if on_gpu else "cpu", str(threads), str(time.time())]
        command = [sys.executable, "-c", CHILD, *arguments]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    found = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a process that loads a model failed")
    return [json.loads(text) for text in found]


def measure_loading(folder: Path, devices: int, rounds: int, *, on_gpu: bool) -> dict[str, Any]:
    """Alone and together, `rounds` times in turns; of each the round that was fastest to be ready."""
    alone, together = [], []
    at_once(folder, [0], on_gpu=on_gpu)
    for _ in range(rounds):
        alone += at_once(folder, [0], on_gpu=on_gpu)
        found = at_once(folder, list(range(devices)), on_gpu=on_gpu)
        together.append(max(found, key=_ready))
    best = {"alone": min(alone, key=_ready), "together": min(together, key=_ready)}
    weights = (folder / "model.safetensors").stat().st_size
    return {
        "weights_mib": weights >> 20,
        "devices": devices,
        **best,
        "ratio": round(_ready(best["together"]) / _ready(best["alone"]), 2),
        "kind": read_config(folder).kind,
    }


def _ready(steps: dict[str, float]) -> float:
    return steps["ready"]


def measure_scores(folder: Path, rows: int) -> dict[str, Any]:
    """Rows a second of the classifier's pass, verified and read from `folder`, twice."""
    from benchmarks import back  # noqa: PLC0415
    from virnucpro_assets.calling.scoring import Scorer, scores_of_merged  # noqa: PLC0415
    from virnucpro_assets.storage.merged import write_merged  # noqa: PLC0415

    back.lay_out_ours(folder, rows)
    folders = {kind: back.shard_folders(folder, kind) for kind in back.ENCODER_KINDS}
    write_merged(folder, folders, {kind: back.recipe_of(kind) for kind in back.ENCODER_KINDS}, rows)
    scorer, seconds = Scorer.load(folder / "classifier"), []
    for _ in range(2):
        started = time.monotonic()
        scores_of_merged([scorer], folder, lambda _: None)
        seconds.append(round(time.monotonic() - started, 3))
    return {
        "rows": rows,
        "processors": len(os.sched_getaffinity(0)),
        "seconds": seconds,
        "rows_a_second": round(rows / min(seconds)),
    }


def main() -> None:
    """Measure, write JSON, and fail if loading together or the scores are slower than they may be on GPUs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument(
        "--folder", type=Path, help="where models and rows go for the time, 6 GB + 13 KB a row"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    # A child that loads a model must not import torch before its clock runs.
    from benchmarks.gpu.progress import step  # noqa: PLC0415

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for kind, folder in _models(Path(name), small=options.small).items():
            with step(f"loading {kind}"):
                found[kind] = measure_loading(
                    folder, options.devices, options.rounds, on_gpu=not options.small
                )
            print(json.dumps({kind: found[kind]}), flush=True)
        with step("the classifier's pass"):
            found["scores"] = measure_scores(Path(name) / "rows", 4_000 if options.small else options.rows)
        print(json.dumps({"scores": found["scores"]}), flush=True)
    if options.out:
        write_text(options.out, json.dumps(found, indent=1) + "\n")
    slow = [kind for kind in ("esm2", "dnabert_s") if found[kind]["ratio"] > MOST_TOGETHER]
    if not options.small and (slow or found["scores"]["rows_a_second"] < LEAST_ROWS):
        raise SystemExit(
            f"found {', '.join(slow) or 'nothing'} that loads more than {MOST_TOGETHER} times as slowly together, and "
            f"{found['scores']['rows_a_second']:,} rows a second; expected none, and {LEAST_ROWS:,}"
        )


def _models(folder: Path, *, small: bool) -> dict[str, Path]:
    """Random models of the published shapes; made in a process of its own, which lets go of the device."""
    code = "import sys; from benchmarks.gpu.loading import make_models; make_models(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, str(folder), str(int(small))], check=True)
    return {kind: folder / kind for kind in ("dnabert_s", "esm2")}


def make_models(folder: str, small: str) -> None:
    """Write both encoders into `folder`, each under the name of its kind."""
    import torch  # noqa: PLC0415

    from benchmarks.gpu.bench import FULL, SMALL  # noqa: PLC0415
    from benchmarks.gpu.models import save_random  # noqa: PLC0415

    device = torch.device("cpu" if int(small) else "cuda:0")
    for kind, config in (SMALL if int(small) else FULL).shapes.items():
        read_model_folder(save_random(config, Path(folder) / kind, device).path)


if __name__ == "__main__":
    main()

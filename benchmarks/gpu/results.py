"""The file of results that the parts of a measurement add to."""

import json
from pathlib import Path
from typing import Any

import torch

from virnucpro_assets.files.atomic import write_text


def add(path: Path, part: str, found: Any, seconds: float) -> None:
    """Put what a part found in the file, in the place of what it found before, and say it."""
    result = json.loads(path.read_text()) if path.exists() else {}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    result[part] = {
        "device": gpu,
        "torch": torch.__version__,
        "seconds of this part": round(seconds),
        "found": found,
    }
    write_text(path, json.dumps(result, indent=1) + "\n")
    print(json.dumps({part: result[part]}, indent=1), flush=True)

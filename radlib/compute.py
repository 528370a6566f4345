"""The machine: device, precision, and a record of what computed a result."""

import importlib.metadata
import os
import platform
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

# What cuBLAS asks for where sums shall be taken in a fixed order; it reads it when it starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
_RECORDED = "torch torchvision timm numpy scipy pandas scikit-learn statsmodels matplotlib papermill dvc"


def device() -> torch.device:
    """The first CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision() -> str:
    """`bfloat16` where the hardware multiplies it natively, else `float32`.

    Emulated bfloat16 is slower than float32, so a processor must report AVX512-BF16 or AMX.
    """
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


def autocast() -> torch.autocast:
    """Mixed precision on `device()` as `precision()` says; does nothing in float32."""
    enabled = precision() == "bfloat16"
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=enabled)


def pinned(tensor: torch.Tensor) -> torch.Tensor:
    """In memory that a graphics card fetches by itself while it computes; as it is where there is none."""
    return tensor.pin_memory() if torch.cuda.is_available() else tensor


def start_run(seed: int) -> torch.Generator:
    """Seed everything that a training draws from; returns a generator for its batches.

    A graphics card is told to sum in a fixed order, so that a second run gives the same bits.
    """
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


@contextmanager
def inference():
    """No gradients, mixed precision."""
    with torch.inference_mode(), autocast():
        yield


def provenance() -> dict[str, Any]:
    """Versions and hardware kind, as printed in every report; no name or path of the machine."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"{device().type}: {where}",
        "threads": torch.get_num_threads(),
        "precision": precision(),
        **{name: importlib.metadata.version(name) for name in _RECORDED.split()},
    }


def _processor() -> str:
    try:
        return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1].strip()
    except (OSError, TypeError):
        return platform.processor() or "unknown processor"

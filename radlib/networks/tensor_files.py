"""Files of tensors as PyTorch and its users save them, told by what is in them, not by what they are called.

Nothing in a file is run: pickles are read with `weights_only=True`.
"""

import pickle
import struct
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from radlib.errors import UserError

# What PyTorch raises where a pickle is cut, changed, or asks for more than tensors.
_DAMAGED = (
    *(OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, AssertionError),
    *(OverflowError, MemoryError, struct.error, pickle.UnpicklingError, zipfile.BadZipFile),
)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; UserError where it is damaged."""
    try:
        with safe_open(path, framework="pt") as header:
            metadata = header.metadata() or {}
        return load_file(path), metadata
    except (SafetensorError, OSError, ValueError) as exc:
        raise UserError(
            f"{path} cannot be read as weights: its safetensors are damaged ({exc}); fetch or make it again"
        ) from exc


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State dict and metadata of safetensors or of what `torch.save` wrote; UserError of anything else."""
    with path.open("rb") as file:
        start = file.read(256)
    if start[8:9] == b"{":
        return read_safetensors(path)
    try:
        other = _something_else(path, start)
        if other:
            raise UserError(f"{path} {other}")
        with path.open("rb") as file:  # given a path, PyTorch trusts its suffix
            found = torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGED as exc:
        raise UserError(
            f"{path} cannot be read as weights ({type(exc).__name__}): it is damaged, or holds more than "
            "tensors, which is never run; fetch it again, or save `model.state_dict()`"
        ) from exc
    return _state_dict(found, path), {}


def _something_else(path: Path, start: bytes) -> str:
    """What a file is that holds no tensors, and what to do; empty for others."""
    if not start:
        return "is empty; fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS to the file; fetch the file itself: git lfs pull"
    if start.lstrip().startswith(b"<"):
        return "is a web page, such as that of a login or an error; fetch the file itself"
    if start.startswith(pickle.PROTO):
        return ""
    if not zipfile.is_zipfile(path):
        return "cannot be read as weights: it is damaged, or of no kind known here; fetch it again"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "model.weights.h5" in names:
        return "is a Keras 3 archive (.keras); load it in Keras and save it by `model.save('name.h5')`"
    if any(name.endswith("constants.pkl") for name in names):
        return "is a TorchScript program; save `torch.jit.load(file).state_dict()` by torch.save"
    if not any(name.endswith("data.pkl") for name in names):
        return f"is a zip archive ({', '.join(names[:3])}, ...); unpack it and name the file with the weights"
    return ""


def _state_dict(found: object, path: Path) -> dict[str, Tensor]:
    """The state dict that was saved, or the only one beside an optimiser, an epoch and the like."""
    if _is_state(found):
        return found
    items = found.items() if isinstance(found, dict) else ()
    within = {key: value for key, value in items if _is_state(value)}
    if len(within) == 1:
        return next(iter(within.values()))
    several = f" but several ({', '.join(map(str, within))})" if within else ""
    raise UserError(
        f"{path} holds no plain state dict of tensors{several}; save the one of the network alone: "
        "`torch.save(model.state_dict(), 'name.pt')`"
    )


def _is_state(found: object) -> bool:
    return isinstance(found, dict) and bool(found) and all(isinstance(v, Tensor) for v in found.values())

"""Files of tensors as PyTorch and its users save them, told by what is in them, not by what they are called.

Nothing in a file is run: pickles are read with `weights_only=True`.
"""

import argparse
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
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


def read_header(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file, without its tensors."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; UserError where it is damaged."""
    try:
        return load_file(path), read_header(path)
    except (SafetensorError, OSError, ValueError) as exc:
        raise UserError(
            f"{path} cannot be read as weights: its safetensors are damaged ({exc}); fetch or make it again"
        ) from exc


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of safetensors or of what `torch.save` wrote; UserError of anything else.

    A state dict may lie within others, beside an optimiser and an epoch: its keys come before those of the
    tensors, as in `model.conv1.weight`.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if start[8:9] == b"{":
        return read_safetensors(path)
    try:
        other = _something_else(path, start)
        if other:
            raise UserError(f"{path} {other}")
        # Given a path, PyTorch trusts its suffix. The arguments of a program, names and values, are harmless.
        with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGED as exc:
        raise UserError(
            f"{path} cannot be read as weights ({type(exc).__name__}): it is damaged, or holds more than "
            "tensors, which is never run; fetch it again, or save `model.state_dict()`"
        ) from exc
    tensors = dict(_tensors(found))
    if not tensors:
        raise UserError(
            f"{path} holds no tensors by name; save those of the network: "
            "`torch.save(model.state_dict(), 'name.pt')`"
        )
    return tensors, {}


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
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or start[257:262] == b"ustar":
        return "is a compressed archive; unpack it and name the file with the weights"
    if not zipfile.is_zipfile(path):
        return "cannot be read as weights: it is damaged, or of no kind known here; fetch it again"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("constants.pkl") for name in names):
        return "is a TorchScript program; save `torch.jit.load(file).state_dict()` by torch.save"
    if not any(name.endswith("data.pkl") for name in names):
        return f"is a zip archive ({', '.join(names[:3])}, ...); unpack it and name the file with the weights"
    return ""


def _tensors(found: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor within dictionaries within dictionaries, under all their keys: `model.conv1.weight`."""
    if isinstance(found, Tensor):
        yield name, found
    elif isinstance(found, Mapping):
        for key, value in found.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))

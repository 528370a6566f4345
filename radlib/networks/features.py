"""What a frozen network says of every image, computed once per (weights, preprocessing, view).

Frozen runs read pooled features; `top10` runs read the input of the first trainable layer. Every fold, rate
and seed shares them. Augmentation is a fixed number of stored views: view 0 is the image itself.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from radlib import compute
from radlib.code import code_digest
from radlib.data import batches
from radlib.data.images import Packed
from radlib.machines.workers import Advance
from radlib.networks import backbones
from radlib.networks.weights import Weights
from radlib.seeds import digest_of, seed_of
from radlib.store import atomic_path

BATCH = 64
NOTHING = np.zeros(0, dtype=int)
Append = Callable[[str, Tensor], None]  # to the tensor of that name, a batch (B, ...)


@dataclass(frozen=True)
class Features:
    """One tensor per view: `pooled` float32 (n, C); `boundary` bfloat16 (n, c, h, w), or None.

    `maps` bfloat16 (m, C, h, w): the last feature maps of view 0, of the images `mapped` (m,) alone. All are
    maps of the stored files: only what is read takes memory, and all processes share it.
    """

    pooled: Sequence[Tensor]
    boundary: Sequence[Tensor] | None
    maps: Tensor | None = None
    mapped: np.ndarray | None = None

    def maps_of(self, rows: np.ndarray) -> Tensor:
        """(B, C, h, w) of rows that are among `mapped`."""
        return self.maps[np.searchsorted(self.mapped, rows)]


def features_of(
    packed: Packed,
    weights: Weights,
    size: int,
    kind: str,
    views: int,
    boundary: bool,
    store: Path,
    advance: Advance = lambda done: None,
    mapped: np.ndarray = NOTHING,
) -> Features:
    """Features of every image of a task, from the store or from one pass per view.

    Args:
        size: input side in px.
        kind: augmentation of views 1, 2, ...: `none`, `shifts` or `full`.
        boundary: also keep the input of the first layer that `top10` trains.
        advance: told of every image and view that is done.
        mapped: rows, ascending, whose last feature maps are kept.
    """
    model = None
    stored = []
    # Named only where there are some, so that features of tasks without masks keep their names.
    keep = [digest_of(mapped.tolist())] if len(mapped) else []
    for view in range(count_views(kind, views)):
        key = digest_of(
            code_digest(__name__), packed.digest, weights.digest, weights.backbone, size, view and kind, view,
            boundary, compute.precision(), compute.device().type, *([] if view else keep),
        )  # fmt: skip
        path = store / "features" / f"{key}.safetensors"
        tensors = _load(path)
        if tensors is None:
            model = model or weights.build()
            maps = None
            if view:
                seed = seed_of("view", kind, view)
                maps = batches.draw_augmentation(
                    len(packed.manifest), kind, torch.Generator().manual_seed(seed)
                )
            with _writing(path) as append:
                _compute(
                    append, model, packed, weights, size, maps, boundary, advance, NOTHING if view else mapped
                )
            tensors = load_file(path)
        else:
            advance(len(packed.manifest))
        stored.append(tensors)
    return Features(
        [t["pooled"] for t in stored],
        [t["boundary"] for t in stored] if boundary else None,
        stored[0].get("maps"),
        mapped,
    )


def count_views(kind: str, views: int) -> int:
    """How many views are stored: an image that is not augmented has one."""
    return views if kind != "none" else 1


def _compute(
    append: Append,
    model: nn.Module,
    packed: Packed,
    weights: Weights,
    size: int,
    maps: Tensor | None,
    boundary: bool,
    advance: Advance,
    mapped: np.ndarray,
) -> None:
    hooks = []
    if boundary:

        def keep(_, inputs) -> None:
            append("boundary", _joined(inputs[0]))

        module = model.get_submodule(backbones.top_of(weights.backbone).boundary)
        hooks.append(module.register_forward_pre_hook(keep))
    model.eval()
    rows = np.arange(len(packed.manifest))
    with compute.inference():
        for batch_rows in batches.in_order(rows, BATCH):
            batch = batches.gather(packed.images, batch_rows, size)
            batch = batches.augment(batch, None if maps is None else maps[batch_rows])
            batch = weights.preprocessing(batch).contiguous(memory_format=torch.channels_last)
            last = model.forward_features(batch)
            append("pooled", last.float().mean((2, 3)).cpu())
            if len(mapped):
                append("maps", _joined(last[np.flatnonzero(np.isin(batch_rows, mapped))]))
            advance(len(batch_rows))
    for hook in hooks:
        hook.remove()


def _joined(inputs: Tensor | list[Tensor]) -> Tensor:
    """The module's input as bfloat16 on the processor; a dense layer is given a list of maps."""
    joined = inputs if isinstance(inputs, Tensor) else torch.cat(list(inputs), dim=1)
    return joined.to("cpu", torch.bfloat16, copy=True)


@contextmanager
def _writing(path: Path) -> Iterator[Append]:
    """Write tensors batch by batch, so that a large task takes no more memory than a small one.

    Each is a plain file at first; in the end they become one safetensors file with its checksum, whole or not
    at all.
    """
    with atomic_path(path) as temporary, ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)))
        files, kinds = {}, {}

        def append(name: str, batch: Tensor) -> None:
            if name not in files:
                files[name] = held.enter_context((folder / name).open("wb"))
                kinds[name] = batch.dtype, batch.shape[1:]
            # Not `contiguous`, which leaves the strides of a map of 1 x 1 pixels as they are: channels last.
            ordered = batch.clone(memory_format=torch.contiguous_format)
            files[name].write(ordered.view(torch.uint8).numpy())

        yield append
        for file in files.values():
            file.close()
        tensors = {name: _mapped(folder / name, *kinds[name]) for name in files}
        save_file(tensors, temporary, metadata={"crc32": _checksum(tensors)})


def _mapped(file: Path, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    """A map of a plain file of numbers as (n, *shape)."""
    numbers = file.stat().st_size // dtype.itemsize
    return torch.from_file(str(file), size=numbers, dtype=dtype).view(-1, *shape)


def _checksum(tensors: dict[str, Tensor]) -> str:
    total = 0
    for key in sorted(tensors):
        total = zlib.crc32(tensors[key].contiguous().view(torch.uint8).numpy(), total)
    return f"{total:08x}"


def _load(path: Path) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as header:
            checksum = (header.metadata() or {}).get("crc32")
        tensors = load_file(path)
    except (SafetensorError, OSError) as exc:
        print(f"stored features {path.name} are damaged ({type(exc).__name__}); computing them again")
        return None
    if checksum != _checksum(tensors):
        print(f"stored features {path.name} do not match their checksum; computing them again")
        return None
    return tensors

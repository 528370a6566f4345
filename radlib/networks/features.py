"""What a frozen network says of every image, computed once per (weights, preprocessing, view).

Frozen runs read pooled features; `top10` runs read the input of the first trainable layer. Every fold, rate
and seed shares them. Augmentation is a fixed number of stored views: view 0 is the image itself.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from radlib import compute
from radlib.code import code_digest
from radlib.data import batches
from radlib.data.images import Packed
from radlib.errors import UserError
from radlib.machines.workers import Advance
from radlib.networks import backbones
from radlib.networks.tensor_files import read_safetensors
from radlib.networks.weights import Weights
from radlib.seeds import digest_of, seed_of
from radlib.store import atomic_path

BATCH = 64
NOTHING = np.zeros(0, dtype=int)
_LIBRARIES = ("torch", "timm", "segmentation-models-pytorch", "scikit-learn", "scipy", "numpy")
VERSIONS = tuple(f"{name} {version(name)}" for name in _LIBRARIES)


@dataclass(frozen=True)
class Features:
    """One tensor per view: `pooled` float32 (n, C); `boundary` bfloat16 (n, c, h, w), or None.

    `last` bfloat16 (m, ...): the network's last output of view 0, in its own layout, of the images `mapped`
    (m,) alone. All are maps of the stored files: only what is read takes memory, and all processes share it.
    """

    pooled: Sequence[Tensor]
    boundary: Sequence[Tensor] | None
    last: Tensor | None = None
    mapped: np.ndarray | None = None

    def last_of(self, rows: np.ndarray) -> Tensor:
        """(B, ...) of rows that are among `mapped`."""
        return self.last[np.searchsorted(self.mapped, rows)]


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
        mapped: rows, ascending, whose last output is kept before it is pooled.
    """
    stored = []
    for view in range(count_views(kind, views)):
        kept = NOTHING if view else mapped
        key = digest_of(
            code_digest(__name__),
            (packed.digest, weights.digest, weights.backbone, size),
            (view and kind, view, boundary, kept.tolist()),
            computed_by(),
        )
        path = store / "features" / f"{key}.safetensors"
        moves = moves_of(view, kind, len(packed.manifest))
        said = _said(packed, weights, size, moves, boundary, kept, advance)
        stored.append(from_store(path, said, len(packed.manifest), advance))
    return Features(
        [tensors["pooled"] for tensors in stored],
        [tensors["boundary"] for tensors in stored] if boundary else None,
        stored[0].get("last"),
        mapped,
    )


def computed_by() -> tuple[str, ...]:
    """What decides a network's numbers beside code, data and parameters."""
    return compute.precision(), compute.device().type, *VERSIONS


def count_views(kind: str, views: int) -> int:
    """How many views are stored: an image that is not augmented has one."""
    return views if kind != "none" else 1


def moves_of(view: int, kind: str, count: int) -> Tensor | None:
    """Affine maps (count, 2, 3) that make a view; none for view 0, the images themselves."""
    generator = torch.Generator().manual_seed(seed_of("view", kind, view))
    return batches.draw_augmentation(count, kind, generator) if view else None


def view_of(views: Sequence, epoch: int | None):
    """What an epoch reads of the stored views, which take turns; None is the image itself."""
    return views[0 if epoch is None else epoch % len(views)]


def _said(
    packed: Packed,
    weights: Weights,
    size: int,
    moves: Tensor | None,
    boundary: bool,
    mapped: np.ndarray,
    advance: Advance,
) -> Iterator[dict[str, Tensor]]:
    """What the network says of each batch, on the processor: `pooled`, and `boundary`, `last` if asked."""
    model, said, hook = weights.network, {}, None
    if boundary:
        module = model.get_submodule(backbones.top_of(weights.backbone).boundary)
        hook = module.register_forward_pre_hook(lambda _, inputs: said.update(boundary=_joined(inputs[0])))
    for rows in batches.in_order(np.arange(len(packed.manifest)), BATCH):
        with compute.inference():
            batch = batches.gather(packed.images, rows, size)
            batch = batches.augment(batch, None if moves is None else moves[rows])
            last = model.forward_features(weights.preprocessing(batch))
            said["pooled"] = backbones.pooled(model, last).cpu()
            if len(mapped):
                said["last"] = _joined(last[np.flatnonzero(np.isin(rows, mapped))])
        yield said
        advance(len(rows))
    if hook:
        hook.remove()


def _joined(inputs: Tensor | list[Tensor]) -> Tensor:
    """The module's input as bfloat16 on the processor; a dense layer is given a list of maps."""
    joined = inputs if isinstance(inputs, Tensor) else torch.cat(list(inputs), dim=1)
    return joined.to("cpu", torch.bfloat16, copy=True)


def from_store(
    path: Path, said: Iterator[dict[str, Tensor]], images: int, advance: Advance
) -> dict[str, Tensor]:
    """Maps of a stored file, which is written first where it lacks; only then a batch of `said` is computed.

    Args:
        said: of one batch after another, which tells `advance` of it; images: in all of them.
    """
    tensors = _load(path)
    if tensors is None:
        _write(path, said)
        return load_file(path)
    advance(images)
    return tensors


def _write(path: Path, said: Iterable[dict[str, Tensor]]) -> None:
    """Batch by batch into plain files, so that a large task takes no more memory than a small one; then all
    into one safetensors file with its checksum."""
    with (
        atomic_path(path) as temporary,
        TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder,
    ):
        kinds = {}
        for batch in said:
            for name, tensor in batch.items():
                kinds[name] = Path(folder, name), tensor.dtype, tensor.shape[1:]
                # Not `contiguous`, which leaves a map of 1 x 1 pixels as it is: channels last.
                ordered = tensor.clone(memory_format=torch.contiguous_format)
                with kinds[name][0].open("ab") as file:
                    file.write(ordered.view(torch.uint8).numpy())
        tensors = {}
        for name, (file, dtype, shape) in kinds.items():
            numbers = file.stat().st_size // dtype.itemsize
            tensors[name] = torch.from_file(str(file), size=numbers, dtype=dtype).view(-1, *shape)
        save_file(tensors, temporary, metadata={"crc32": _checksum(tensors)})


def _checksum(tensors: dict[str, Tensor]) -> str:
    total = 0
    for key in sorted(tensors):
        total = zlib.crc32(tensors[key].contiguous().view(torch.uint8).numpy(), total)
    return f"{total:08x}"


def _load(path: Path) -> dict[str, Tensor] | None:
    """What was stored, or None where nothing is or it is damaged, which is said."""
    try:
        tensors, metadata = read_safetensors(path)
    except UserError:
        tensors, metadata = {}, {}
    if tensors and metadata.get("crc32") == _checksum(tensors):
        return tensors
    if path.is_file():
        print(f"stored features {path.name} are damaged; computing them again")
    return None

"""What every stage of a network says of the test images, before transfer and after it.

The store keeps no trained networks: a run is trained again here, under the seeds of `04_transfer` and so to
the same weights, and what its stages say goes to the store.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from torch import Tensor, nn

from radlib import compute
from radlib.data import batches
from radlib.networks import backbones
from radlib.networks.features import BATCH
from radlib.study import Run
from radlib.training.transfer import TransferGroup

POOLED = "pooled features"  # the last stage: what a head reads


class StagesGroup(TransferGroup):
    """`frozen` runs are not trained at all: their network is as the source left it."""

    localises, elsewhere = False, None  # neither lesions nor another hospital

    def fit(self, learner: nn.Module, run: Run, *parts) -> tuple[dict, list[dict]]:
        if run.train == "frozen":
            return {"best_epoch": 1}, []
        return super().fit(learner, run, *parts)

    def test(self, learner: nn.Module, validation: np.ndarray, test: np.ndarray) -> tuple[dict, pd.DataFrame]:
        """A row per test image, a column per stage: float32 (channels,) as bytes."""
        network = getattr(learner, "backbone", self.weights.network).eval()
        said = {}
        with watched(network, said), compute.inference():
            for rows in batches.in_order(test, BATCH):
                images = batches.gather(self.packed.images, rows, self.size)
                last = network.forward_features(self.weights.preprocessing(images))
                said.setdefault(POOLED, []).append(backbones.pooled(network, last).cpu())
        found = {name: np.concatenate([part.numpy() for part in parts]) for name, parts in said.items()}
        finite = bool(all(np.isfinite(rows).all() for rows in found.values()))
        rows = {name: [row.tobytes() for row in rows] for name, rows in found.items()}
        return {"finite": finite}, pd.DataFrame(rows)


def stage_names(network: nn.Module) -> list[str]:
    """The modules that end timm's stages, from the image on."""
    return [stage["module"] for stage in getattr(network.feature_info, "info", network.feature_info)]


@contextmanager
def watched(network: nn.Module, said: dict[str, list[Tensor]]) -> Iterator[None]:
    """Collect what each stage says of every batch that passes, as its mean over places."""
    hooks, prefix = [], getattr(network, "num_prefix_tokens", 0)  # class and register tokens are no places
    for name in stage_names(network):

        def keep(module: nn.Module, inputs: tuple, output: Tensor, name: str = name) -> None:
            # Channels come second in a map, last in a map of NHWC and in a list of tokens.
            last = output.ndim == 3 or getattr(network, "output_fmt", None) == "NHWC"
            output = output[:, prefix:] if output.ndim == 3 else output
            places = tuple(range(1, output.ndim - 1)) if last else tuple(range(2, output.ndim))
            said.setdefault(name, []).append(output.float().mean(places).cpu())

        hooks.append(network.get_submodule(name).register_forward_hook(keep))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

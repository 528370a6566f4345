"""A model card for each set of weights: what they are and what they need, for whoever uses or judges them."""

import json

import pandas as pd
import torch
from torch import Tensor

from radlib.networks.tensor_files import read_header
from radlib.networks.weights import load_weights
from radlib.study import Study

DEAD_VARIANCE, DEAD_SCALE = 1e-6, 1e-4  # of the layer's median; of gamma, in SD
EXPLODING = 1000  # times the layer's median variance


def model_card(study: Study, source: str) -> pd.DataFrame:
    """A column per backbone that a source has weights of in `models/`; from params.yaml, the files, and what
    pretraining left beside them or their import wrote into their header."""
    described = {**study.corpora, **study.checkpoints}[source]
    files = {name: study.model_file(source, name) for name in study.backbones_of(source)}
    cards = {}
    for backbone, file in files.items():
        if not file.is_file():
            continue
        weights, record = load_weights(study, source, backbone), file.with_suffix(".json")
        scale, card = weights.preprocessing, {"source": described.title or source}
        if record.is_file():
            found = json.loads(record.read_text(encoding="utf-8"))
            last = pd.read_csv(file.with_name(f"{backbone}.history.csv")).iloc[-1]
            card |= {
                "training images": f"{found['n_train']:,}{' (simulated)' if found['simulated'] else ''}",
                "classes": found["n_classes"],
                "epochs": found["epochs"],
                "image size (px)": study.pretrain.size,
                "validation accuracy": f"{last['val_top1']:.1%}",
            }
        origin = json.loads(read_header(file).get("origin", "{}"))
        if origin:
            seen = [study.tasks[task].title for task in described.may_have_seen]
            card |= _published(origin) | {"may have seen images of": ", ".join(seen) or "nothing stated"}
        cards[backbone] = card | {
            "pixels in 0 to 1, less": ", ".join(f"{value:g}" for value in scale.mean),
            "divided by": ", ".join(f"{value:g}" for value in scale.std),
            "channels": scale.channels,
            "licence": described.licence or "not stated",
            **census(weights.state),
            "digest (SHA-256)": f"{weights.digest[:16]}...",
        }
    return pd.DataFrame(cards)


def census(state: dict[str, Tensor]) -> dict[str, int | str]:
    """What a model card says of a state dict: how large it is, its batch norms, and their channels.

    A channel is dead where it hardly varied in training (variance at most `DEAD_VARIANCE` of the layer's
    median) or is hardly passed on (|gamma| at most `DEAD_SCALE`); it explodes where its variance is more than
    `EXPLODING` times the layer's median. Without batch norms (ViT, ConvNeXt) there is nothing to count.
    """
    variances = {key[: -len(".running_var")]: v for key, v in state.items() if key.endswith(".running_var")}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    card = {"parameters": f"{sum(v.numel() for key, v in state.items() if not key.endswith(statistics)):,}"}
    if not variances:
        return card | {"batch norms": 0}
    dead = exploding = 0
    for name, variance in variances.items():
        gone = still(variance) | (state.get(f"{name}.weight", torch.ones(1)).abs() <= DEAD_SCALE)
        dead += int(gone.sum())
        exploding += int(((variance > EXPLODING * variance.median()) & ~gone).sum())
    most = max(variances, key=lambda name: variances[name].max())
    return card | {
        "batch norms": len(variances),
        "their channels": sum(map(len, variances.values())),
        "dead channels": dead,
        "exploding channels": exploding,
        "largest variance": f"{variances[most].max():.3g} in {most}",
    }


def still(variance: Tensor) -> Tensor:
    """(C,) channels that hardly varied in training."""
    return variance <= DEAD_VARIANCE * variance.median()


def _published(origin: dict) -> dict[str, str]:
    """Where a published file is from, and what was done to its tensors: `origin` of `published_weights`."""
    repository, revision, file = origin.get("address", ["", "", origin.get("file", "")])
    place = f" of {repository}, {origin.get('commit', revision)}" if repository else ""
    within = f" within {origin['taken']}" if origin["taken"] else ""
    left_out = ", ".join(f"{group} ({count})" for group, count in origin["dropped"].items())
    return {
        "published file": f"{file}{place}",
        "its SHA-256": f"{origin['sha256'][:16]}...",
        "its tensors": f"{origin['names']} names{within}",
        "left out (tensors)": left_out or "nothing",
        "computed": "; ".join(origin["made"]) or "nothing",
    }

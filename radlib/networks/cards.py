"""A model card for each set of weights: what they are and what they need, for whoever uses or judges them."""

import json

import pandas as pd

from radlib.networks.tensor_files import read_header
from radlib.networks.weights import load_weights
from radlib.study import Study


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
            "digest (SHA-256)": f"{weights.digest[:16]}...",
        }
    return pd.DataFrame(cards)


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

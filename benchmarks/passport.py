"""How often does the passport of weights find the preprocessing that they were trained with?

Run from the repository's folder: `python -m benchmarks.passport`, or with a number of corpora behind it.
Small networks are pretrained on simulated corpora, each of other images (seed; radiology or photographs) and
under one of eight preprocessings, and then asked by held-out images of their own kind and of the other kind:

    right        one candidate is left, and it is the true one
    but order    the scaling is right, the order of channels is not told
    cannot tell  several are left, the true one among them
    wrong        the true one was ruled out

The margin is how many times as far as the nearest a candidate must be, with all of its interval, to be ruled
out: at 1, any difference that resampled images show would be enough.
"""

import argparse
import sys
from itertools import cycle, islice, product

import numpy as np
import pandas as pd
import timm
import torch
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional

from radlib.networks.passport import (
    MARGIN,
    OF_IMAGES,
    ORDER,
    SCALINGS,
    TOLD,
    Candidate,
    candidates,
    match,
    verdict_of,
)
from radlib.networks.weights import Preprocessing
from radlib.simulate import simulated_photographs, simulated_radiology
from radlib.training.pretrain import channel_statistics

NETWORK, SIDE, TRAINED, HELD_OUT = "test_resnet", 48, 240, 64
KINDS = ("photographs", "radiology")
TRUTHS = [
    *product(SCALINGS, ["RGB"]),
    ("−1 to 1", "BGR"),
    ("Caffe (0 to 255, less means)", "BGR"),
    (OF_IMAGES, "RGB"),
]
WORDS = ["right", "but order", "cannot tell", "wrong"]


def corpus(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, S, S, 1 or 3) of different patients, and int (n,) classes."""
    count = TRAINED + HELD_OUT
    drawn = simulated_photographs(count, SIDE, seed)
    if kind == "radiology":
        drawn = simulated_radiology(count, 1, SIDE, seed)
    images, names = zip(*((one.image.reshape(SIDE, SIDE, -1), one.class_name) for one in drawn), strict=True)
    return np.stack(images), np.unique(names, return_inverse=True)[1]


def as_input(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def preprocessing_of(truth: tuple[str, str], own: Preprocessing) -> Preprocessing:
    """That of a scaling and an order of channels."""
    way = {**SCALINGS, OF_IMAGES: own}[truth[0]]
    return way if truth[1] == "RGB" else Preprocessing(way.mean[::-1], way.std[::-1], "BGR")


def pretrained(
    network: nn.Module, images: torch.Tensor, labels: np.ndarray, way: Preprocessing, steps: int, seed: int
) -> nn.Module:
    """The network, trained for some steps of 32 images under a preprocessing, in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    labels = torch.from_numpy(labels)
    network.train()
    for _ in range(steps):
        rows = torch.randint(len(images), (32,), generator=generator)
        loss = functional.cross_entropy(network(way(images[rows])), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def word_of(fitting: list[Candidate], truth: tuple[str, str]) -> str:
    """One of `WORDS`."""
    if not any(truth in one.names for one in fitting):
        return "wrong"
    return {TOLD: "right", ORDER: "but order"}.get(verdict_of(fitting), "cannot tell")


def asked(count: int) -> pd.DataFrame:
    """A row per corpus, kind of images shown, and margin."""
    rows = []
    for seed, (truth, kind) in enumerate(islice(cycle(product(TRUTHS, KINDS)), count)):
        drawn, labels = corpus(kind, seed)
        own = channel_statistics(drawn, np.arange(TRAINED))
        true = preprocessing_of(truth, own)
        torch.manual_seed(seed)
        network = timm.create_model(NETWORK, num_classes=int(labels.max()) + 1)
        pretrained(network, as_input(drawn[:TRAINED]), labels[:TRAINED], true, 80, seed)
        other = corpus(KINDS[kind == KINDS[0]], 1000 + seed)[0]
        # The study states something else, in turn another candidate.
        stated = preprocessing_of(TRUTHS[(seed + 3) % len(TRUTHS)], own)
        for which, shown in (("same kind", drawn[TRAINED:]), ("other kind", other[:HELD_OUT])):
            known = own if which == "same kind" else channel_statistics(other, np.arange(len(other)))
            ways = candidates(as_input(shown), stated, known)
            # Mean and SD of the training are no candidate where other images are shown: nobody knows them.
            if which == "other kind" and truth[0] == OF_IMAGES:
                ways = [*ways, Candidate((truth,), true)]
            found = match(network, as_input(shown), ways, 1000, seed)
            for margin in (1, MARGIN):
                word = word_of(found.fitting(0.95, margin), truth)
                far = float(np.exp(found.found[0].value))
                rows.append((kind, *truth, which, margin, word, far))
        print(*rows[-3], *rows[-1][3:], sep="  ", file=sys.stderr, flush=True)
    columns = ["kind", "scaling", "channels", "shown", "margin", "word", "distance"]
    return pd.DataFrame(rows, columns=columns)


def rates(found: pd.DataFrame) -> pd.DataFrame:
    """How often each word was said, with Clopper and Pearson's interval of 95 %."""
    table = {}
    for (shown, margin), some in found.groupby(["shown", "margin"], sort=False):
        said = some["word"].value_counts()
        cells = {}
        for word in WORDS:
            count = int(said.get(word, 0))
            low, high = binomtest(count, len(some)).proportion_ci(0.95)
            cells[word] = f"{count}/{len(some)} ({low:.0%} to {high:.0%})"
        distance = some["distance"].quantile([0.1, 0.5, 0.9])
        cells["distance of the nearest"] = f"{distance[0.5]:.3g} ({distance[0.1]:.3g} to {distance[0.9]:.3g})"
        table[shown, margin] = cells
    return pd.DataFrame(table).T.rename_axis(["images", "margin"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", nargs="?", type=int, default=20, help="how many are pretrained on")
    found = asked(parser.parse_args().corpora)
    print(rates(found).to_string())


if __name__ == "__main__":
    main()

"""Pretraining of one backbone on one corpus, resumable after every epoch."""

import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from torch import Tensor, nn
from torch.nn import functional

from radlib import compute
from radlib.code import code_digest
from radlib.data import batches
from radlib.data.images import Packed, open_packed
from radlib.data.packing import read_rows, release
from radlib.errors import UserError
from radlib.machines.groups import together
from radlib.machines.team import ALONE, Team
from radlib.machines.workers import Advance, work
from radlib.networks import backbones
from radlib.networks.weights import Preprocessing, save_weights
from radlib.seeds import digest_of, replicate_seed, seed_of
from radlib.store import atomic_path, write_json, write_table
from radlib.study import Study
from radlib.study.training import Pretrain


@dataclass(frozen=True)
class Pretrained:
    """What pretraining gave: a row per epoch, and accuracies on the test part."""

    history: pd.DataFrame
    summary: dict


def pretrain(study: Study, source: str, save: bool = False) -> dict[str, Pretrained]:
    """Train every backbone of the study from random weights on a corpus, as often as it has replicates.

    Finished epochs are reused.

    The corpus' own channel means and deviations become the preprocessing that the weights carry.

    Returns:
        what each backbone learnt; further replicates are called `resnet50 (2)`, `resnet50 (3)`, ...
    Raises:
        UserError: the corpus has not been prepared, a backbone is not understood or cannot be shown images of
            that size, or more processes should share a batch than it has images for.
    """
    size, machines = study.pretrain.size, study.compute
    packed, each = open_packed(study.dataset_dir(source)), study.weights_of(source)
    for backbone in study.backbones_of(source):
        backbones.check(backbone)
        backbones.check_size(backbone, size)
    pieces = [(study, source, *one, save) for one in each]
    epochs = sum(study.pretrain_of(backbone).epochs for backbone, _ in each)
    total = int((packed.manifest["part_0"] == "train").sum()) * epochs
    description, folder = f"pretrain on {source}", study.store_dir / "pretrain"
    if machines.backend != "ray":
        results = work(pretrain_backbone, pieces, machines.workers, total, description)
    elif 2 * machines.together > study.pretrain.batch_size:
        batch = study.pretrain.batch_size
        raise UserError(
            f"compute.together: {machines.together} processes cannot share batches of {batch} images; "
            f"at most {batch // 2} can, or raise pretrain.batch_size"
        )
    else:
        results = together(pretrain_backbone, pieces, machines, total, description, folder)
    titles = [name if replicate == 0 else f"{name} ({replicate + 1})" for name, replicate in each]
    return dict(zip(titles, results, strict=True))


def pretrain_backbone(
    piece: tuple[Study, str, str, int, bool], advance: Advance, team: Team = ALONE
) -> Pretrained:
    """One (study, source, backbone, replicate, save), trained by a team or read from the store."""
    study, source, backbone, replicate, save = piece
    packed = open_packed(study.dataset_dir(source))
    computed_by = (code_digest(__name__), compute.precision(), compute.device().type)
    options = study.pretrain_of(backbone)
    # Without the number of replicates: one more leaves the others as they are.
    said = options.model_dump(exclude={"replicates"})
    key = digest_of(computed_by, packed.digest, backbone, replicate, said, study.seed)
    # By name: a changed column of the data does not deal out other first weights, nor does the source.
    seed = replicate_seed(replicate, study.seed, "pretrain", backbone)
    training = _Training(packed, backbone, options, seed, team)
    training.run(study.store_dir / "pretrain" / f"{key}.pt", advance)
    result = training.result(source, replicate)
    if save and team.leads:
        path = study.model_file(source, backbone, replicate)
        state = backbones.without_classifier(training.model.state_dict(), backbone)
        save_weights(path, state, training.preprocessing)
        write_table(result.history, path.with_suffix(".history.csv"))
        write_json(result.summary, path.with_suffix(".json"))
    return result


class _Training:
    """The state of a pretraining: network, optimiser, schedule, finished epochs."""

    def __init__(self, packed: Packed, backbone: str, options: Pretrain, seed: int, team: Team):
        self.packed, self.backbone, self.options, self.seed, self.team = packed, backbone, options, seed, team
        part = packed.manifest["part_0"].to_numpy()
        self.rows = {name: np.flatnonzero(part == name) for name in ("train", "validation", "test")}
        self.labels = torch.from_numpy(packed.manifest["label"].to_numpy(dtype=np.int64, copy=True))
        self.classes = int(packed.manifest["label"].max()) + 1
        self.preprocessing = channel_statistics(packed.images, self.rows["train"])
        compute.start_run(seed)
        self.model = backbones.create(backbone, self.classes)
        # Every class is equally likely at first. Some of timm's networks draw a classifier as for a thousand
        # classes; with few, its first outputs are so large that epochs go by before they have shrunk.
        for parameter in self.model.get_classifier().parameters():
            nn.init.zeros_(parameter)
        self.model = self.model.to(compute.device(), memory_format=torch.channels_last)
        self.network = team.network(self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), self.options.lr, weight_decay=self.options.weight_decay, fused=True
        )
        self.steps = len(self._epoch_batches(0))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, self.options.lr, total_steps=self.steps * self.options.epochs
        )
        self.history: list[dict] = []

    def run(self, checkpoint: Path, advance: Advance) -> None:
        """Train the epochs that the checkpoint lacks, and write it after each."""
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}
        stored = _stored(checkpoint)
        if stored is not None:
            for name, part in parts.items():
                part.load_state_dict(stored[name])
            self.history = stored["history"]
            advance(len(self.history) * len(self.rows["train"]))
        while len(self.history) < self.options.epochs:
            self._epoch(len(self.history), advance)
            if self.team.leads:
                states = {name: part.state_dict() for name, part in parts.items()}
                with atomic_path(checkpoint) as temporary:
                    torch.save({**states, "history": self.history}, temporary)

    def result(self, source: str, replicate: int) -> Pretrained:
        scores, labels = self._scores(self.rows["test"])
        summary = {
            "source": source,
            "backbone": self.backbone,
            "replicate": replicate,
            "simulated": bool(self.packed.meta["simulated"]),
            **accuracies(scores, labels),
            "n_images": len(self.labels),
            "n_train": len(self.rows["train"]),
            "n_test": len(self.rows["test"]),
            "n_classes": self.classes,
            "epochs": self.options.epochs,
            "images_per_second": float(np.median([row["images_per_second"] for row in self.history])),
        }
        return Pretrained(pd.DataFrame(self.history), summary)

    def _epoch_batches(self, epoch: int) -> list[np.ndarray]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
        return batches.shuffled(self.rows["train"], self.options.batch_size, generator)

    def _epoch(self, epoch: int, advance: Advance) -> None:
        generator = compute.start_run(seed_of(self.seed, "epoch", epoch))
        self.model.train()
        start, total = time.perf_counter(), 0.0
        parts = self._epoch_batches(epoch)
        drawn = batches.ahead(self._drawn(rows, generator) for rows in parts)
        for rows, batch in zip(parts, drawn, strict=True):
            loss = self._loss(*batch)
            self.optimizer.zero_grad(set_to_none=True)
            (loss * self.team.weight(len(rows))).backward()
            self.optimizer.step()
            self.schedule.step()
            # Not as a number, for which a graphics card would be waited for in every step.
            total += loss.detach().double() * len(batch[0])
            advance(len(rows))
        total, count = float(total), len(self.rows["train"])
        seconds = time.perf_counter() - start
        scores, labels = self._scores(self.rows["validation"])
        log_loss = functional.cross_entropy(torch.from_numpy(scores), torch.from_numpy(labels))
        figures = {
            "epoch": epoch + 1,
            "train_loss": self.team.total(total) / count,
            "val_loss": float(log_loss),
        }
        figures |= {f"val_{name}": value for name, value in accuracies(scores, labels).items()}
        self.history.append({**figures, "images_per_second": count / seconds})

    def _drawn(self, rows: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """This process' share of a batch: pixels uint8 (B, S, S, C), affine maps (B, 2, 3), labels (B,)."""
        maps = batches.draw_augmentation(len(rows), "full", generator)
        share = self.team.share(len(rows))
        rows = rows[share]
        return self._pixels(rows), compute.pinned(maps[share]), compute.pinned(self.labels[rows])

    def _loss(self, pixels: Tensor, maps: Tensor, labels: Tensor) -> Tensor:
        with compute.autocast():
            logits = self.network(self._input(pixels, maps))
            return functional.cross_entropy(logits, labels.to(logits.device, non_blocking=True))

    def _pixels(self, rows: np.ndarray) -> Tensor:
        return compute.pinned(torch.from_numpy(read_rows(self.packed.images, rows)))

    def _input(self, pixels: Tensor, maps: Tensor | None) -> Tensor:
        return self.preprocessing(batches.augment(batches.as_input(pixels, self.options.size), maps))

    def _scores(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.model.eval()
        with compute.inference():
            parts = self.team.deal(batches.in_order(rows, 2 * self.options.batch_size))
            pixels = batches.ahead(self._pixels(part) for part in parts)
            logits = [self.model(self._input(some, None)).float().cpu() for some in pixels]
        return torch.cat(self.team.collect(logits)).numpy(), self.labels[rows].numpy()


def accuracies(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1, top-5 and balanced accuracy (mean recall over classes), as fractions.

    Balanced accuracy stands beside top-1 because radiology corpora are dominated by a few large classes.
    """
    best, classes = scores.argmax(1), np.arange(scores.shape[1])
    top5 = top_k_accuracy_score(labels, scores, k=5, labels=classes) if len(classes) > 5 else 1
    return {
        "top1": float((best == labels).mean()),
        "top5": float(top5),
        "balanced_accuracy": float(balanced_accuracy_score(labels, best)),
    }


def _stored(checkpoint: Path) -> dict | None:
    if not checkpoint.is_file():
        return None
    try:
        return torch.load(checkpoint, map_location=compute.device(), weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as exc:
        print(f"stored pretraining {checkpoint.name} is damaged ({type(exc).__name__}); starting it again")
        checkpoint.unlink(missing_ok=True)
        return None


def channel_statistics(images: np.ndarray, rows: np.ndarray, sample: int = 2000) -> Preprocessing:
    """Mean and SD of each channel over (a fixed sample of) the training images, in 0..1."""
    # Counted image by image, because as numbers of 64 bits 2000 images of 224 px would take gigabytes.
    counts = np.zeros((images.shape[-1], 256))
    for row in np.sort(np.random.default_rng(0).permutation(rows)[:sample]):
        for channel, pixels in enumerate(images[row].reshape(-1, len(counts)).T):
            counts[channel] += np.bincount(pixels, minlength=256)
    release(images)
    shares, values = counts / counts[0].sum(), np.arange(256) / 255
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, np.newaxis]) ** 2).sum(1))
    mean, std = (tuple(np.broadcast_to(some.round(6), 3).tolist()) for some in (mean, std))
    return Preprocessing(mean, std)

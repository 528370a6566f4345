"""Are weights whole, and which preprocessing were they trained with? (14_passport)

Candidates of preprocessing are shown to the first batch norms of a network, and compared by how far what
arrives there is from what is stored (`radlib.networks.passport`). The images are the corpus' own where weights
are pretrained here; of a checkpoint all data sets of the study are tried, and the one that comes nearest counts.

Images of another kind than those of the training are off whatever their preprocessing, by as much as the
nearest candidate still is. So a candidate is ruled out only where it is more than `MARGIN` times as far, with
all of the interval: otherwise the misfit may come from the images.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import nn

from radlib.data.batches import gather
from radlib.data.images import Packed, open_packed
from radlib.errors import UserError
from radlib.networks.passport import Arriving, arriving, batch_norms, census, distances, reference_vector
from radlib.networks.tensor_files import read_safetensors
from radlib.networks.weights import Preprocessing, Weights, load_weights
from radlib.progress import progress
from radlib.seeds import seed_of
from radlib.show.findings import Finding
from radlib.show.style import COLOURS, UNDECIDED, intervals, legend_above
from radlib.show.table import COUNT, IS_SIMULATED, RESAMPLES, Column, Table, interval_columns
from radlib.stats.estimate import Estimate
from radlib.store import write_json
from radlib.study import Study
from radlib.study.common import is_random
from radlib.study.titles import source_title
from radlib.training.pretrain import channel_statistics

MARGIN = 2  # times as far as the nearest: only beyond it is a candidate ruled out
IMAGES = 64
_FEWEST = 8  # images, for an interval
REFERENCE = "reference.json"
TOLD, ORDER, UNTOLD = "told", "order", "not told"
AS_STATED = "as the study has it"
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # means of red, green, blue
SCALINGS = {
    "0 to 1": Preprocessing((0.0,) * 3, (1.0,) * 3),
    "−1 to 1": Preprocessing((0.5,) * 3, (0.5,) * 3),
    "Caffe (0 to 255, less means)": Preprocessing(CAFFE, (1 / 255,) * 3),
    "Caffe / 255": Preprocessing(CAFFE, (1.0,) * 3),
    "ImageNet's mean and SD": IMAGENET,
}
OF_IMAGES = "mean and SD of these images"


def _data_title(study: Study, dataset: str) -> str:
    return study.dataset(dataset).title


_NAMES = [
    Column("source", "whose weights", "source", source_title),
    Column("backbone", "the network", "backbone"),
]
PASSPORT = Table(
    "passport.csv",
    "passport",
    "source, backbone and candidate of preprocessing; candidates that give these images alike are one",
    [
        *_NAMES,
        Column("candidate", "scaling and order of channels", "candidate"),
        *interval_columns("distance", "from the stored statistics", "distance", ".3g"),
        *interval_columns(
            "times",
            "as a multiple of the nearest one's",
            "times the nearest",
            ".3g",
            "times_low",
            "times_high",
        ),
        Column(
            "fits",
            f"not shown to be {MARGIN} times as far as the nearest",
            "fits",
            names={True: "yes", False: "no"},
        ),
        Column("stated", "what the study shows these weights", "the study's", names={True: "yes", False: ""}),
        Column("verdict", "told, order (all but that of the channels), or not told"),
        Column("dataset", "whose images", "images of", _data_title),
        Column("n_images", "images, one of each patient", "images", COUNT),
        Column("n_datasets", "data sets tried"),
        Column("n_agree", "data sets with the same nearest candidate"),
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=3,
)
WEIGHTS = Table(
    "weights.csv",
    "passport",
    "source and backbone",
    [
        *_NAMES,
        Column("layout", "whose names the published file has; empty for weights made here", "layout"),
        Column("digest", "SHA-256 of tensors and preprocessing", "digest (SHA-256)", lambda _, text: f"{text[:16]}..."),
        Column("licence", "as stated in the study", "licence"),
        Column("n_parameters", "parameters without a classifier", "parameters", COUNT),
        Column("n_norms", "batch norms", "batch norms", COUNT),
        Column("n_channels", "their channels", "channels", COUNT),
        Column("n_dead", "channels without variance, or with a scale of 0", "dead", COUNT),
        Column("n_exploding", "channels of 1000 times their layer's median variance", "exploding", COUNT),
        Column("largest", "largest stored variance", "largest variance", ".3g"),
        Column("largest_in", "batch norm that has it", "in"),
        Column("size", "side of the reference picture, px", "reference at (px)", COUNT),
        Column("norm", "Euclidean norm of its features", "its norm", ".5g"),
        IS_SIMULATED,
    ],
    index=2,
)  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """One way to prepare images; `names`: every (scaling, order of channels) that comes to the same."""

    names: tuple[tuple[str, str], ...]
    preprocessing: Preprocessing

    @property
    def title(self) -> str:
        """`−1 to 1, RGB or BGR`."""
        orders: dict[str, list[str]] = {}
        for scaling, channels in self.names:
            orders.setdefault(scaling, []).append(channels)
        stated = orders.pop(AS_STATED, [])
        said = [f"{scaling}, {' or '.join(dict.fromkeys(found))}" for scaling, found in orders.items()]
        return " = ".join(said) or f"{AS_STATED}, {stated[0]}"

    @property
    def stated(self) -> bool:
        return any(scaling == AS_STATED for scaling, _ in self.names)


@dataclass(frozen=True)
class Matched:
    """Candidates on the images of one data set, nearest first; distances as logarithms."""

    candidates: list[Candidate]
    found: list[Estimate]

    @property
    def times(self) -> list[Estimate]:
        """How far beyond the nearest, on the same resampled images."""
        return [one - self.found[0] for one in self.found]

    def fitting(self, confidence: float, margin: float = MARGIN) -> list[Candidate]:
        """The nearest, and all that are not shown to be `margin` times as far."""
        ends = [one.interval(confidence)[0] for one in self.times[1:]]
        return [self.candidates[0]] + [
            c for c, low in zip(self.candidates[1:], ends, strict=True) if low <= np.log(margin)
        ]


def verdict_of(fitting: list[Candidate]) -> str:
    """`TOLD` where one candidate is left, `ORDER` where all that are left share a scaling."""
    if len(fitting) == 1:
        return TOLD
    shared = set.intersection(*({scaling for scaling, _ in one.names} for one in fitting))
    return ORDER if shared - {AS_STATED} else UNTOLD


# Candidates and their distances ------------------------------------------------------------------------------
def candidates(images: torch.Tensor, stated: Preprocessing, own: Preprocessing) -> list[Candidate]:
    """RGB and BGR by every scaling, those that prepare these images alike taken together.

    Args:
        images: float32 (n, 1 or 3, H, W) in 0..1, RGB; stated: of the study; own: mean and SD of the data set.
    """
    ways = {(AS_STATED, stated.channels): stated}
    for scaling, way in {**SCALINGS, OF_IMAGES: own}.items():
        ways[scaling, "RGB"] = way
        ways[scaling, "BGR"] = Preprocessing(way.mean[::-1], way.std[::-1], "BGR")
    groups: list[tuple[list, Preprocessing, torch.Tensor]] = []
    for name, way in ways.items():
        shown = way(images[:16])
        # The same but for a thousandth of the range from black to white.
        same = (names for names, other, seen in groups if (shown - seen).abs().max() <= 1e-3 / min(other.std))
        names = next(same, None)
        if names is None:
            groups.append(([name], way, shown))
        else:
            names.append(name)
    return [Candidate(tuple(names), way) for names, way, _ in groups]


def match(
    network: nn.Module, images: torch.Tensor, ways: list[Candidate], resamples: int, seed: int
) -> Matched:
    """Distance of every candidate with its bootstrap over images, the same resamples for all.

    A distance is quadratic, so that resampling adds to it what sampling had added already: replicates are
    moved by the mean of what they add (Efron & Tibshirani 1993, chapter 10).

    Args:
        network: in evaluation; images: float32 (n, 1 or 3, H, W), independent of one another.
    Raises:
        UserError: fewer images than an interval needs.
    """
    count = len(images)
    if count < _FEWEST:
        raise UserError(
            f"{count} images of different patients are too few to compare preprocessings; {_FEWEST} are the "
            "least, so name another data set"
        )
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    found = [_estimate(arriving(network, one.preprocessing(images)), drawn) for one in ways]
    order = sorted(range(len(ways)), key=lambda i: found[i].value)
    return Matched([ways[i] for i in order], [found[i] for i in order])


def _estimate(layers: list[Arriving], drawn: np.ndarray) -> Estimate:
    count = drawn.shape[1]
    value = float(np.log(distances(layers, np.ones((1, count))))[0])
    replicates = np.log(distances(layers, drawn))
    return Estimate(value, replicates - (replicates.mean() - value), count)


# Of a study --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Passports:
    """`table` (`PASSPORT`), `weights` (`WEIGHTS`); references: source -> backbone -> size, features."""

    table: pd.DataFrame
    weights: pd.DataFrame
    references: dict[str, dict[str, dict]]

    def write(self, study: Study) -> None:
        """Both tables, and every reference vector whole."""
        PASSPORT.write(study, self.table)
        WEIGHTS.write(study, self.weights)
        write_json(self.references, study.report_dir / REFERENCE)


def passports(study: Study, images: str | None = None) -> Passports:
    """Census, reference vector and candidates of preprocessing of all weights that the study does not draw.

    Args:
        images: a data set whose images are shown to all; None: a corpus' own, of checkpoints the nearest.
    Raises:
        UserError: weights or data are missing, or a data set has too few patients.
    """
    rows, weights_rows, references = [], [], {}
    sources = [source for source in study.sources if not is_random(source)]
    pairs = [(source, backbone) for source in sources for backbone in study.backbones_of(source)]
    for source, backbone in progress(pairs, description="passports"):
        weights = load_weights(study, source, backbone)
        network = weights.build().eval()
        size, features = reference_vector(weights)
        weights_rows.append(_described(study, weights, network, size, features))
        references.setdefault(source, {})[backbone] = {
            "size": size,
            "features": [float(f"{value:.7g}") for value in features],
            "digest": weights.digest,
        }
        if batch_norms(network):
            rows += _rows(study, weights, network, _datasets(study, source, images))
    same = {"simulated": study.simulated}
    table = PASSPORT.frame(rows, resamples=study.compare.resamples, **same)
    return Passports(table, WEIGHTS.frame(weights_rows, **same), references)


def _datasets(study: Study, source: str, images: str | None) -> list[str]:
    if images is not None:
        return [study.pick(images, [*study.corpora, *study.tasks], "data set")]
    corpora = [name for name, corpus in study.corpora.items() if corpus.variant_of is None]
    return [source] if source in study.corpora else [*corpora, *study.compared_tasks]


def _rows(study: Study, weights: Weights, network: nn.Module, datasets: list[str]) -> list[dict]:
    """A row per candidate, on the images that come nearest."""
    found = {name: _matched(study, weights, network, name) for name in datasets}
    nearest = min(found, key=lambda name: found[name].found[0].value)
    matched, confidence = found[nearest], study.compare.confidence
    fitting = matched.fitting(confidence)
    first = set(matched.candidates[0].names)
    about = {
        "source": weights.source,
        "backbone": weights.backbone,
        "verdict": verdict_of(fitting),
        "dataset": nearest,
        "n_images": matched.found[0].patients,
        "n_datasets": len(found),
        "n_agree": sum(bool(first & set(one.candidates[0].names)) for one in found.values()),
    }
    rows = []
    for candidate, far, times in zip(matched.candidates, matched.found, matched.times, strict=True):
        columns = {"distance": far, "times": times}
        ends = {"distance": ("ci_low", "ci_high"), "times": ("times_low", "times_high")}
        row = {name: float(np.exp(one.value)) for name, one in columns.items()}
        for name, one in columns.items():
            row |= dict(zip(ends[name], np.exp(one.interval(confidence)), strict=True))
        rows.append(
            about
            | row
            | {"candidate": candidate.title, "fits": candidate in fitting, "stated": candidate.stated}
        )
    return rows


def _matched(study: Study, weights: Weights, network: nn.Module, dataset: str) -> Matched:
    packed = open_packed(study.dataset_dir(dataset))
    here, seed = dataset == weights.source, seed_of(study.seed, "passport", dataset)
    size = study.pretrain.size if here else study.backbones[weights.backbone].size
    part = packed.manifest["part_0"] == "train" if here else np.full(len(packed.manifest), True)
    images = gather(packed.images, chosen(packed, np.flatnonzero(part), seed), size)
    own = channel_statistics(packed.images, np.flatnonzero(part))
    return match(
        network, images, candidates(images, weights.preprocessing, own), study.compare.resamples, seed
    )


def chosen(packed: Packed, rows: np.ndarray, seed: int) -> np.ndarray:
    """At most `IMAGES` of the rows, in order, each of another patient."""
    drawn = pd.Series(np.random.default_rng(seed).permutation(rows))
    patients = packed.manifest["patient_id"].to_numpy()[drawn]
    return np.sort(drawn[~pd.Series(patients).duplicated()][:IMAGES].to_numpy())


def _described(study: Study, weights: Weights, network: nn.Module, size: int, features: np.ndarray) -> dict:
    """A row of `WEIGHTS`."""
    source, backbone, norms = weights.source, weights.backbone, census(network)
    header = read_safetensors(study.model_file(source, backbone))[1]
    most = norms.sort_values("largest").tail(1).to_dict("records")
    return {
        "source": source,
        "backbone": backbone,
        "layout": json.loads(header.get("origin", "{}")).get("names", weights.variant),
        "digest": weights.digest,
        "licence": {**study.corpora, **study.checkpoints}[source].licence or "not stated",
        "n_parameters": sum(parameter.numel() for parameter in network.parameters()),
        "n_norms": len(norms),
        **{f"n_{name}": int(norms[name].sum()) for name in ("channels", "dead", "exploding")},
        **({"largest": most[0]["largest"], "largest_in": most[0]["layer"]} if most else {}),
        "size": size,
        "norm": float(np.linalg.norm(features)),
    }


# Shown -------------------------------------------------------------------------------------------------------
def passport_figure(study: Study, table: pd.DataFrame, source: str) -> Figure:
    """Distance of every candidate, a panel per backbone of one source."""
    some = table[table["source"] == source]
    marks = some.assign(
        panel=some["backbone"],
        row=some["candidate"],
        value=some["distance"],
        colour=np.where(some["fits"], COLOURS[0], UNDECIDED),
        filled=some["fits"],
        marker=np.where(some["stated"], "D", "o"),
    )
    found = intervals(study, marks, "distance from the stored statistics (log scale)", across=2, sharex=True)
    for panel in found.panels:
        panel.set_xscale("log")
    grey = {"color": UNDECIDED, "mfc": "white", "ls": "", "ms": 6}
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", ls="", label="fits"),
        Line2D([], [], marker="o", label=f"more than {MARGIN} times as far as the nearest", **grey),
        Line2D([], [], marker="D", label="what the study shows", **grey),
    ]
    title = f"{source_title(study, source)}: how far images are, prepared so, from those of the training"
    legend_above(found.figure, handles, 3, f"{title}\n{study.compare.confidence:.0%} intervals over images")
    return found.figure


def passport_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """What was told of each source and backbone; first those where the study shows something else."""
    found = []
    for (source, backbone), some in table.groupby(["source", "backbone"], sort=False):
        fitting, right = some[some["fits"]], bool(some.loc[some["stated"], "fits"].all())
        told = {
            TOLD: fitting["candidate"].iloc[0],
            ORDER: f"{fitting['candidate'].iloc[0]}, or the other order of channels",
            UNTOLD: f"cannot be told: {len(fitting)} candidates fit",
        }[some["verdict"].iloc[0]]
        word = f"{told}; {'the study agrees' if right else 'WARNING: the study shows it something else'}"
        subject = f"Preprocessing that {backbone} of {source_title(study, source)} was trained with"
        ends = some.iloc[0][["distance", "ci_low", "ci_high"]]
        csv = some["csv"].iloc[0] if "csv" in some else ""
        found.append((right, Finding(subject, word, *ends, form=".3g", csv=csv)))
    return [finding for _, finding in sorted(found, key=lambda pair: pair[0])]


def weights_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """Weights with dead or exploding channels, and those whose preprocessing cannot be read from them."""
    found = []
    for row in table.to_dict("records"):
        subject = f"{row['backbone']} of {source_title(study, row['source'])}"
        if not row["n_norms"]:
            found.append(Finding(subject, "has no batch norm, so its preprocessing cannot be read from it"))
        elif row["n_dead"] or row["n_exploding"]:
            word = f"{row['n_dead']} dead and {row['n_exploding']} exploding of {row['n_channels']} channels"
            found.append(Finding(subject, word))
    return found

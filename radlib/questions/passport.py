"""Which preprocessing were weights trained with, and is it the one that the study uses? (03_passport)

How it is told: `radlib.networks.passport`. Images are the corpus' own where weights are pretrained here; of a
checkpoint all data sets of the study are tried, and the one that comes nearest counts.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from torch import nn

from radlib import compute
from radlib.data.batches import gather
from radlib.data.images import Packed, open_packed
from radlib.networks import passport
from radlib.networks.checkpoints import reference_features
from radlib.networks.weights import Weights, load_weights
from radlib.progress import progress
from radlib.seeds import seed_of
from radlib.show.findings import Finding, finding_of
from radlib.show.style import COLOURS, UNDECIDED, intervals, legend_above
from radlib.show.table import COUNT, IS_SIMULATED, RESAMPLES, Column, Table, interval_columns
from radlib.store import write_json
from radlib.study import Study
from radlib.study.common import is_random
from radlib.study.titles import counted, source_title
from radlib.training.pretrain import channel_statistics

IMAGES = 64
NEAREST = 6  # candidates of a network that are drawn
REFERENCE = "reference.json"
_FAR, _TIMES = ("distance", "ci_low", "ci_high"), ("times", "times_low", "times_high")
_YES = {True: "yes", False: ""}
_FARTHER = f"more than {passport.MARGIN} times as far as the nearest"
PASSPORT = Table(
    "passport.csv",
    "passport",
    "source, backbone and candidate; candidates that prepare these images alike are one",
    [
        Column("source", "whose weights", "source", source_title),
        Column("backbone", "the network", "backbone"),
        Column("candidate", "scaling and order of channels", "candidate"),
        *interval_columns(_FAR, "from the stored statistics, nats", "distance (nats)", ".3g"),
        *interval_columns(_TIMES, "distance over the nearest's", "times the nearest", ".3g"),
        Column("fits", f"not shown to be {_FARTHER}", "fits", names=_YES),
        Column("stated", "whether the study prepares images so", "the study's", names=_YES),
        Column("verdict", "told; order: all but the order of channels; or not told"),
        Column("dataset", "whose images", "images of", lambda study, name: study.dataset(name).title),
        Column("n_images", "images, each of another patient", "images", COUNT),
        Column("n_datasets", "data sets tried"),
        Column("n_agree", "data sets with the same nearest candidate"),
        RESAMPLES,
        IS_SIMULATED,
    ],
    index=3,
)


@dataclass(frozen=True)
class Passports:
    """`table` (`PASSPORT`); references: source -> backbone -> size, features, digest of the weights."""

    table: pd.DataFrame
    references: dict[str, dict[str, dict]]

    def write(self, study: Study) -> None:
        """The table, and every reference vector whole."""
        PASSPORT.write(study, self.table)
        write_json(self.references, study.report_dir / REFERENCE)


def passports(study: Study, images: str | None = None) -> Passports:
    """Candidates of preprocessing and reference vector of all weights that are not random.

    Args:
        images: a data set that is the input of all weights; None: a corpus' own, of checkpoints the nearest.
    Raises:
        UserError: weights or data are missing, or a data set has too few patients.
    """
    rows, references = [], {}
    sources = [source for source in study.sources if not is_random(source)]
    pairs = [(source, backbone) for source in sources for backbone in study.backbones_of(source)]
    for source, backbone in progress(pairs, description="passports"):
        weights = load_weights(study, source, backbone)
        network = weights.build().eval()
        size, features = reference_features(weights, network.cpu())
        said = {"size": size, "features": [float(f"{value:.7g}") for value in features.tolist()]}
        references.setdefault(source, {})[backbone] = said | {"digest": weights.digest}
        if passport.batch_norms(network.to(compute.device())):
            names = _datasets(study, source, images)
            rows += _rows(study, weights, {name: _matched(study, weights, network, name) for name in names})
    table = PASSPORT.frame(rows, study)
    return Passports(table, references)


def _datasets(study: Study, source: str, images: str | None) -> list[str]:
    if images is not None:
        return [study.pick(images, [*study.corpora, *study.tasks], "data set")]
    corpora = [name for name, corpus in study.corpora.items() if corpus.variant_of is None]
    return [source] if source in study.corpora else [*corpora, *study.compared_tasks]


def _matched(study: Study, weights: Weights, network: nn.Module, dataset: str) -> passport.Matched:
    """On images of one data set: of its own corpus those that it was trained on, at that size."""
    packed, own = open_packed(study.dataset_dir(dataset)), dataset == weights.source
    size = study.pretrain.size if own else study.backbones[weights.backbone].size
    known = np.flatnonzero(packed.manifest["part_0"] == "train") if own else np.arange(len(packed.manifest))
    seed = seed_of(study.seed, "passport", dataset)
    images = gather(packed.images, chosen(packed, known, seed), size)
    ways = passport.candidates(images, weights.preprocessing, channel_statistics(packed.images, known))
    return passport.match(network, images, ways, study.compare.resamples, seed)


def chosen(packed: Packed, rows: np.ndarray, seed: int) -> np.ndarray:
    """At most `IMAGES` of the rows, ascending, each of another patient."""
    drawn = np.random.default_rng(seed).permutation(rows)
    patients = packed.manifest["patient_id"].iloc[drawn]
    return np.sort(drawn[~patients.duplicated().to_numpy()][:IMAGES])


def _rows(study: Study, weights: Weights, found: dict[str, passport.Matched]) -> list[dict]:
    """A row per candidate, on the images that come nearest."""
    dataset = min(found, key=lambda name: found[name].found[0].value)
    nearest, confidence = found[dataset], study.compare.confidence
    fitting, names = nearest.fitting(confidence), set(nearest.candidates[0].names)
    about = {
        "source": weights.source,
        "backbone": weights.backbone,
        "verdict": passport.verdict_of(fitting),
        "dataset": dataset,
        "n_images": nearest.found[0].patients,
        "n_datasets": len(found),
        "n_agree": sum(bool(names & set(one.candidates[0].names)) for one in found.values()),
    }
    rows = []
    for candidate, far, times in zip(nearest.candidates, nearest.found, nearest.times, strict=True):
        row = {"candidate": candidate.title, "fits": candidate in fitting, "stated": candidate.stated}
        for columns, one in ((_FAR, far), (_TIMES, times)):
            row |= dict(zip(columns, np.exp([one.value, *one.interval(confidence)]), strict=True))
        rows.append(about | row)
    return rows


def passport_figure(study: Study, table: pd.DataFrame, source: str) -> Figure:
    """Distance of the candidates that are among the `NEAREST` of some backbone, or are the study's.

    A panel per backbone; lines of the title say it where candidates are left out, or a panel has none of one.
    """
    known = table[table["source"] == source]
    near = known[(known.groupby("backbone").cumcount() < NEAREST) | known["stated"]]
    some = known[known["candidate"].isin(near["candidate"])]
    marks = some.assign(
        panel=some["backbone"],
        row=some["candidate"],
        value=some["distance"],
        colour=np.where(some["fits"], COLOURS[0], UNDECIDED),
        filled=some["fits"],
        marker=np.where(some["stated"], "D", "o"),
    )
    figure, panels = intervals(study, marks, "distance in nats (log scale)", sharex=True)
    times = marks["ci_high"].max() / marks["ci_low"].min()
    ticks = (1,) if times > 100 else (1, 3) if times > 10 else (1, 2, 5)
    for panel in panels:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=ticks))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    fits, far = {"color": COLOURS[0], "ls": ""}, {"color": UNDECIDED, "mfc": "white", "ls": ""}
    handles = [
        Line2D([], [], marker="o", label="fits", **fits),
        Line2D([], [], marker="o", label=_FARTHER, **far),
        Line2D([], [], marker="D", label="what the study uses", **far),
    ]
    title = f"{source_title(study, source)}: distance from the images of training under each preprocessing"
    title += f"\n({study.compare.confidence:.0%} intervals over images"
    if farther := known["candidate"].nunique() - some["candidate"].nunique():
        of_any = " of any network" if len(panels) > 1 else ""
        title += f"; not drawn: {counted(farther, 'candidate')}, not among the nearest {NEAREST}{of_any}"
    if len(some) < some["backbone"].nunique() * some["candidate"].nunique():
        title += ";\nno mark: this network's images do not tell the candidate from one with a row of its own"
    legend_above(figure, handles, 3, f"{title})")
    return figure


def passport_findings(study: Study, table: pd.DataFrame) -> list[Finding]:
    """What is told of each source and backbone; first those for which the study prepares images otherwise."""
    found = []
    for (source, backbone), some in table.groupby(["source", "backbone"], sort=False):
        nearest, count = some.iloc[0], some["fits"].sum()
        word = {
            passport.TOLD: nearest["candidate"],
            passport.ORDER: f"{nearest['candidate']}, or the same in the other order of channels",
            passport.UNTOLD: f"cannot be told: {count} candidates fit",
        }[nearest["verdict"]]
        agrees = bool(some.loc[some["stated"], "fits"].all())
        if not agrees:
            word += "; WARNING: the study prepares its images otherwise"
        elif nearest["verdict"] != passport.TOLD:
            word += "; what the study uses is among them"
        subject = f"Preprocessing that {backbone} of {source_title(study, source)} was trained with"
        subject += ", and its distance from the stored statistics (nats)"
        found.append((agrees, finding_of(nearest, subject, word, _FAR, ".3g")))
    return [finding for _, finding in sorted(found, key=lambda pair: pair[0])]

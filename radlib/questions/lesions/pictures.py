"""What 06_segment and 07_dice show beside differences: how images differ, maps and masks themselves."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radlib.data.images import Packed
from radlib.errors import listed
from radlib.networks.localise import resized
from radlib.questions.lesions.measured import METHODS, METRICS, Found
from radlib.show.style import (
    ANNOTATED,
    PREDICTED,
    mark_simulated,
    outline,
    panel_rows,
    quiet,
    source_colours,
)
from radlib.stats.dice import BASELINES
from radlib.study import Study
from radlib.study.titles import source_title, task_title
from radlib.training.results import headline_runs

TEN = 10
NOT_OUTLINED = "no outline by the publisher"


def masks_table(study: Study, task: str, packed: Packed) -> pd.Series:
    """What there is to outline: counts of masks, share of the frame, and the shape of the images."""
    manifest = packed.manifest
    marked = manifest[manifest["has_mask"]]
    low, middle, high = np.quantile([packed.masks[row].mean() for row in marked.index], [0.25, 0.5, 0.75])
    sides = marked[["width", "height"]]
    aspect = sides.max(axis=1) / sides.min(axis=1)
    empty = manifest[manifest["empty_mask"]]["class_name"].value_counts()
    said = {
        "images": f"{len(manifest):,}" + (" (simulated)" if packed.meta["simulated"] else ""),
        "with a lesion mask": f"{len(marked):,}",
        "with an empty mask": ", ".join(f"{n:,} {name}" for name, n in empty.items()) or "0",
        "share of the frame, median (quartiles)": f"{middle:.0%} ({low:.0%}, {high:.0%})",
        "longer over shorter side, median (most)": f"{aspect.median():.2f} ({aspect.max():.2f})",
        "made square by": packed.resize,
    }
    return pd.Series(said, name=task_title(study, task))


def means_table(study: Study, found: Found) -> pd.DataFrame:
    """Mean figures of every source and baseline, for readers."""
    rows = []
    for task in found.tasks:
        titles = found.titles(study, [task])
        for name, means in found.means_by_source(study, task).items():
            rows.append({"task": task_title(study, task), "of": titles[name], **means[found.figures].mean()})
    table = pd.DataFrame(rows, columns=["task", "of", *found.figures])
    return table.rename(columns=METRICS).set_index(["task", "of"]).round(3)


def dice_by_source(study: Study, found: Found) -> Figure:
    """Dice of every test image, mean over the common runs: quartiles and range by source and guess."""
    tasks = found.compared_tasks(study)
    figure, panels = panel_rows(study, len(tasks), 2, (0, 0.3), (5.2, 3.3), sharey=False)
    colours = source_colours(study) | dict.fromkeys(BASELINES, "0.75")
    for panel, task in zip(panels, tasks, strict=True):
        means = found.means_by_source(study, task)
        long = pd.concat([some.assign(of=name) for name, some in means.items()])
        boxes = {"palette": {name: colours[name] for name in means}, "whis": (0, 100), "width": 0.6}
        sns.boxplot(long, x="dice", y="of", hue="of", linewidth=1, ax=quiet(panel), legend=False, **boxes)
        panel.set(xlim=(0, 1), xlabel="Dice of an image", ylabel="", title=task_title(study, task))
        titles = found.titles(study, [task])
        panel.set_yticks(range(len(means)), [titles[name].replace(" (", "\n(") for name in means])
    figure.suptitle(f"Dice of single images, by {METHODS[found.method]}")
    return figure


def chosen_cases(study: Study, found: Found, task: str) -> dict[str, str]:
    """Best, median and worst test image by the mean Dice of the headline pair: title -> image_id."""
    runs = headline_runs(study, found.runs[task])
    mean = sum(found.means(task, runs[source])["dice"] for source in study.compare.headline) / 2
    ordered = mean.sort_values(kind="stable").index
    return {"best": ordered[-1], "median": ordered[len(ordered) // 2], "worst": ordered[0]}


def overlays(study: Study, found: Found, task: str, packed: Packed) -> Figure | None:
    """What each source's runs say on average, with the outline of the lesion, for `chosen_cases`.

    Maps: their mean. U-Nets: the share of runs that mark a pixel. Outlined is what most runs mark, by their
    threshold; in maps it is hatched too, as nothing else tells its side. Real images are left out: what a
    publisher gives out is not ours to print. Outlines and map remain. None where the headline has no runs
    with maps.
    """
    runs = headline_runs(study, found.runs[task])
    if not runs:
        return None
    cases = chosen_cases(study, found, task)
    size = (2.5 * len(runs) + 0.6, 2.6 * len(cases))
    figure, axes = plt.subplots(len(cases), len(runs), figsize=size, squeeze=False, layout="constrained")
    look = {"cmap": "viridis", "vmin": 0, "vmax": 1, "alpha": 0.55 if packed.meta["simulated"] else 1}
    titles, of_maps, single = found.titles(study, [task]), found.method == "localisation", True
    for line, (title, image_id) in zip(axes, cases.items(), strict=True):
        for panel, (source, some) in zip(line, runs.items(), strict=True):
            images = found.images[task].merge(some[["run"]], on="run")
            images = images[images["image_id"] == image_id]
            single &= len(images) == 1
            mask = _show_image(panel, packed, image_id)
            shown, marked = _pictures(images, mask.shape, packed)
            colours = panel.imshow(shown, **look)
            outline(panel, mask, ANNOTATED)
            outline(panel, marked, PREDICTED)
            if of_maps and marked.any():
                hatched = panel.contourf(marked, levels=[0.5, 1.5], colors="none", hatches=["//"])
                hatched.set(edgecolor=PREDICTED, linewidth=0)
            whole = ", all of it marked" if marked.all() else "" if marked.any() else ", nothing marked"
            panel.set_xlabel(f"Dice {images['dice'].mean():.2f}{whole}", fontsize=8)
            panel.set_title(titles[source].replace(" (", "\n("), fontsize=9)
        said = "" if mask.any() else f"\n{NOT_OUTLINED}"
        line[0].set_ylabel(f"{title}\n{image_id}{said}", fontsize=8)
    if of_maps or not single:
        figure.colorbar(colours, ax=axes, shrink=0.6, label=_scale(found, task))
    of = "the one run of each source" if single else "mean over a source's runs, and their mean Dice"
    by = "magenta: marked" + (" by most runs" * (not single))
    by += f"{', each' * (not single)} at its own threshold (hatched)" if of_maps else ""
    figure.suptitle(
        f"{task_title(study, task)}, {METHODS[found.method]}: {of}\n"
        f"black: the lesion as outlined by the annotator; {by}"
    )
    mark_simulated(figure, study)
    return figure


def _scale(found: Found, task: str) -> str:
    """What the colours mean; of maps also how many places they have."""
    if found.method != "localisation":
        return "share of the runs that mark a pixel"
    sides = found.images[task][["map_height", "map_width"]].dropna().astype(int).drop_duplicates()
    sizes = listed(f"{height} x {width}" for height, width in sorted(sides.to_numpy().tolist()))
    return f"mean map; the largest value of each run's is 1\n(maps of {sizes} places, smoothed to the image)"


def random_predictions(study: Study, task: str, segmented: pd.DataFrame, packed: Packed, seed: int) -> Figure:
    """Ten pairs of a run and one of its test images, chosen at random: both outlines, and what they score.

    Args:
        segmented: a row per run and test image, with source, backbone and `mask`.
    """
    chosen = segmented.sample(min(TEN, len(segmented)), random_state=seed)
    figure, panels = panel_rows(study, len(chosen), 4, (0, 0.6), (2.2, 2.9), sharey=False)
    for panel, line in zip(panels, chosen.itertuples(), strict=True):
        mask = _show_image(panel, packed, line.image_id)
        outline(panel, mask, ANNOTATED)
        outline(panel, _bits(line.mask, mask.shape), PREDICTED)
        panel.set_title(f"{source_title(study, line.source)}\n{line.backbone}", fontsize=8)
        said = f"Dice {line.dice:.2f}, Hausdorff {line.hausdorff95:.0f} px" if mask.any() else NOT_OUTLINED
        panel.set_xlabel(f"{line.image_id}\n{said}", fontsize=8)
    title = f"{task_title(study, task)}: test images and runs chosen at random"
    title += " (Hausdorff: 95 % Hausdorff distance, px of the file)"
    figure.suptitle(f"{title}\nblack: as outlined by the annotator; magenta: as predicted")
    return figure


def _show_image(panel: Axes, packed: Packed, image_id: str) -> np.ndarray:
    """The image in its own pixels where it may be printed, else an empty frame of its size; its mask."""
    row = int(np.flatnonzero(packed.manifest["image_id"] == image_id)[0])
    height, width = packed.manifest[["height", "width"]].iloc[row]
    panel.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal")
    if packed.meta["simulated"]:
        side = max(height, width)
        box = (width, height) if packed.resize == "stretch" else (side, side)
        left, top = ((length - inner) / 2 for length, inner in zip(box, (width, height), strict=True))
        extent = (-0.5 - left, box[0] - left - 0.5, box[1] - top - 0.5, -0.5 - top)
        panel.imshow(packed.images[row].squeeze(), cmap="gray", extent=extent)
    return packed.masks[row]


def _pictures(images: pd.DataFrame, shape: tuple[int, int], packed: Packed) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) of one image: mean over runs of their maps or masks, 0 to 1; bool, what most of them mark."""
    if "mask" in images:
        shares = np.mean([_bits(mask, shape) for mask in images["mask"]], axis=0)
        return shares, shares > 0.5
    maps = [
        # Baselines have no map, so the columns of sides are not whole numbers to pandas.
        resized(np.frombuffer(m, np.float16).reshape(int(height), int(width)), shape, packed.resize)
        for m, height, width in zip(images["map"], images["map_height"], images["map_width"], strict=True)
    ]
    marked = [one >= threshold for one, threshold in zip(maps, images["threshold"], strict=True)]
    return np.mean(maps, axis=0), np.mean(marked, axis=0) > 0.5


def _bits(mask: bytes, shape: tuple[int, int]) -> np.ndarray:
    """bool (H, W) of a mask stored as bits."""
    return np.unpackbits(np.frombuffer(mask, np.uint8), count=shape[0] * shape[1]).reshape(shape).astype(bool)

"""Does a corpus hold images of a task? Then it loses them before anything is pretrained on it. (01_data)

Published collections are made of one another, and an audit looks at one data set at a time. Here every image
of a task is set beside every image of a corpus, as thumbnails (32 x 32 px, grey), by Pearson correlation,
which ignores brightness and contrast.

**The rule.** Radiographs all look alike: the most similar picture of somebody else correlates by 0.90 in the
median and by up to 0.96, so a threshold alone misses copies or takes strangers for copies. But a copy is also
nearer than *everything else*. An image is found if its best match has a correlation of `SAME`, or one of
`LIKELY` and is `CLOSER` times as near as the best match that is another picture, near meaning 1 - correlation
(the ratio test of Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94). Another picture is one that is no copy
of the best match, by `SAME`: a corpus may hold a picture twice. The best match and its copies then leave it.

It was chosen on 3 052 images of five public tasks beside two corpora of 10 000. Fourteen radiographs are the
same picture by eye: correlations of 0.963 to 0.9998, and 4 times as near as the next, or more. Of all others
none passed 0.964 or was more than 1.6 times as near where it passed 0.95 (1.8 beside three corpora of 12 000,
where it finds sixteen, 3.6 times as near or more). The larger a corpus, the nearer are strangers; a ratio
takes that along, and 0.99 is far from it.

**What it cannot find**: other pictures of the same patient, copies that were cropped, turned or mirrored, and
whatever a published checkpoint was trained on. All counts are lower bounds.
"""

from collections.abc import Callable

import numpy as np
import torch

from radlib import compute
from radlib.data.facts import THUMBNAIL
from radlib.data.packing import release
from radlib.errors import UserError
from radlib.progress import progress
from radlib.study import Study

SAME, LIKELY, CLOSER = 0.99, 0.95, 2.5
IMAGE_OF = "image of task '{}'"  # the reason
# Thumbnails with less contrast (SD, in greys of 256) are mostly the rounding to whole greys.
LEAST_CONTRAST = 2.0
_KEPT = 4  # best matches of every image
_TASK, _CORPUS = 2048, 4096  # thumbnails at once: 24 MB, and 32 MB of correlations


def images_of_tasks(study: Study, corpus: np.ndarray, twins: np.ndarray, progress: Callable) -> np.ndarray:
    """Why images leave a corpus: `IMAGE_OF` a task of the study, or "" for those that stay; object (n,).

    The search is repeated until it finds nothing: where a match is taken away, another may be the best one.

    Args:
        corpus: thumbnails, uint8 (n, 32, 32). twins: (n,), equal where they are: one of each is compared.
    Raises:
        UserError: a task is not prepared.
    """
    # Variants hold the images of their originals, which reports name: these come first.
    originals_first = sorted(study.tasks, key=lambda task: study.tasks[task].variant_of is not None)
    tasks = {task: thumbnails_of(study, task) for task in originals_first}
    _, first, place = np.unique(twins, return_index=True, return_inverse=True)
    left, reasons = np.zeros(len(corpus), dtype=bool), np.full(len(corpus), "", dtype=object)
    left[first] = True
    found = True
    while found:
        for task, thumbnails in tasks.items():
            held = find(thumbnails, corpus, left, progress)[1]
            reasons[held & left & (reasons == "")] = IMAGE_OF.format(task)
        found = (reasons[left] != "").any()
        left &= reasons == ""
    return reasons[first][place]


def thumbnails_of(study: Study, task: str) -> np.ndarray:
    """Of a prepared task's images, uint8 (n, 32, 32) in the order of its manifest; a memory map."""
    file = study.dataset_dir(task) / "thumbnails.npy"
    try:
        return np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as exc:
        raise UserError(
            f"task '{task}' is not prepared, for {file} cannot be read; run dvc repro, or notebook 01_data "
            f"with dataset = '{task}' and save = True"
        ) from exc


def find(
    task: np.ndarray, corpus: np.ndarray, left: np.ndarray | None = None, progress: Callable = progress
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the rule of this module to thumbnails of a task, uint8 (n, 32, 32), and of a corpus, (m, 32, 32).

    Args:
        left: bool (m,), images of the corpus that count; None: all.
    Returns:
        bool (n,), which images of the task the corpus holds; bool (m,), which of its images these are.
    """
    seen, held = np.zeros(len(task), dtype=bool), np.zeros(len(corpus), dtype=bool)
    for start in progress(range(0, len(task), _TASK), description="images of tasks"):
        correlations, rows = best_matches(task[start : start + _TASK], corpus, left)
        for image in np.flatnonzero(correlations[:, 0] >= LIKELY):
            copies = judge(correlations[image], rows[image], corpus)
            seen[start + image] = len(copies) > 0
            held[copies] = True
    return seen, held


def best_matches(
    task: np.ndarray, corpus: np.ndarray, left: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The best matches of each image of a task among those `left` of a corpus, best first.

    A piece is a product of matrices on `compute.device()`; besides its pieces, nothing is held but the best.
    It takes 2 000 operations for each image of the one and of the other: 750 000 images beside 1.35 million
    are work for a graphics card, 1 000 beside 10 000 for a second of a processor.

    Returns:
        correlations, float32 (n, 4), and rows of the corpus, int64 (n, 4); -1 in both where it has fewer.
    """
    asked = _centred(task)
    best = torch.full((len(asked), _KEPT), -1.0, device=asked.device)
    where = torch.full((len(asked), _KEPT), -1, device=asked.device)
    for start in range(0, len(corpus), _CORPUS):
        piece = slice(start, start + _CORPUS)
        held = _centred(corpus[piece] if left is None else corpus[piece] * left[piece, None, None])
        found, place = torch.topk(asked @ held.T, min(_KEPT, len(held)))
        best, order = torch.topk(torch.cat([best, found], dim=1), _KEPT)
        where = torch.cat([where, place + start], dim=1).gather(1, order)
        release(corpus)
    return best.cpu().numpy(), where.cpu().numpy()


def judge(correlations: np.ndarray, rows: np.ndarray, corpus: np.ndarray) -> np.ndarray:
    """Rows of the corpus that are the image whose best matches are given; none where it is not found."""
    vectors = _centred(corpus[rows]).cpu()
    copies = ((vectors @ vectors[0]).numpy() >= SAME) & (rows >= 0)
    copies[0] = True
    # Where all that are kept are copies of the best, the next picture is at most as near as the last.
    rival = correlations[-1] if copies.all() else correlations[~copies].max()
    found = correlations[0] >= SAME or CLOSER * (1 - correlations[0]) <= 1 - rival
    return rows[copies] if found else rows[:0]


def _centred(thumbnails: np.ndarray) -> torch.Tensor:
    """float32 (k, 1024) of mean 0 and length 1; too little contrast is all zeros, alike with nothing."""
    flat = torch.from_numpy(np.array(thumbnails)).to(compute.device()).reshape(len(thumbnails), -1).float()
    flat -= flat.mean(dim=1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    flat[length[:, 0] < LEAST_CONTRAST * THUMBNAIL] = 0
    return flat / length.clamp(min=1)

"""Overlap: images of a task leave a corpus before anything is pretrained on it, and no other image does."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from radlib.data import overlap, prepare
from radlib.data.figures import card
from radlib.data.images import open_packed
from radlib.data.overlap import best_matches, find, judge, thumbnails_of
from radlib.errors import UserError
from radlib.questions.overlap import OVERLAP, overlap_findings, overlap_table

SIDE = 64


def picture(seed: int, side: int = SIDE, channels: int = 1) -> np.ndarray:
    """A smooth random picture, uint8 (side, side, channels); two of them have nothing in common."""
    noise = np.random.default_rng(seed).normal(0, 1, (channels, 192, 192))
    planes = []
    for plane in noise:
        grey = Image.fromarray(np.clip(128 + 60 * plane, 0, 255).astype(np.uint8))
        blurred = np.asarray(grey.filter(ImageFilter.GaussianBlur(7)), dtype=float)
        planes.append(128 + 40 * (blurred - blurred.mean()) / blurred.std())
    image = Image.fromarray(np.stack(planes, axis=2).clip(0, 255).astype(np.uint8).squeeze())
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)).reshape(side, side, channels)


def as_jpeg(pixels: np.ndarray, quality: int = 40) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(pixels.shape)


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(pixels.squeeze()).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(side, side, -1)


def alike(seed: int) -> np.ndarray:
    """A picture of one kind, as radiographs are: two correlate by 0.9 and more, and are not the same."""
    common, own = (picture(s).astype(float) - 128 for s in (10_000, seed))
    return (128 + 0.95 * common + 0.3 * own).clip(0, 255).astype(np.uint8)


def small(images: list[np.ndarray]) -> np.ndarray:
    """Thumbnails by Pillow alone, from (H, W, 1) or (H, W, 3)."""
    shown = [Image.fromarray(pixels.squeeze()).convert("L") for pixels in images]
    return np.stack([np.asarray(grey.resize((32, 32), Image.Resampling.BILINEAR)) for grey in shown])


def found_in(task: list[np.ndarray], corpus: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return find(small(task), small(corpus))


# What is found --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        lambda pixels: pixels,
        lambda pixels: resized(pixels, 40),
        lambda pixels: resized(pixels, 150),
        as_jpeg,
        lambda pixels: (0.5 * pixels + 20).astype(np.uint8),
        lambda pixels: as_jpeg(resized((0.7 * pixels + 60).astype(np.uint8), 80)),
        lambda pixels: np.repeat(pixels, 3, axis=2),
    ],
    ids=["as it is", "smaller", "larger", "jpeg", "darker", "all at once", "in colour"],
)
def test_a_changed_copy_is_found_among_pictures_that_look_alike(changed):
    corpus = [alike(seed) for seed in range(40)]
    task = [alike(seed) for seed in range(100, 130)]
    planted = {3: 5, 17: 39}
    for place, original in planted.items():
        task[place] = changed(corpus[original])
    correlations, rows = best_matches(small(task), small(corpus))
    strangers = np.setdiff1d(np.arange(30), list(planted))
    assert np.median(correlations[strangers, 0]) > 0.9, "strangers that are as alike as radiographs"
    seen, held = found_in(task, corpus)
    assert set(np.flatnonzero(seen)) == set(planted) and set(np.flatnonzero(held)) == set(planted.values())
    assert {place: rows[place, 0] for place in planted} == planted


def test_another_picture_is_not_found_however_alike():
    """One that correlates by more than 0.95, and is hardly nearer than the next."""
    base = alike(0).astype(float)
    near = [
        (base + 0.3 * (picture(seed).astype(float) - 128)).clip(0, 255).astype(np.uint8) for seed in (1, 2)
    ]
    correlations, _ = best_matches(small([near[0]]), small([alike(0), near[1], alike(7)]))
    assert overlap.LIKELY < correlations[0, 0] < overlap.SAME
    assert not found_in([near[0]], [alike(0), near[1], alike(7)])[0].any()


def blend(share: float, seed: int) -> np.ndarray:
    base, other = (picture(s).astype(float) - 128 for s in (0, seed))
    return (128 + np.sqrt(1 - share**2) * base + share * other).clip(0, 255).astype(np.uint8)


def test_a_corpus_that_holds_a_picture_twice_does_not_hide_it():
    image, twice = blend(0.25, 1), [picture(0), as_jpeg(picture(0), 70)]
    others = [picture(seed) for seed in range(5, 10)]
    correlations, _ = best_matches(small([image]), small([*twice, *others]))
    assert overlap.LIKELY < correlations[0, 1] <= correlations[0, 0] < overlap.SAME
    seen, held = found_in([image], [*twice, *others])
    assert seen[0] and held.tolist() == [True, True, *[False] * 5], "both leave the corpus"
    assert not found_in([image], [*[picture(0)] * 4, *others])[0][0], "what comes after its copies is unknown"


def test_images_of_hardly_any_contrast_are_alike_with_nothing():
    flat = np.full((SIDE, SIDE, 1), 7, dtype=np.uint8)
    nearly = flat.copy()
    nearly[:8, :8] = 9
    assert not found_in([flat, nearly], [flat, nearly, picture(0)])[0].any()


@pytest.mark.parametrize(("size", "count"), [(5, 23), (3, 2), (4096, 23)])
def test_pieces_of_a_corpus_give_what_all_at_once_gives(monkeypatch, size, count):
    """Against NumPy's own correlation; the corpus may be smaller than what is kept of it."""
    monkeypatch.setattr(overlap, "_CORPUS", size)
    rng = np.random.default_rng(0)
    task, corpus = (rng.integers(0, 256, (n, 32, 32), dtype=np.uint8) for n in (18, count))
    whole = np.corrcoef(task.reshape(18, -1), corpus.reshape(count, -1))[:18, 18:]
    order = np.argsort(-whole, axis=1)[:, :4]
    correlations, rows = best_matches(task, corpus)
    kept = order.shape[1]
    np.testing.assert_array_equal(rows[:, :kept], order)
    np.testing.assert_allclose(correlations[:, :kept], np.take_along_axis(whole, order, 1), atol=1e-5)
    assert (rows[:, kept:] == -1).all() and (correlations[:, kept:] == -1).all()


def test_pieces_of_a_task_and_images_that_left_the_corpus(monkeypatch):
    corpus = [alike(seed) for seed in range(20)]
    task = [corpus[3], alike(50), as_jpeg(corpus[8]), alike(51), resized(corpus[8], 50)]
    whole = found_in(task, corpus)
    monkeypatch.setattr(overlap, "_TASK", 2)
    for one, other in zip(whole, found_in(task, corpus), strict=True):
        np.testing.assert_array_equal(one, other)
    left = np.arange(20) != 8
    seen, held = find(small(task), small(corpus), left)
    assert np.flatnonzero(seen).tolist() == [0] and np.flatnonzero(held).tolist() == [3]


def test_below_the_upper_threshold_what_else_is_near_decides():
    """Where the rest of the corpus is as near, 0.989 is no copy; where it is far, 0.951 is one."""
    corpus, rows = small([picture(seed) for seed in range(4)]), np.arange(4)
    assert judge(np.array([0.989, 0.975, 0.97, 0.96]), rows, corpus).tolist() == []
    assert judge(np.array([0.951, 0.87, 0.8, 0.7]), rows, corpus).tolist() == [0]


# What a corpus loses --------------------------------------------------------------------------------------
HELD = [*range(5), *[5] * 6]  # images of the task that lie in the corpus, number 5 six times


def save(folder, images: list[np.ndarray], start: int = 0) -> None:
    """Two classes, a and b, in turns."""
    for number, pixels in enumerate(images, start):
        file = folder / "ab"[number % 2] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.squeeze()).save(file)


def planted(number: int, place: int) -> np.ndarray:
    """An image of the task as another collection has it: smaller, darker, compressed; never twice alike."""
    return (0.9 * as_jpeg(resized(picture(number), 44), 60 + place)).astype(np.uint8)


@pytest.fixture
def study(tmp_path, small_study):
    """The corpus `films` holds 40 pictures of its own, eleven of the task, and one that is mirrored."""
    save(tmp_path / "raw_task", [picture(number) for number in range(30)])
    films = [picture(1000 + number, 48) for number in range(40)]
    save(tmp_path / "raw_films", films)
    save(tmp_path / "raw_films", [planted(number, place) for place, number in enumerate(HELD)], 40)
    save(tmp_path / "raw_films", [picture(20)[:, ::-1]], 60)
    corpus = small_study.corpora["radiology"].model_copy(
        update={"layout": "folders", "path": "raw_films", "options": {}, "size": 32, "near_duplicate_bits": 0}
    )
    coarse = corpus.model_copy(update={"variant_of": "films", "groups": {"one": ["a"], "two": ["b"]}})
    given = {
        "layout": "folders",
        "path": "raw_task",
        "options": {},
        "folds": 1,
        "negative": "a",
        "positive": "b",
    }
    task = small_study.tasks["breast_us"].model_copy(update=given)
    return small_study.model_copy(
        update={"corpora": {"films": corpus, "coarse": coarse}, "tasks": {"xray": task}, "sources": ["films"],
                "segment": small_study.segment.model_copy(update={"tasks": []})}
    )  # fmt: skip


def prepared(study, *names: str) -> list:
    return [prepare.prepare(study, name, progress=lambda items, **_: items) for name in names]


def test_a_corpus_loses_the_images_of_a_task_and_says_so(study):
    _, films = prepared(study, "xray", "films")
    lost = films.dropped[films.dropped["reason"] == "image of task 'xray'"]["image_id"]
    assert sorted(name[-7:-4] for name in lost) == [f"{40 + place:03d}" for place in range(len(HELD))]
    kept = set(films.manifest["image_id"])
    assert len(kept) == 41 and "a/060.png" in kept, "a mirrored copy is not found"
    assert films.audit["reasons"] == {"image of task 'xray'": 11} and films.audit["listed"] == 52
    assert "| excluded | image of task 'xray': 11 |" in card(study.corpora["films"], films)
    task, left = thumbnails_of(study, "xray"), np.stack([small([one])[0] for one in films.images])
    assert not find(task, left)[0].any(), "none is left"


def test_a_variant_loses_the_same_images_and_keeps_the_others_in_the_same_parts(study):
    _, films, coarse = prepared(study, "xray", "films", "coarse")
    pd.testing.assert_frame_equal(films.dropped, coarse.dropped)
    same = ["image_id", "patient_id", "part_0", "sha256"]
    pd.testing.assert_frame_equal(films.manifest[same], coarse.manifest[same])
    assert set(coarse.manifest["class_name"]) == {"one", "two"}


def test_parts_are_those_of_a_corpus_that_never_held_them(study, tmp_path):
    _, films = prepared(study, "xray", "films")
    for file in (tmp_path / "raw_films").glob("?/0[45]?.png"):
        file.unlink()
    (without,) = prepared(study, "films")
    assert without.audit["reasons"] == {} and without.meta["digest"] == films.meta["digest"]


def test_where_nothing_is_found_nothing_changes(study, tmp_path, monkeypatch):
    for file in (tmp_path / "raw_films").glob("?/0[45]?.png"):
        file.unlink()
    _, films = prepared(study, "xray", "films")
    folder = study.dataset_dir("films")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "thumbnails.npy" not in files and len(films.manifest) == 41
    monkeypatch.setattr(prepare, "images_of_tasks", lambda study, corpus, *_: np.full(len(corpus), ""))
    prepared(study, "films")
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_borders_of_a_letterboxed_task_hide_nothing(study, tmp_path):
    """Its thumbnails are of the pictures as published: 64 x 48 px in the task, squeezed in the corpus."""
    wide = [picture(number)[8:56] for number in range(30)]
    save(tmp_path / "raw_task", wide)
    save(tmp_path / "raw_films", [resized_to(pixels, (50, 50)) for pixels in wide[:3]], 70)
    boxed = study.tasks["xray"].model_copy(update={"resize": "letterbox"})
    _, films = prepared(study.model_copy(update={"tasks": {"xray": boxed}}), "xray", "films")
    lost = films.dropped["image_id"].str[-7:-4].tolist()
    assert {"070", "071", "072"} <= set(lost)


def resized_to(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels.squeeze()).resize(size, Image.Resampling.BICUBIC))


def test_a_task_must_be_prepared_first(study):
    with pytest.raises(
        UserError, match="task 'xray' is not prepared, .* with dataset = 'xray' and save = True"
    ):
        prepared(study, "films")
    assert not study.dataset_dir("films").exists()
    prepared(study, "xray")
    (study.dataset_dir("xray") / "thumbnails.npy").write_bytes(b"")
    with pytest.raises(UserError, match="task 'xray' is not prepared"):
        prepared(study, "films")


def test_a_corpus_of_nothing_but_a_task_is_refused(study):
    same = study.corpora["films"].model_copy(update={"path": "raw_task"})
    with pytest.raises(UserError, match="corpus 'films' holds nothing but images of tasks; name another"):
        prepared(study.model_copy(update={"corpora": {"films": same}}), "xray", "films")


def test_thumbnails_are_of_the_images_that_a_task_keeps(study, tmp_path):
    save(tmp_path / "raw_task", [picture(0)], 31)  # a copy of the first with the other label
    (task,) = prepared(study, "xray")
    stored = thumbnails_of(study, "xray")
    assert (
        len(task.manifest) == len(stored) == 29 and len(open_packed(study.dataset_dir("xray")).images) == 29
    )
    expected = small([picture(int(name[-7:-4])) for name in task.manifest["image_id"]])
    np.testing.assert_array_equal(stored, expected)


# What is said ---------------------------------------------------------------------------------------------
def test_the_report_counts_what_each_corpus_lost(study):
    """Under the name of the task, though a variant with the same images stands before it."""
    boxed = study.tasks["xray"].model_copy(update={"variant_of": "xray", "resize": "letterbox"})
    study = study.model_copy(update={"tasks": {"boxed": boxed, **study.tasks}})
    prepared(study, "xray", "boxed", "films", "coarse")
    table = overlap_table(study)
    assert table[["source", "task", "n_left_out"]].to_numpy().tolist() == [
        ["films", "xray", 11],
        ["coarse", "xray", 11],
    ]
    OVERLAP.write(study, table)
    found = overlap_findings(study, OVERLAP.read(study))
    assert [one.verdict for one in found] == ["11, before pretraining"] * 2
    none = overlap_findings(study, table.assign(n_left_out=0))
    assert [one.verdict for one in none] == ["none found"] * 2 and overlap_findings(study, table[:0]) == []
    one_clean = table.assign(n_left_out=[11, 0])
    assert [one.verdict for one in overlap_findings(study, one_clean)] == [
        "11, before pretraining",
        "none found",
    ]

"""Overlap: planted copies are found, nothing else is, and the difference without them is the hand's own."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from radlib.questions import overlap
from radlib.questions.auc.compute import compare_sources
from radlib.questions.overlap import OVERLAP, Matches, best_matches, judge, overlap_findings
from radlib.seeds import seed_of
from radlib.stats.bootstrap import bootstrap_delta
from radlib.stats.folds import FoldScores
from radlib.training.results import load_results
from tests.conftest import write_packed
from tests.fabricated import fabricate, make_study, read_results

TASK = "thyroid_us"
HEADLINE = ("radiology", "photographs")
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


def packed_manifest(count: int, part: str = "train", side: int = SIDE) -> pd.DataFrame:
    names = [f"image_{i:03d}" for i in range(count)]
    return pd.DataFrame({"image_id": names, "patient_id": names, "label": 0, "class_name": "a", "width": side,
                         "height": side, "sha256": "0", "has_mask": False, "part_0": part})  # fmt: skip


def small(images: list[np.ndarray]) -> np.ndarray:
    """Thumbnails by Pillow alone, from (H, W, 1) or (H, W, 3)."""
    shown = [Image.fromarray(pixels.squeeze()).convert("L") for pixels in images]
    return np.stack([np.asarray(grey.resize((32, 32), Image.Resampling.BILINEAR)) for grey in shown])


def found_in(task: list[np.ndarray], corpus: list[np.ndarray], parts="train") -> overlap.Found:
    manifest = packed_manifest(len(corpus)).assign(part_0=parts)
    return judge(best_matches(small(task), small(corpus)), small(corpus), manifest)


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
    matches = best_matches(small(task), small(corpus))
    strangers = np.setdiff1d(np.arange(30), list(planted))
    assert np.median(matches.correlations[strangers, 0]) > 0.9, "strangers that are as alike as radiographs"
    found = found_in(task, corpus)
    assert set(np.flatnonzero(found.seen)) == set(planted)
    assert {place: matches.rows[place, 0] for place in planted} == planted


def test_another_picture_is_not_found_however_alike():
    """One that correlates by more than 0.95, and is hardly nearer than the next."""
    base = alike(0).astype(float)
    near = [
        (base + 0.3 * (picture(seed).astype(float) - 128)).clip(0, 255).astype(np.uint8) for seed in (1, 2)
    ]
    matches = best_matches(small([near[0]]), small([alike(0), near[1], alike(7)]))
    assert overlap.LIKELY < matches.correlations[0, 0] < overlap.SAME
    assert not found_in([near[0]], [alike(0), near[1], alike(7)]).seen[0]


def blend(share: float, seed: int) -> np.ndarray:
    base, other = (picture(s).astype(float) - 128 for s in (0, seed))
    return (128 + np.sqrt(1 - share**2) * base + share * other).clip(0, 255).astype(np.uint8)


def test_a_corpus_that_holds_a_picture_twice_does_not_hide_it():
    image, twice = blend(0.25, 1), [picture(0), as_jpeg(picture(0), 70)]
    others = [picture(seed) for seed in range(5, 10)]
    correlations = best_matches(small([image]), small([*twice, *others])).correlations[0]
    assert overlap.LIKELY < correlations[1] <= correlations[0] < overlap.SAME
    found = found_in([image], [*twice, *others], ["validation", "train", *["train"] * 5])
    assert found.seen[0] and found.training[0], "one of the two is learnt from"
    assert not found_in([image], [*twice, *others], ["validation", "test", *["train"] * 5]).training[0]
    four = [*[picture(0)] * 4, *others]
    assert not found_in([image], four).seen[0], "what comes after its copies is not known"


def test_only_the_training_part_was_learnt_from():
    corpus = [picture(seed) for seed in range(3)]
    found = found_in(corpus + [picture(9)], corpus, ["train", "validation", "test"])
    assert found.seen.tolist() == [True, True, True, False]
    assert found.training.tolist() == [True, False, False, False]


def test_images_of_hardly_any_contrast_are_alike_with_nothing():
    flat = np.full((SIDE, SIDE, 1), 7, dtype=np.uint8)
    nearly = flat.copy()
    nearly[:8, :8] = 9
    assert not found_in([flat, nearly], [flat, nearly, picture(0)]).seen.any()


@pytest.mark.parametrize(("size", "count"), [((7, 5), 23), ((4, 3), 2), ((2048, 4096), 23)])
def test_pieces_give_what_all_at_once_gives(monkeypatch, size, count):
    """Against NumPy's own correlation; the corpus may be smaller than what is kept of it."""
    monkeypatch.setattr(overlap, "_TASK", size[0])
    monkeypatch.setattr(overlap, "_CORPUS", size[1])
    rng = np.random.default_rng(0)
    task, corpus = (rng.integers(0, 256, (n, 32, 32), dtype=np.uint8) for n in (18, count))
    whole = np.corrcoef(task.reshape(18, -1), corpus.reshape(count, -1))[:18, 18:]
    order = np.argsort(-whole, axis=1)[:, :4]
    matches = best_matches(task, corpus)
    kept = order.shape[1]
    np.testing.assert_array_equal(matches.rows[:, :kept], order)
    np.testing.assert_allclose(matches.correlations[:, :kept], np.take_along_axis(whole, order, 1), atol=1e-5)
    assert (matches.rows[:, kept:] == -1).all() and (matches.correlations[:, kept:] == -1).all()


def test_a_letterboxed_copy_is_found_in_a_stretched_corpus(tmp_path):
    """A picture of 64 x 48 px: black borders above and below here, stretched there."""
    wide = np.asarray(Image.fromarray(picture(0).squeeze()).crop((0, 8, 64, 56)))
    boxed = np.zeros((SIDE, SIDE, 1), dtype=np.uint8)
    boxed[8:56, :, 0] = wide
    manifest = packed_manifest(1).assign(height=48)
    write_packed(tmp_path / "boxed", boxed[np.newaxis], manifest, resize="letterbox")
    write_packed(tmp_path / "squeezed", boxed[np.newaxis], manifest)
    shown = {}
    for name in ("boxed", "squeezed"):
        packed = overlap.open_packed(tmp_path / name)
        shown[name] = overlap.thumbnails(packed, tmp_path / f"{name}.small")
    stretched = small([np.asarray(Image.fromarray(wide).resize((SIDE, SIDE), Image.Resampling.BILINEAR))])
    assert best_matches(shown["boxed"], stretched).correlations[0, 0] > 0.99
    assert best_matches(shown["squeezed"], stretched).correlations[0, 0] < 0.95


# What it changes ------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    study = make_study(tmp_path)
    fabricate(study, {"radiology": 1.6, "photographs": 0.8, "random": 0.0})
    for number, corpus in enumerate(HEADLINE):
        colour = 1 + 2 * number
        images = np.stack([picture(1000 * (number + 1) + i, 48, colour) for i in range(30)])
        parts = np.where(np.arange(30) % 3 == 0, "validation", "train")
        write_packed(study.dataset_dir(corpus), images, packed_manifest(30, parts, 48))
    return study


def pack_task(study, planted: list[int]) -> pd.DataFrame:
    """The fabricated test images; those numbered `planted` lie in the corpus radiology, in its order."""
    tested = read_results(study, TASK)[1].drop_duplicates("image_id").reset_index(drop=True)
    images = np.stack([picture(5000 + i) for i in range(len(tested))])
    for original, place in enumerate(planted):
        images[place] = as_jpeg(resized(picture(1000 + original, 48), SIDE))
    columns = ["image_id", "patient_id", "label"]
    manifest = packed_manifest(len(tested)).assign(**{name: tested[name] for name in columns})
    write_packed(study.dataset_dir(TASK), images, manifest)
    return tested


def by_hand(study, seen: set[str], pair: tuple[str, str]):
    """The difference and its interval from the stored predictions without some images."""
    runs, rows = read_results(study, TASK)
    rows = rows[~rows["image_id"].isin(seen)].merge(runs[["run", "source"]], on="run")
    sides = []
    for source in pair:
        folds = []
        for _, fold in rows[rows["source"] == source].groupby("fold"):
            wide = fold.pivot(index="run", columns="image_id", values="score")
            first = fold.drop_duplicates("image_id").set_index("image_id").loc[wide.columns]
            folds.append(
                FoldScores(first["label"].to_numpy(), first["patient_id"].to_numpy(), wide.to_numpy())
            )
        sides.append(folds)
    options = study.compare
    return bootstrap_delta(*sides, options.resamples, seed_of(study.seed, "bootstrap", TASK))


def test_the_difference_without_them_is_the_hands_own(study):
    planted = [2, 3, 40, 81, 90, 133]
    tested = pack_task(study, planted)
    results = load_results(study)
    table = overlap.compare_overlap(study, results)
    assert list(table) == OVERLAP.names
    photographs, rows = (table[table["source"] == source] for source in ("photographs", "radiology"))
    assert len(photographs) == 1 and photographs["n_found"].item() == 0
    assert photographs[["source_a", "delta", "delta_without"]].isna().all(axis=None)

    assert len(rows) == 1, "radiology is in one of the two pairs"
    row = rows.iloc[0]
    assert (row["source_a"], row["source_b"]) == HEADLINE
    counts = ["n_images", "n_found", "n_found_training", "n_tested", "n_tested_found"]
    assert row[counts].tolist() == [160, 6, 4, 160, 6], (
        "the corpus' images 0 and 3 are of its validation part"
    )
    auc = compare_sources(study, results).table.query("estimate == 'grid_mean'").iloc[0]
    for name in ("delta", "ci_low", "ci_high"):
        assert row[name] == pytest.approx(auc[name], abs=1e-12)
    hand = by_hand(study, set(tested["image_id"][planted]), HEADLINE)
    assert row["delta_without"] == pytest.approx(hand.value, abs=1e-12)
    ends = row["ci_low_without"], row["ci_high_without"]
    assert ends == pytest.approx(hand.interval(0.95), abs=1e-12)
    assert row["delta_without"] != row["delta"]
    left = tested.drop(index=planted)
    assert row["n_images_without"] == 154 and row["n_positive_without"] == left["label"].sum()
    assert row["n_patients_without"] == left["patient_id"].nunique() == 79, "2 and 3 are one patient's"


def test_trainings_are_resampled_where_05_auc_resamples_them(tmp_path):
    study = make_study(tmp_path, transfer={
        "settings": [{"train": "frozen", "lr": 0.01}], "epochs": {"frozen": 1, "top10": 1, "all": 1},
        "seeds": [0, 1, 2, 3],
    })  # fmt: skip
    fabricate(study, {"radiology": 1.6, "photographs": 0.8, "random": 0.0})
    for corpus in HEADLINE:
        images = np.stack([picture(1000 + i, 48) for i in range(8)])
        write_packed(study.dataset_dir(corpus), images, packed_manifest(8, side=48))
    pack_task(study, [4, 100])
    results = load_results(study)
    auc = compare_sources(study, results).table.query("estimate == 'grid_mean'").iloc[0]
    row = overlap.compare_overlap(study, results).iloc[0]
    assert row["resampled"] == auc["resampled"] == "patients and trainings"
    assert row[["ci_low", "ci_high"]].tolist() == auc[["ci_low", "ci_high"]].tolist()
    assert row["ci_low_without"] < row["delta_without"] < row["ci_high_without"]


def test_where_nothing_is_found_no_row_is_added_and_nothing_is_claimed(study):
    pack_task(study, [])
    table = overlap.compare_overlap(study, load_results(study))
    assert list(table["source"]) == list(HEADLINE) and (table["n_found"] == 0).all()
    (found,) = overlap_findings(study, table)
    assert found.verdict == "none found"


def test_a_class_that_vanishes_is_said_not_computed(study):
    tested = read_results(study, TASK)[1].drop_duplicates("image_id").reset_index(drop=True)
    positives = np.flatnonzero((tested["fold"] == 1) & (tested["label"] == 1))
    corpus = np.stack([picture(2000 + i, 48) for i in range(len(positives))])
    folder = study.dataset_dir("radiology")
    np.save(folder / "images.npy", corpus)
    packed_manifest(len(corpus), side=48).to_parquet(folder / "manifest.parquet", index=False)
    images = np.stack([picture(5000 + i) for i in range(len(tested))])
    images[positives] = [resized(pixels, SIDE) for pixels in corpus]
    columns = ["image_id", "patient_id", "label"]
    manifest = packed_manifest(len(tested)).assign(**{name: tested[name] for name in columns})
    write_packed(study.dataset_dir(TASK), images, manifest)
    table = overlap.compare_overlap(study, load_results(study))
    row = table[table["source"] == "radiology"].iloc[0]
    assert row["not_compared"] == "without them the test part of fold 1 lacks a class"
    assert np.isnan(row["delta_without"]) and np.isfinite(row["delta"])
    without = overlap_findings(study, table)[1]
    assert np.isnan(without.value) and without.verdict.startswith(
        "none can be given: without them the test part"
    )


# What is said ---------------------------------------------------------------------------------------------


def test_findings_are_those_of_the_written_table(study):
    pack_task(study, [2, 3, 40])
    table = overlap.compare_overlap(study, load_results(study))
    OVERLAP.write(study, table)
    again = OVERLAP.read(study)
    row = table.iloc[0]
    found, without = overlap_findings(study, again)
    assert found.subject == "Images of Thyroid US that lie in Simulated radiology"
    assert found.verdict.startswith("3 of 160, ")
    assert without.value == pytest.approx(row["delta_without"], abs=1e-5)
    shown = OVERLAP.shown(study, again)
    assert shown["a − b"].iloc[0].startswith(f"{row['delta']:+.3f} (") and shown["a − b"].iloc[1] == ""
    assert set(shown["images are"]) == {"simulated"}


def test_a_study_without_corpora_says_so(study):
    pack_task(study, [])
    table = overlap.compare_overlap(study.model_copy(update={"sources": ["random"]}), load_results(study))
    assert table.empty and overlap_findings(study, table) == []


def test_below_the_upper_threshold_what_else_is_near_decides():
    """Where the rest of the corpus is as near, 0.989 is no copy; where it is far, 0.951 is one."""
    corpus = small([picture(seed) for seed in range(4)])
    rows = np.tile(np.arange(4), (2, 1))
    correlations = np.array([[0.989, 0.975, 0.97, 0.96], [0.951, 0.87, 0.8, 0.7]], dtype=np.float32)
    found = judge(Matches(correlations, rows), corpus, packed_manifest(4))
    assert found.seen.tolist() == [False, True]

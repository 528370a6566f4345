"""Small studies in temporary folders: real code on tiny inputs."""

# ruff: noqa: E402 - before any library counts the processor's cores
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers, two cores; their children likewise

import ast
import importlib
import json
from pathlib import Path

import grimp
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings

from radlib import compute
from radlib.data.facts import thumbnail
from radlib.data.masks import pack
from radlib.networks.tensor_files import read_header
from radlib.study import Study, load_study
from radlib.study.training import Compute

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = "test_efficientnet"
LITE0 = "tf_efficientnet_lite0"  # the smallest that has a `top10`
settings.register_profile("busy", deadline=None)  # a busy computer is no failure
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list) -> None:
    """The whole study first, then what else takes a minute: the last file should be a short one."""
    long = ["test_verify", "test_published_weights"]
    items.sort(key=lambda item: ("study" not in item.keywords, item.path.stem not in long))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--precision", choices=["float32", "bfloat16"], help="not the processor's own")


def pytest_configure(config: pytest.Config) -> None:
    """With `--precision`, numbers as on another processor."""
    chosen = config.option.precision
    if chosen and chosen != compute.precision():
        compute.precision = lambda: chosen
        torch.nn.functional.conv2d = _rounded(torch.nn.functional.conv2d)
        torch.nn.functional.linear = _rounded(torch.nn.functional.linear)


def _rounded(function):
    """bfloat16 as of a processor that has it; PyTorch's own emulation gives the same bits, far slower."""

    def call(images, weight, bias=None, *rest, **options):
        if not torch.is_autocast_enabled("cpu"):
            return function(images, weight, bias, *rest, **options)
        low = [None if value is None else value.bfloat16().float() for value in (images, weight, bias)]
        with torch.autocast("cpu", enabled=False):
            return function(*low, *rest, **options).bfloat16()

    return call


@pytest.fixture
def small_study(tmp_path) -> Study:
    """The smoke study below a temporary folder, computed in this process; every source is pretrained once."""
    study = load_study({"pretrain.replicates": 1}, path=REPOSITORY / "studies" / "smoke.yaml")
    return study.model_copy(update={"root": tmp_path, "compute": Compute(workers=1)})


def with_lite0(study: Study) -> Study:
    """The study on the smallest network that has a `top10`, which takes the place of `top`."""
    options = study.transfer
    settings = [s.model_copy(update={"train": s.train.replace("top", "top10")}) for s in options.settings]
    epochs = {train.replace("top", "top10"): count for train, count in options.epochs.items()}
    changed = options.model_copy(update={"settings": settings, "epochs": epochs})
    backbones = {LITE0: study.backbones[SMALL]}
    return study.model_copy(update={"backbones": backbones, "transfer": changed})


@pytest.fixture
def processor(monkeypatch) -> None:
    """No graphics card even where there is one, and float32: for comparisons with independent code."""
    monkeypatch.setattr(compute, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(compute, "precision", lambda: "float32")


@pytest.fixture(scope="session")
def keras(tmp_path_factory):
    """The library, on PyTorch, and nothing of it in the user's folder."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_HOME"] = str(tmp_path_factory.mktemp("keras_home"))
    return importlib.import_module("keras")


def write_packed(
    folder: Path,
    images: np.ndarray,
    manifest: pd.DataFrame,
    simulated: bool = True,
    masks: list | None = None,
    resize: str = "stretch",
) -> None:
    """A packed dataset as `01_data` leaves it; masks (H, W) or None for each row."""
    folder.mkdir(parents=True, exist_ok=True)
    if masks is not None:
        np.save(folder / "masks.npy", pack(masks))
    np.save(folder / "images.npy", images)
    np.save(folder / "thumbnails.npy", np.stack([thumbnail(pixels.squeeze()) for pixels in images]))
    manifest.to_parquet(folder / "manifest.parquet", index=False)
    meta = {
        "digest": f"{images.sum()}-{len(manifest)}",
        "resize": resize,
        "digest_raw": "0",
        "simulated": simulated,
        "layout": "test",
        "classes": sorted(set(manifest["class_name"])),
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    audit = {"patients_published": True, "patients_guessed": False, "joined": {}}
    (folder / "audit.json").write_text(json.dumps(audit))
    (folder / "dropped.csv").write_text("image_id,reason\n")


def two_classes(count: int, size: int, folds: int, seed: int = 0, signal: float = 60.0):
    """Noise images whose positive class has a brighter centre; two images a patient."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(count // 2), 2)
    labels = patients % 2
    images = rng.normal(110, 25, (count, size, size, 1))
    middle = slice(size // 3, 2 * size // 3)
    images[labels == 1, middle, middle] += signal
    manifest = pd.DataFrame(
        {
            "image_id": [f"image_{i:03d}" for i in range(count)],
            "patient_id": [f"patient_{p:03d}" for p in patients],
            "label": labels,
            "class_name": np.where(labels == 1, "positive", "negative"),
            "width": size,
            "height": size,
            "sha256": [f"{i:064d}" for i in range(count)],
            "has_mask": False,
        }
    )
    for fold in range(folds):
        turn = (patients // 2 + fold) % 5
        part = np.select([turn == 0, turn == 1], ["test", "validation"], "train")
        manifest[f"part_{fold}"] = part
    return images.clip(0, 255).astype(np.uint8), manifest


def imports_of(notebook: Path) -> set[str]:
    """Modules of the library that the cells of a notebook import."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = set()
    for node in ast.walk(ast.parse("\n".join(s for s in sources if not s.startswith("%")))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & grimp.build_graph("radlib", cache_dir=None).modules


def origin_of(study: Study, backbone: str, source: str = "published") -> dict:
    """What the import of a checkpoint wrote into the header of its weights."""
    return json.loads(read_header(study.model_file(source, backbone))["origin"])

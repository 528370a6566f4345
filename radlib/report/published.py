"""What the re-created paper reports, what later studies found (with sources), and the accuracies here.

Mei X. et al., "RadImageNet: An Open Radiologic Deep Learning Research Dataset for Effective Transfer
Learning", Radiology: Artificial Intelligence 2022, doi 10.1148/ryai.210315.
"""

import json

import pandas as pd

from radlib.study import Study
from radlib.study.titles import source_title

# Top-1 and top-5 accuracy of the four networks on the radiology corpus (165 classes), in %.
PRETRAINING = pd.DataFrame.from_dict(
    {
        "inception_resnet_v2": (74.0, 94.3),
        "resnet50": (72.3, 94.1),
        "densenet121": (73.1, 96.1),
        "inception_v3": (73.2, 92.7),
    },
    orient="index",
    columns=["RadImageNet as published, 165 classes: top-1, %", "top-5, %"],
)

_FOUND = [
    (
        "Juodelyte et al. 2023, arXiv 2302.08272",
        "RadImageNet minus ImageNet: thyroid −0.021, breast −0.023, knee −0.022, chest +0.001 (ResNet50, "
        "five folds)",
    ),
    (
        "Juodelyte et al. 2024, arXiv 2403.04484",
        "comparable AUC on chest radiographs and CT; ImageNet models lean more on planted confounders",
    ),
    ("Frees et al. 2025, arXiv 2508.17567", "no advantage of radiology pretraining reported"),
    (
        "RadiologyNET, Sci Rep 2025, doi 10.1038/s41598-025-05009-w",
        "1,902,414 images, ten networks, five tasks: similar to ImageNet in general, some advantage in "
        "resource-limited settings",
    ),
]
LATER = pd.DataFrame(_FOUND, columns=["later study", "found"]).set_index("later study")


def pretraining_table(study: Study) -> pd.DataFrame | None:
    """What every network pretrained here had learnt, means over its pretrainings; None where none was.

    Accuracies are of held-out images; *times guessing* is balanced accuracy times the number of classes;
    *loss, last epoch* is the change of the validation loss from the last epoch but one.
    """
    models = [
        study.model_file(source, backbone, replicate).with_suffix(".json")
        for source in study.sources
        for backbone, replicate in study.weights_of(source)
    ]
    records = []
    for path in models:
        if path.is_file():
            loss = pd.read_csv(path.with_suffix(".history.csv"))["val_loss"]
            records.append({**json.loads(path.read_text()), "change": 100 * loss.pct_change().iloc[-1]})
    if not records:
        return None
    table = pd.DataFrame(records)
    table["times"] = table["balanced_accuracy"] * table["n_classes"]
    table["source"] = [source_title(study, source) for source in table["source"]]
    percent = ["top1", "top5", "balanced_accuracy"]
    table[percent] *= 100
    networks = table.groupby(["source", "backbone"], sort=False)
    means = networks[[*percent, "times", "n_images", "epochs", "change"]].mean()
    means.insert(0, "pretrainings", networks.size())
    means = means.round(1).astype({"n_images": int, "epochs": int})
    means["n_images"] = means["n_images"].map("{:,}".format)
    titles = ["top-1, %", "top-5, %", "balanced accuracy, %", "times guessing"]
    means = means.set_axis(["pretrainings", *titles, "all images", "epochs", "loss, last epoch, %"], axis=1)
    return means.dropna(axis=1, how="all")  # of a single epoch there is no change

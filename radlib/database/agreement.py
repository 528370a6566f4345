"""Several readers of one picture: how far they agree, region by region."""

from dataclasses import fields

import numpy as np
import pandas as pd

from radlib.database.annotations import IMAGE
from radlib.seeds import seed_of
from radlib.stats.kappa import UNREAD, Agreement, agreement

_REGION = ["modality", "region"]
COLUMNS = [*_REGION, *(field.name for field in fields(Agreement))]


def agreement_table(readings: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Kappa of every region in which pictures were read twice (see `radlib.stats.kappa.Agreement`).

    Args:
        readings: picture, frame, reader, modality, region, label and patient of each reading.
    """
    rows = []
    for (modality, region), some in readings.groupby(_REGION):
        read = some.assign(label=pd.factorize(some["label"], sort=True)[0])
        ratings = read.pivot(index=IMAGE, columns="reader", values="label")
        if (ratings.notna().sum(axis=1) < 2).all():
            continue
        patients = read.drop_duplicates(IMAGE).set_index(IMAGE)["patient"].reindex(ratings.index)
        codes = ratings.fillna(UNREAD).to_numpy(dtype=int)
        found = agreement(
            codes, np.asarray(patients, str), resamples, seed_of(seed, "kappa", modality, region)
        )
        rows.append({"modality": modality, "region": region, **vars(found)})
    return pd.DataFrame(rows, columns=COLUMNS)

"""What the study can and cannot say, from how it was set up; five limits at most, in fixed words."""

import pandas as pd

from radlib.questions.patients import patients_sentence
from radlib.show.style import of_pair
from radlib.stats.estimate import PATIENTS
from radlib.study import Study
from radlib.study.titles import counted, source_title


def limits(study: Study, overall: pd.DataFrame) -> list[str]:
    """The limits that apply, the gravest first."""
    row = of_pair(overall, tuple(study.compare.headline), "grid_mean").iloc[0]
    said = []
    if row["interval_holds"] == PATIENTS:
        said.append(
            "Intervals cover the variation between test patients alone. Another training, with another seed, "
            "may give another difference: `08_validity` shows how often such intervals cover that of any "
            "training."
        )
    said.append(_pretrainings(study))
    said.append(patients_sentence(study))
    said.append(
        "The mean over tasks is about these tasks, each counting the same, and takes their patients as "
        "different people. Intervals of the setting chosen by validation take the choice as given."
    )
    said.append(
        f"A difference in AUC below {study.compare.equivalence:g} is called too small to matter "
        "(`compare.equivalence`). That is a choice, not a measurement; where results of the same data were "
        "known before it was made, equivalence is exploratory."
    )
    return [text for text in said if text]


def _pretrainings(study: Study) -> str:
    here = [source for source in study.sources if source in study.corpora]
    if not here:
        return "There is one set of weights of each source, so the study speaks of these weights."
    cut = [f"{source_title(study, s)} to {study.corpora[s].max_images:,} images"
           for s in here if study.corpora[s].max_images]  # fmt: skip
    text = (
        "Each source was pretrained once, so the study speaks of these weights, not of the source: "
        f"{counted(study.pretrain.epochs, 'epoch')}"
    )
    return f"{text}, cut down ({'; '.join(cut)})." if cut else f"{text}."

"""What the study cannot say, from how it was set up; for the summary."""

from radlib.questions.patients import patients_sentence
from radlib.stats.estimate import PATIENTS
from radlib.study import Study
from radlib.study.titles import source_title

NO_EXTERNAL = "No task has a set of another hospital, so nothing is known of one."


def limits(study: Study, claim: dict | None) -> list[str]:
    """What the study cannot say, from how it was set up: the limits that apply, the gravest first.

    Args:
        claim: of `radlib.questions.auc.sources.claim_of`.
    """
    trainings = (
        "Intervals cover the variation between test patients alone. Another training, with another seed, may "
        "give another difference: `09_validity` shows how often such intervals cover that of any training."
    )
    probe = (
        "The claim is of a probe, which reads what a frozen network says: where more layers train, the order "
        "of sources may be another (*AUC by source and task*)."
    )
    said = [
        probe if study.claims_a_probe else "",
        trainings if claim and claim["resampled"] == PATIENTS and not study.claims_a_probe else "",
        _pretrainings(study),
        _seen(study),
        patients_sentence(study),
        "The mean over tasks is about these tasks, each counting the same, and takes their patients as "
        f"different people.{_counting(study)}",
        _networks(study),
        "" if any(task.external for task in study.tasks.values()) else NO_EXTERNAL,
    ]
    return [text for text in said if text]


def _pretrainings(study: Study) -> str:
    here = [source for source in study.sources if source in study.corpora]
    if not here:
        return "Published files are one pretraining each, so of them the study speaks of these weights."
    most = {source_title(study, source): study.corpora[source].max_images for source in here}
    cut = "; ".join(f"{title} to {images:,} images" for title, images in most.items() if images)
    networks = [(source, name) for source in here for name in study.backbones_of(source)]
    epochs = [study.pretrain_of(name).epochs for _, name in networks]
    short = f"{_range(epochs)} epoch{'' if max(epochs) == 1 else 's'} of images of {study.pretrain.size} px"
    short += f", cut down ({cut})" if cut else ""
    times = [study.replicates_of(*network) for network in networks]
    if max(times) == 1:
        once = "Each source was pretrained once, so the study speaks of these weights, not of the sources"
        return f"{once}: {short}."
    return (
        f"Each source was pretrained {_range(times)} times, for {short}: other images, more of them, or "
        "longer training may give another difference. Published files are one pretraining each."
    )


def _counting(study: Study) -> str:
    if study.compare.tasks_that_count == "all":
        return ""
    return (
        " Which tasks count was decided on the same test patients, by weights that are compared here; the "
        "mean over all tasks stands beside the claim."
    )


def _networks(study: Study) -> str:
    """Which sources exist in some of the networks alone."""
    few = {
        source_title(study, source): ", ".join(names)
        for source in study.sources
        if (names := study.backbones_of(source)) and len(names) < len(study.backbones)
    }
    said = "; ".join(f"{title}: {names}" for title, names in few.items())
    return (
        f"Of some networks weights were not there, so nothing is known of them ({said} alone)." if few else ""
    )


def _range(numbers: list[int]) -> str:
    """`3`, or `1 to 3`."""
    return " to ".join(str(number) for number in sorted({min(numbers), max(numbers)}))


def _seen(study: Study) -> str:
    """Which weights may know images of a task already (`may_have_seen`); empty without any."""
    seen = {
        source_title(study, name): " and ".join(study.tasks[task].title for task in checkpoint.may_have_seen)
        for name, checkpoint in study.checkpoints.items()
        if checkpoint.may_have_seen
    }
    pairs = "; ".join(f"{title}: {tasks}" for title, tasks in seen.items())
    return (
        f"Some weights may have been trained on images of a task, or chosen by it: {pairs}." if seen else ""
    )

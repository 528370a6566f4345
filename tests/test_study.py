"""Study files: what is refused, and in what words."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml

from radlib.errors import UserError
from radlib.progress import PROGRESS_FILE, progress, work_bar
from radlib.study import load_study
from tests.conftest import REPOSITORY

STUDIES = [REPOSITORY / "params.yaml", *sorted((REPOSITORY / "studies").glob("*.yaml"))]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


TASK = {
    "layout": "table", "path": "data/raw/mine", "title": "Mine", "negative": "no", "positive": "yes",
    "folds": 2,
}  # fmt: skip


MATCHED = {
    "sources": ["radiology", "photographs"], "backbones": ["resnet50"], "tasks": ["covid_ct", "acl_mri"],
    "train": ["frozen"], "pairs": [["radiology", "photographs"]],
}  # fmt: skip


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_study_file_is_valid(path):
    study = load_study(path=path)
    assert all(study.runs_of(task) for task in study.tasks)


def test_params_yaml_is_the_demo():
    assert (REPOSITORY / "params.yaml").read_bytes() == (REPOSITORY / "studies" / "demo.yaml").read_bytes()


def test_weights_to_rank_may_be_as_many_as_one_likes():
    demo, names = REPOSITORY / "studies" / "demo.yaml", [f"weights_{number}" for number in range(20)]
    corpus = load_study(path=demo).corpora["radiology"].model_dump()
    more = {f"corpora.{name}": {**corpus, "title": name} for name in names}
    sources = ["radiology", "photographs", "random", *names]
    assert load_study({"sources": sources, **more}, demo).sources == sources


def test_checkpoint_has_runs_for_its_own_backbone_only():
    study = load_study(path=REPOSITORY / "studies" / "open.yaml")
    assert {r.backbone for r in study.runs_of("breast_us") if r.source == "imagenet"} == {
        "tf_efficientnet_lite0"
    }
    names = [r.name for r in study.runs_of("breast_us")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"transfer.epoch": 3}, "unknown key 'transfer.epoch'; allowed there: settings, epochs"),
        ({"nothing.at.all": 3}, "unknown key 'nothing'; allowed there: name, title"),
        ({"transfer.dropout": 2}, "'transfer.dropout': Input should be less than 1, got 2"),
        (
            {"sources": ["radiology", "moon"]},
            "'sources.1': names 'moon'; allowed: radiology, photographs, random",
        ),
        ({"compare.headline": ["moon", "random"]}, "'compare.headline.0': names 'moon'"),
        ({"transfer.settings": [{"train": "half", "lr": 1}]}, "'transfer.settings.0.train': Input should be"),
        (
            {"transfer.settings": [{"train": "all", "rate": 1}]},
            "transfer.settings.0.rate'; allowed there: train, lr",
        ),
        ({"confounds.settings": [{"lr": 0.01, "backbones": ["vgg"]}]}, "names 'vgg'; allowed"),
        (
            {"tasks.thyroid_us.folds": 0},
            "'tasks.thyroid_us.folds': Input should be greater than or equal to 1",
        ),
        ({"transfer.epochs": {"frozen": 3}}, "'transfer': epochs has no entry for 'top10'"),
        (
            {"transfer.epochs.all": 0},
            "'transfer.epochs.all': Input should be greater than or equal to 1, got 0",
        ),
        ({"transfer.patience": {"all": 0}}, "'transfer.patience.all': Input should be greater than or equal"),
        ({"transfer.patience": {"all": 1.5}}, "'transfer.patience.all': Input should be a valid integer"),
        (
            {"transfer.patience": {"knn": 3}},
            "patience.knn': Input should be 'frozen', 'top10', 'top' or 'all'",
        ),
        ({"transfer.patience": {"top": 3}}, "patience names 'top', of which epochs has no entry"),
        ({"segment.patience": {"all": 3}}, "patience names 'all', of which epochs has no entry"),
        ({"segment.tasks": ["moon"]}, "'segment.tasks.0': names 'moon'; allowed: thyroid_us"),
        ({"segment.tasks": ["acl_mri_same"]}, "'segment.tasks.0': names 'acl_mri_same'; allowed: thyroid"),
        (
            {"segment.replicates": 0},
            "'segment.replicates': Input should be greater than or equal to 1, got 0",
        ),
        (
            {"segment.settings": [{"train": "frozen", "lr": 1, "backbones": ["moon"]}]},
            "'segment.settings.0.backbones.0': names 'moon'; allowed: inception",
        ),
        ({"segment.settings": []}, "'segment': tasks names tasks, but settings names no setting"),
        ({"segment.settings": [{"train": "top10", "lr": 1}]}, "'segment.settings.0.train': Input should be"),
        ({"tasks.thyroid_us": {**TASK, "train": ["half"]}}, "'tasks.thyroid_us.train.0': Input should be"),
        (
            {"tasks.thyroid_us": {**TASK, "variant_of": "moon"}},
            "variant_of': names 'moon'; allowed: breast_us",
        ),
        ({"tasks.thyroid_us": {**TASK, "variant_of": "breast_us"}}, "so 'resize' must differ"),
        (
            {"tasks.thyroid_us": {**TASK, "variant_of": "breast_us", "resize": "letterbox"}},
            "is a variant of breast_us, so its 'layout' must be the same",
        ),
        (
            {"corpora.photographs.title": "Simulated radiology"},
            "'radiology' and 'photographs' have the same title, 'Simulated radiology', by which",
        ),
        (
            {"corpora.radiology.title": "photographs", "corpora.photographs.title": ""},
            "'radiology' and 'photographs' have the same title, 'photographs', by which",
        ),
        ({"data": {"resize": "crop"}}, "'data.resize': Input should be 'stretch' or 'letterbox'"),
        (
            {"name": "My Study"},
            "overrides: 'name': 'My Study' is no usable name: lower case letters, digits and _ only",
        ),
        ({"tasks.breast_us.negative": "malignant"}, "negative and positive are both 'malignant'; name two"),
        ({"backbones": {"resnet50": 96}}, "Input should be keys and values, got 96"),
        ({"compare.pairs": ["radiology"]}, "'compare.pairs.0': Input should be a list, got 'radiology'"),
        (
            {"transfer": {"epochs": {"all": 5}}},
            "a section is replaced whole, so write one key for each value",
        ),
        (
            {"tasks.thyroid_us": {**TASK, "layout": "folders", "path": "~/images"}},
            "~/images: ~ and $ stay as",
        ),
        ({"tasks.thyroid_us": {**TASK, "layout": "folders", "path": "$HOME/x"}}, "$HOME/x: ~ and $ stay as"),
        ({"name": "raw"}, "'name': 'raw' is where downloads lie"),
        ({"transfer.seeds": [0, 0]}, "'transfer.seeds': holds '0' twice; once is enough"),
        ({"sources": ["radiology", "random", "radiology"]}, "'sources': holds 'radiology' twice"),
        (
            {"compare.pairs": [["radiology", "random"]] * 2},
            "'compare.pairs': holds [radiology, random] twice",
        ),
        ({"compare.headline": ["random", "random"]}, "a pair sets random against itself"),
        (
            {"corpora.radiology.backbones": ["resnet50"], "corpora.photographs.backbones": ["densenet121"]},
            "radiology and photographs, have no setting of 'grid_mean' (compare.claim_by) in common",
        ),
        (
            {"transfer.settings": [{"train": "all", "lr": 1}, {"train": "all", "lr": 1.0}]},
            "'transfer': settings hold 'all, lr 1' twice",
        ),
        (
            {"corpora.radiology.backbones": ["resnet50"]},
            "'radiology' and 'photographs' have none of the backbones densenet121 in common; name one",
        ),
        (
            {"corpora.photographs.backbones": ["resnet50"], "controls.task": None},
            "'photographs' and 'random' have none of the backbones densenet121 in common",
        ),
        (
            {"label_efficiency.lr": 0.5},
            "asks for 'frozen' with lr 0.5, which is no setting of task 'covid_ct' in transfer; take one",
        ),
        (
            {"label_efficiency.repeats": 3},
            "repeats is 3, too few for an interval over draws: task 'covid_ct' has 1 pair(s) of fold and "
            "backbone; take at least 5",
        ),
        (
            {"matched_labels": {**MATCHED, "train": ["top10", "all"]}},
            "asks for top10, all on resnet50, of which covid_ct, acl_mri has no setting of transfer; name a",
        ),
        (
            {"matched_labels": {**MATCHED, "tasks": ["meniscus_mri"]}, "tasks.meniscus_mri.train": ["all"]},
            "asks for frozen on resnet50, of which meniscus_mri has no setting of transfer",
        ),
        (
            {"matched_labels": MATCHED, "corpora.radiology.backbones": ["densenet121"]},
            "the first pair of matched_labels.pairs, radiology and photographs, has no setting in common",
        ),
        ({"tasks.thyroid_us.negative": False}, "got False, which YAML takes for no text: write it in quotes"),
        (
            {"tasks.thyroid_us.options": None},
            "'tasks.thyroid_us.options': Input should be keys and values, but",
        ),
        (["transfer.seeds", [0]], "overrides is ['transfer.seeds', [0]]; write keys and values, such as"),
        ("transfer.seeds=[0]", "overrides is 'transfer.seeds=[0]'; write keys and values"),
        ({("transfer", "seeds"): [1]}, "overrides: ('transfer', 'seeds') is no key; write it as text"),
    ],
)
def test_impossible_values_are_one_sentence(overrides, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        load_study(overrides, REPOSITORY / "studies" / "demo.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: demo\ntasks: [", "is not valid YAML at line 2 .*mend it there"),
        ("", "holds no study"),
        ("name: x\nmoon: 1", "unknown key|Field required"),
        (
            "title: Schilddrüse".encode("latin-1"),
            r"is not saved as UTF-8 \(line 1\); save it again",
        ),
        ("name: x\ntitle: y".encode("utf-16"), r"is not saved as UTF-8 \(line 1\)"),
        ("name: x".encode("utf-16-le"), "is not valid YAML .*#x0000.*mend it there"),
        (b"name: x\ntitle: a\0b", "is not valid YAML .*#x0000.*mend it there"),
        ("name: x\ntasks: {}\ntitle: y\ntasks: {}", "'tasks' stands twice, at lines 2 and 4.*join the two"),
        ("name: x\nseed: 0123", "line 2 has 0123, which YAML reads as 83; write numbers without a leading"),
        ("labels: {007: ill}", "line 1 has 007, which YAML reads as 7.*what is text in quotes"),
        ("patient: 1:30", "line 1 has 1:30, which YAML reads as 90"),
        ("tasks:\n  a: {folds: 2, title: x, folds: 3}", "'folds' stands twice, at lines 2 and 2"),
    ],
)
def test_broken_study_file_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=sentence) as caught:
        load_study(path=tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_unknown_key_names_its_neighbours(tmp_path):
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["transfer"]["epoch"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(UserError, match="unknown key 'transfer.epoch'; allowed there: settings, epochs"):
        load_study(path=tmp_path / "params.yaml")


def test_missing_study_file_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no study file"):
        load_study(path=tmp_path / "none.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no params.yaml in .*type: make study STUDY=demo"):
        load_study()


def test_an_override_may_add_an_option_of_the_data():
    study = load_study({"tasks.breast_us.options.ignore": ["normal"]}, REPOSITORY / "studies" / "demo.yaml")
    assert study.tasks["breast_us"].options["ignore"] == ["normal"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_source_notebook_is_stripped_short_and_parametrised(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert all(not c.outputs and c.execution_count is None for c in code)
    assert all(len(c.source.splitlines()) <= 25 for c in code)
    tagged = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    values: dict = {}
    exec(tagged[0].source, {}, values)
    assert values.pop("save") is False
    if path.stem == "00_database":  # reads no study: empty paths are its demonstration
        assert not any(values[name] for name in ("exams", "annotations", "salt_file", "taxonomy"))
        return
    assert values.pop("overrides") == {}
    assert all(value is None for value in values.values()), "the first of whichever study runs"


def test_repository_names_no_machine():
    """Committed text holds neither absolute home paths nor package index addresses."""
    for path in [REPOSITORY / "requirements.lock", *REPOSITORY.glob("studies/*.yaml"), *NOTEBOOKS]:
        text = Path(path).read_text()
        assert "index-url" not in text and "/home/" not in text and "/root/" not in text


def test_a_task_may_ask_for_a_larger_input_but_not_a_smaller_one(small_study):
    backbone = next(iter(small_study.backbones))
    size = small_study.backbones[backbone].size
    assert small_study.input_size("breast_us", backbone) == size
    for wanted, expected in ((size + 50, size + 50), (size - 16, size), (None, size)):
        task = small_study.tasks["breast_us"].model_copy(update={"input": wanted})
        study = small_study.model_copy(update={"tasks": {"breast_us": task}})
        assert study.input_size("breast_us", backbone) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_file_of_a_windows_editor_is_read(tmp_path, encoding):
    text = (REPOSITORY / "studies" / "own.yaml").read_text().replace("My data set", "Schilddrüse")
    (tmp_path / "params.yaml").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert load_study(path=tmp_path / "params.yaml").title == "Schilddrüse"


def test_overrides_reach_what_a_short_file_leaves_out():
    own = REPOSITORY / "studies" / "own.yaml"
    changed = load_study(
        {"transfer.dropout": 0.2, "compute.workers": 1, "confounds.shared.channels": "RGB"}, own
    )
    assert (changed.transfer.dropout, changed.compute.workers) == (0.2, 1)
    assert changed.confounds.shared.channels == "RGB" and load_study(None, own) == load_study(path=own)


def test_a_notebook_begins_with_what_the_study_has(small_study):
    assert small_study.pick(None, small_study.tasks, "task") == "breast_us"
    with pytest.raises(UserError, match="no task 'moon' in study 'smoke'; there are: breast_us, haemorrhage"):
        small_study.pick("moon", small_study.tasks, "task")
    with pytest.raises(UserError, match="study 'smoke' has no corpus, so there is nothing to do here"):
        small_study.pick(None, [], "corpus")


def test_a_bar_whose_total_was_too_low_ends_full(tmp_path, monkeypatch):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "progress"))
    with work_bar(9.5, "more than expected") as bar:
        bar.update(12.25)
        assert "100%" in str(bar) and "10/10" in str(bar)


def test_no_time_left_is_told_from_the_slow_start(tmp_path, monkeypatch):
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "bars"))
    with progress(total=1000, description="x") as bar:
        bar.start_t -= 10  # seconds that the files took
        bar.update(1)
        assert "<?" in str(bar)
        bar.update(499)
        assert "<00:10" in str(bar)

"""Which commit holds the plan: the last that changed it, whatever words were edited since."""

import os
import subprocess

import pytest

from radlib.report.origin import plan_of, plan_sentence
from radlib.study import load_study
from tests.conftest import REPOSITORY


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "studies").mkdir()
    text = (REPOSITORY / "studies/smoke.yaml").read_text()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path, text


def commit(folder, text, day):
    for path in ("studies/smoke.yaml", "params.yaml"):
        (folder / path).write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "add", "."], cwd=folder, check=True)
    date = os.environ | {"GIT_COMMITTER_DATE": f"{day}T12:00:00"}
    subprocess.run([*git, "commit", "-qm", day], cwd=folder, check=True, env=date)


def test_the_plan_is_dated_by_the_claim_and_by_every_parameter(folder):
    root, text = folder
    commit(root, text, "2026-01-01")
    planned = text.replace("resamples: 2000", "resamples: 2001")
    commit(root, planned, "2026-01-02")
    assert "2026-01-02" in plan_sentence(load_study(path=root / "params.yaml"))
    commit(root, planned.replace("replicates: 2", "replicates: 3"), "2026-01-03")
    commit(root, planned.replace("title: Breast US", "title: Breast"), "2026-01-04")
    later = planned.replace("title: Breast US", "title: Breast")
    commit(root, f"{later}# said better\n", "2026-01-05")
    study = load_study(path=root / "params.yaml")
    assert [one[-10:] for one in plan_of(study)] == ["2026-01-02", "2026-01-04"]
    assert "before" not in plan_sentence(study) and "History" not in plan_sentence(study)
    known = study.model_copy(update={"history": ["an earlier result"]})
    assert "after the results under *History of this result*" in plan_sentence(known)
    (root / "params.yaml").write_text(text)
    assert plan_of(study) == ("", "") and plan_sentence(study).startswith("No commit holds this plan")


def test_a_plan_that_a_merge_brought_in_is_dated_by_the_commit_that_made_it(folder):
    root, text = folder
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]

    def call(*arguments, day="2026-02-01"):
        date = os.environ | {"GIT_COMMITTER_DATE": f"{day}T12:00:00"}
        subprocess.run([*git, *arguments], cwd=root, check=True, env=date, capture_output=True)

    commit(root, text, "2026-01-01")
    call("checkout", "-q", "-b", "side")
    planned = text.replace("resamples: 2000", "resamples: 2001")
    commit(root, planned, "2026-01-02")
    call("checkout", "-q", "-")
    (root / "other").write_text("x")
    call("add", "other")
    call("commit", "-qm", "other", day="2026-01-03")
    call("merge", "-q", "--no-ff", "-m", "merge", "side", day="2026-01-04")
    assert [one[-10:] for one in plan_of(load_study(path=root / "params.yaml"))] == ["2026-01-02"] * 2

"""Weights by their published name: fetched once, held to their digest, and each refusal in one sentence."""

import json
import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import _http
from safetensors.torch import save_file

from radlib.errors import UserError
from radlib.networks import backbones
from radlib.networks.checkpoints import import_checkpoint
from radlib.networks.hub import located, weights_file
from radlib.networks.weights import load_weights
from radlib.run.check_data import check_data
from radlib.store import write_json
from radlib.study.datasets import Checkpoint
from tests.conftest import LITE0, REPOSITORY, origin_of, with_lite0
from tests.hub_server import COMMIT, hub_server

SCALE = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
NAMED = {"hub": "lab/weights", "files": {LITE0: "sub/net.safetensors"}, **SCALE}


@pytest.fixture
def small_study(small_study):
    return with_lite0(small_study)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The server in place of huggingface.co, and a store of its own; a lost connection is not tried again."""
    with hub_server(tmp_path / "hub") as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "store"))
        monkeypatch.setattr(_http.time, "sleep", lambda _: None)
        yield server


def study_with(study, **entry):
    return study.model_copy(update={"checkpoints": {"published": Checkpoint(**entry)}})


def published(hub, seed=0):
    """Weights of a network of ten classes at lab/weights."""
    torch.manual_seed(seed)
    state = backbones.create(LITE0, classes=10).state_dict()
    save_file(state, hub.put("lab/weights", "sub/net.safetensors"))
    return state


def test_a_file_is_fetched_once_and_read_without_the_network(hub, small_study):
    state, study = published(hub), study_with(small_study, **NAMED)
    import_checkpoint(study, "published")
    asked = list(hub.asked)
    assert asked == [
        "HEAD lab/weights/resolve/main/sub/net.safetensors",
        "GET cdn/lab/weights/sub/net.safetensors",
    ]
    hub.stop()
    import_checkpoint(study, "published")
    assert hub.asked == asked
    found = load_weights(study, "published", LITE0).state
    assert all(torch.equal(found[key], state[key]) for key in found)
    origin = origin_of(study, LITE0)
    record = json.loads(study.fetched_record("published").read_text())[LITE0]
    assert record == {key: origin[key] for key in ("address", "commit", "sha256", "bytes")}
    assert record["address"] == ["lab/weights", "main", "sub/net.safetensors"] and record["commit"] == COMMIT
    assert origin["dropped"] == {"classifier": 2} and origin["names"] == "timm's"


def test_a_tag_is_fetched_by_its_name_unless_the_folder_holds_it(hub, small_study):
    state = backbones.create(LITE0, classes=10).state_dict()
    save_file(state, hub.put(f"timm/{LITE0}.in1k", "model.safetensors"))
    study = study_with(small_study, tags={LITE0: "in1k"}, path="data/raw/weights")
    fetched, _ = weights_file(study, "published", LITE0)
    assert fetched.is_relative_to(constants.HF_HUB_CACHE)
    own = study.checkpoint_file("published", LITE0)
    own.parent.mkdir(parents=True)
    own.write_bytes(fetched.read_bytes())
    assert weights_file(study, "published", LITE0)[0] == own
    own.write_bytes(b"other weights")
    with pytest.raises(UserError, match="these are other weights; delete the file to fetch it again"):
        weights_file(study, "published", LITE0)


def test_other_bytes_than_recorded_or_stated_are_refused(hub, small_study):
    published(hub)
    study = study_with(small_study, **NAMED)
    path, facts = weights_file(study, "published", LITE0)
    stated = study_with(small_study, **NAMED, sha256={LITE0: facts["sha256"]})
    assert weights_file(stated, "published", LITE0)[1] == facts
    wrong = study_with(small_study, **NAMED, sha256={LITE0: "ab" * 32})
    with pytest.raises(UserError, match=r"and checkpoints.published.sha256 says abababababababab\.\.\."):
        weights_file(wrong, "published", LITE0)
    path.resolve().unlink()
    published(hub, seed=1)  # the publisher, or somebody on the way, has other bytes now
    with pytest.raises(UserError, match=r"and .*weights/published.json says .*: these are other weights"):
        weights_file(study, "published", LITE0)


def test_the_recorded_commit_is_fetched_whatever_main_has_become(hub, small_study):
    published(hub)
    study = study_with(small_study, **NAMED)
    path, _ = weights_file(study, "published", LITE0)
    path.resolve().unlink()
    path.unlink()
    weights_file(study, "published", LITE0)
    assert hub.asked[-2] == f"HEAD lab/weights/resolve/{COMMIT}/sub/net.safetensors"


REFUSED = {
    "gated": ({"hub": "lab/gated"}, r"accept its terms on http.*/lab/gated, then type hf auth login"),
    "unknown": ({"hub": "lab/none"}, "there is no such repository, or it is private: mend checkpoints.publi"),
    "revision": ({"revision": "v9"}, r"\(revision v9\) cannot be fetched; it has no revision 'v9'"),
    "file": ({"files": {LITE0: "none.pt"}}, "none.pt of lab/weights .* it has no such file: name one of"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_repository_refuses_is_one_sentence(kind, hub, small_study):
    published(hub)
    hub.put("lab/gated", ".gated").touch()
    entry, sentence = REFUSED[kind]
    study = study_with(small_study, **{**NAMED, **entry})
    with pytest.raises(UserError, match=sentence) as caught:
        weights_file(study, "published", LITE0)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("checkpoints.published: ")
    assert not study.fetched_record("published").exists()
    (checked,) = (one for one in check_data(study) if one.name == "published")
    assert checked.found == "0 of 1" and sentence.split(".*")[-1].replace("\\", "") in checked.errors[0]


def test_no_network_is_one_sentence(hub, small_study, monkeypatch):
    hub.stop()
    study = study_with(small_study, **NAMED)
    with pytest.raises(UserError, match="127.0.0.1:.* was not reached: connect once, set HF_ENDPOINT"):
        weights_file(study, "published", LITE0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set, so http.* was not reached"):
        weights_file(study, "published", LITE0)


def test_check_data_says_what_would_be_fetched_and_fetches_nothing(hub, small_study):
    published(hub)
    study = study_with(small_study, **NAMED)
    (checked,) = (one for one in check_data(study) if one.name == "published")
    size = (hub.folder / "lab/weights/sub/net.safetensors").stat().st_size / 1e6
    assert checked.errors == [] and checked.found == "0 of 1"
    assert (
        f"make study fetches sub/net.safetensors of lab/weights (revision main), {size:.1f} MB"
        in (checked.warnings[0])
    )
    assert not any("GET" in one for one in hub.asked)


def test_the_places_of_huggingface_hub_are_honoured(tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE, which the library reads when it is imported."""
    code = (
        "from radlib.study import load_study; from radlib.networks.hub import weights_file; "
        "from radlib.study.datasets import Checkpoint; from pathlib import Path; import sys; "
        f"study = load_study(path=Path({str(REPOSITORY / 'studies/smoke.yaml')!r})); "
        f"entry = Checkpoint(**{NAMED!r}); "
        "study = study.model_copy(update={'root': Path(sys.argv[1]), 'checkpoints': {'published': entry}}); "
        f"print(weights_file(study, 'published', {LITE0!r})[0])"
    )
    with hub_server(tmp_path / "hub") as server:
        published(server)
        for more in ({"HF_ENDPOINT": server.url}, {"HF_HUB_OFFLINE": "1"}):
            environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), **more}
            done = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True
            )
            assert done.stdout.startswith(str(tmp_path / "home/hub/models--lab--weights")), done.stderr


IMPOSSIBLE = [
    ({**NAMED, "path": "data"}, "give either path or hub"),
    ({"files": {LITE0: "a.pt"}, **SCALE}, "give either path or hub"),
    ({**NAMED, "hub": "weights"}, "write it as owner/name"),
    ({**NAMED, "files": {LITE0: "../a.pt"}}, "no file within a repository"),
    ({"tags": {LITE0: "in1k"}, "hub": "lab/weights"}, "leave hub out"),
    ({"tags": {LITE0: "in1k"}, "revision": "v1"}, "or leave revision out"),
    ({**NAMED, "sha256": {LITE0: "12"}}, "must be 64 digits"),
    ({**NAMED, "sha256": {"vgg": "ab" * 32}}, f"sha256 names 'vgg'; allowed: {LITE0}"),
    ({**NAMED, "licence": {"model": "MIT"}}, "'model' is no link of a licence; allowed: code, weights, data"),
]


@pytest.mark.parametrize(("entry", "sentence"), IMPOSSIBLE)
def test_impossible_addresses_are_one_sentence(entry, sentence):
    with pytest.raises(ValueError, match=sentence):
        Checkpoint(**entry)


def test_a_record_with_the_marks_of_a_merge_is_one_sentence(small_study):
    checkpoint = Checkpoint(tags={LITE0: "in1k"})
    study = small_study.model_copy(update={"checkpoints": {"published": checkpoint}})
    record = study.fetched_record("published")
    record.parent.mkdir(parents=True)
    record.write_text("<<<<<<< HEAD\n{}\n")
    with pytest.raises(UserError, match="published.json cannot be read .*; restore it, or delete it"):
        located(study, "published", LITE0)


def test_what_others_recorded_during_the_fetching_stays_recorded(small_study, tmp_path, monkeypatch):
    study = study_with(small_study, tags={LITE0: "in1k"})
    record, file = study.fetched_record("published"), tmp_path / "snapshots" / COMMIT / "model.safetensors"

    def fetched(*given) -> str:
        write_json({"resnet50": {"sha256": "ab"}}, record)
        return str(file)

    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    monkeypatch.setattr("radlib.networks.hub._asked", fetched)
    _, facts = weights_file(study, "published", LITE0)
    assert json.loads(record.read_text()) == {"resnet50": {"sha256": "ab"}, LITE0: facts}


def test_a_licence_is_a_chain():
    chain = {"code": "MIT", "weights": "CC BY 4.0", "data": "RadImageNet, on request"}
    said = Checkpoint(**NAMED, licence=chain).licence
    assert said == "code: MIT; weights: CC BY 4.0; data: RadImageNet, on request"

"""Two real raylets on loopback: the same tables, and failures in one sentence.

What takes longer (machines lost in the middle of a grid or of a pretraining) is shown by
`python -m benchmarks.cluster`.
"""

import socket
import sys

import pandas as pd
import pytest

from radlib.data.images import open_packed
from radlib.errors import UserError
from radlib.machines import cluster
from radlib.networks.weights import Preprocessing, load_weights, save_weights
from radlib.study.training import Compute
from radlib.training import transfer
from radlib.training.pretrain import pretrain
from radlib.training.transfer import TransferGroup
from tests.conftest import SMALL, two_classes, write_packed
from tests.test_transfer import TABLES, TASK, without_times

ON_RAY = Compute(backend="ray")
OPTIONAL = "Ray is an optional extra: pip install -e '.[cluster]'"


def test_cluster_that_does_not_answer_is_one_sentence():
    """Before the cluster below is started: a process has one cluster at a time."""
    pytest.importorskip("ray", reason=OPTIONAL)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(UserError, match=f"no Ray cluster answers at compute.address '{address}'"):
        cluster.connect(Compute(backend="ray", address=address))


@pytest.fixture(scope="module")
def two_machines():
    ray = pytest.importorskip("ray", reason=OPTIONAL)
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=machine)
    started.add_node(**machine)
    ray.init(started.address, log_to_driver=False, logging_level="ERROR")
    yield started
    ray.shutdown()
    started.shutdown()


def studies(small_study, *names: str):
    """The same study in several folders, on Ray in all but the first."""
    for name in names:
        options = small_study.compute if name == names[0] else ON_RAY
        changes = {"root": small_study.root / name, "sources": ["radiology", "random"], "compute": options}
        study = small_study.model_copy(update=changes)
        write_packed(study.dataset_dir(TASK), *two_classes(40, 32, folds=2))
        weights = load_weights(study.model_copy(update={"seed": 1}), "random", SMALL)
        save_weights(study.model_file("radiology", SMALL), weights.state, Preprocessing())
        yield study


@pytest.mark.cluster
def test_tables_are_those_of_the_local_backend(two_machines, small_study):
    here, there = studies(small_study, "here", "there")
    alone, found = (transfer.transfer(study, TASK) for study in (here, there))
    assert found.computed == len(found.runs) == 12
    for name in TABLES:
        pd.testing.assert_frame_equal(
            without_times(getattr(found, name)), without_times(getattr(alone, name)), check_exact=True
        )
    files = sorted((there.store_dir / "runs").rglob("*.parquet"))
    files[0].unlink()
    files[1].write_bytes(b"not a run")
    again = transfer.transfer(there, TASK)
    assert (again.computed, again.reused) == (2, 10)
    pd.testing.assert_frame_equal(again.predictions, found.predictions)


@pytest.mark.cluster
def test_failure_on_another_machine_is_one_sentence(two_machines, small_study):
    _, there = studies(small_study, "here", "there")
    there.model_file("radiology", SMALL).unlink()
    with pytest.raises(UserError, match="^no weights of source 'radiology' for test_efficientnet at "):
        transfer.transfer(there, TASK)


def test_without_ray_one_sentence_says_what_to_install(small_study, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="Ray is not installed.*pip install -e '.\\[cluster\\]'"):
        cluster.connect(ON_RAY)


def test_more_processes_than_a_batch_can_be_shared_by(small_study):
    write_packed(small_study.dataset_dir("radiology"), *two_classes(40, 32, folds=1))
    study = small_study.model_copy(update={"compute": Compute(backend="ray", together=17)})
    with pytest.raises(UserError, match="17 processes cannot share batches of 32 images; at most 16"):
        pretrain(study, "radiology")


def test_address_of_a_client_is_refused():
    with pytest.raises(ValueError, match="start the study on a machine of the cluster"):
        Compute(address="ray://head:10001")


def test_nothing_of_compute_enters_the_digest_of_a_run(small_study):
    here, there = studies(small_study, "here", "there")
    run, digests = here.runs_of(TASK)[0], set()
    for study in (here, there):
        packed, weights = open_packed(study.dataset_dir(TASK)), load_weights(study, run.source, SMALL)
        digests.add(TransferGroup(study, TASK, packed, weights, lambda done: None).digest(run))
    assert len(digests) == 1

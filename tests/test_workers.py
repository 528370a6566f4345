"""Several processes: the same results, every failure passed on, nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from radlib.errors import UserError
from radlib.machines import cluster, workers
from radlib.study.training import Compute
from radlib.training import transfer
from tests.conftest import REPOSITORY, SMALL, two_classes, write_packed
from tests.test_transfer import TABLES, TASK, without_times


def square(piece: int, advance) -> tuple[int, int, int]:
    advance(1)
    print(f"piece {piece}.", end=" ")
    time.sleep(0.2)
    return piece**2, os.getpid(), torch.get_num_threads()


def fails(piece: int, advance) -> int:
    if piece == 0:
        raise UserError("the first piece is bad; mend it")
    for _ in range(600):
        advance(1)
        time.sleep(0.05)
    return piece


def is_killed(piece: int, advance) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def waits(folder: str, advance) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def test_results_in_order_from_single_threaded_processes(capsys):
    found = workers.work(square, range(6), 2, 6, "squares")
    assert [value for value, _, _ in found] == [0, 1, 4, 9, 16, 25]
    processes = {process for _, process, _ in found}
    assert len(processes) == 2 and os.getpid() not in processes
    assert {threads for _, _, threads in found} == {1}
    assert sorted(capsys.readouterr().out.split(". ")) == ["", *(f"piece {i}" for i in range(6))]


def blas_threads(piece: int, advance) -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_numpy_has_one_thread_as_pytorch_has():
    with threadpool_limits(2, "blas"):
        assert blas_threads(0, None) == {2}
        assert workers.work(blas_threads, range(2), 1, 2, "threads") == [{1}, {1}]
        assert blas_threads(0, None) == {2}
        cluster.one_thread()
        assert blas_threads(0, None) == {1}


def test_one_worker_works_here():
    before = torch.get_num_threads()
    found = workers.work(square, range(2), 1, 2, "squares")
    assert {process for _, process, _ in found} == {os.getpid()}
    # Beside a graphics card, one process has all cores to gather what the card is given.
    assert {threads for _, _, threads in found} == {before if torch.cuda.is_available() else 1}
    assert torch.get_num_threads() == before


def test_failure_is_passed_on_and_stops_the_others():
    start = time.monotonic()
    with pytest.raises(UserError, match="the first piece is bad; mend it"):
        workers.work(fails, range(4), 2, 4, "failing")
    assert time.monotonic() - start < 25
    assert not alive(waiting=3)


def test_killed_worker_is_one_sentence():
    with pytest.raises(UserError, match="ended from outside.*compute.workers in params.yaml"):
        workers.work(is_killed, range(3), 2, 3, "killed")


def test_workers_end_with_their_parent(tmp_path):
    script = "import sys; from radlib.machines.workers import work; from tests.test_workers import waits; "
    script += "work(waits, 2 * sys.argv[1:], 2, 2, 'waiting')"
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY)
    while len(found := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert parent.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(map(runs, found)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(runs, found))


def runs(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def alive(waiting: float) -> list[psutil.Process]:
    """Worker processes of this one that are still there after a while (the fork server itself stays)."""
    time.sleep(waiting)
    servers = psutil.Process().children()
    return [p for server in servers for p in server.children() if p.status() != psutil.STATUS_ZOMBIE]


def test_count_is_what_was_asked_but_no_more_than_there_is_to_do():
    assert workers.count(3, 8) == 3
    assert workers.count(8, 3) == 3
    assert workers.count(None, 1) == 1
    assert 1 <= workers.count(None, 10_000) <= os.cpu_count()


def test_two_workers_give_the_tables_of_one(small_study):
    study = small_study.model_copy(update={"sources": ["random"], "backbones": small_study.backbones})
    write_packed(study.dataset_dir(TASK), *two_classes(40, 32, folds=2))
    assert list(study.backbones) == [SMALL]
    alone = transfer.transfer(study, TASK)
    other = study.model_copy(update={"root": study.root / "other", "compute": Compute(workers=2)})
    write_packed(other.dataset_dir(TASK), *two_classes(40, 32, folds=2))
    together = transfer.transfer(other, TASK)
    for name in TABLES:
        pd.testing.assert_frame_equal(
            without_times(getattr(alone, name)), without_times(getattr(together, name)), check_exact=True
        )

"""Independent pieces of work on a Ray cluster (`compute: {backend: ray}` in params.yaml).

Every machine sees the repository's folder under the same path, and whoever computes a result writes it to the
store. A piece whose machine was lost starts again and finds there what was finished.
"""

import contextlib
import io
import logging
import math
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from radlib import compute
from radlib.errors import UserError
from radlib.machines.workers import Advance
from radlib.progress import WHOLE, progress
from radlib.study.training import Compute


def connect(options: Compute):
    """The `ray` module, connected to the cluster that `options` name, or to a new one on this machine.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
        import ray.train.torch  # noqa: F401
        import ray.util.queue  # noqa: F401
    except ImportError as exc:
        raise UserError(
            f"compute.backend is ray, but Ray is not installed ({exc}); pip install -e '.[cluster]', or say "
            "backend: local in params.yaml"
        ) from exc
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_task_oom_retries", str(options.retries))  # by default for ever
        try:
            _knock(options.address)
            ray.init(options.address, log_to_driver=False, logging_level=logging.ERROR)
        except OSError as exc:
            raise UserError(
                f"no Ray cluster answers at compute.address {options.address!r}; start one there by "
                "ray start --head, or leave the address out to work on this machine alone"
            ) from exc
    return ray


def _knock(address: str | None) -> None:
    """Ray itself waits for more than a minute where nobody answers, and then ends the process."""
    if address not in (None, "auto"):
        host, port = address.split(":")
        socket.create_connection((host, int(port)), timeout=10).close()


def work_on_cluster(
    function: Callable[[Any, Advance], Any],
    pieces: Sequence[Any],
    options: Compute,
    total: float,
    description: str,
    folder: Path,
) -> list[Any]:
    """`[function(piece, advance) for piece in pieces]`, as many at a time as there are processors or GPUs.

    Args:
        function: of a module; must go on from what it left in `folder` when it is called again.
        pieces: best with the longest first.
        total: what all calls of `advance` add up to.
        folder: where `function` writes; every machine must see it.
    Raises:
        UserError: a piece lost its machine more than `options.retries` times, a machine does not see
            `folder`, or the cluster's machines compute differently. Whatever `function` raises is passed on.
            The other pieces are stopped.
    """
    ray = connect(options)
    folder.mkdir(parents=True, exist_ok=True)
    queue = ray.util.queue.Queue(actor_options={"num_cpus": 0})
    task = ray.remote(num_cpus=1, num_gpus=gpus_each(ray, options), max_retries=options.retries)(_one)
    with (
        tempfile.TemporaryDirectory(prefix=".ray-", dir=folder) as seen,
        progress(total=math.ceil(total), description=description, unit="img", bar_format=WHOLE) as bar,
    ):
        running = [task.remote(function, piece, Path(seen), queue) for piece in pieces]
        try:
            return _gathered(ray, running, queue, bar)
        except ray.exceptions.RayTaskError as exc:
            raise (exc.cause if isinstance(exc.cause, UserError) else exc) from None
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError,
                ray.exceptions.ObjectLostError, ray.exceptions.OutOfMemoryError) as exc:  # fmt: skip
            raise UserError(
                f"the machine of one piece of work was lost {options.retries + 1} times "
                f"({type(exc).__name__}), most often for want of memory; give each piece more (compute.gpus, "
                "or fewer processors by ray start --num-cpus) and start again: finished work is kept"
            ) from exc
        finally:
            for one in running:
                ray.cancel(one, force=True)
            queue.shutdown()


def _gathered(ray, running: list, queue, bar) -> list[Any]:
    """The results in the order of the pieces; the first failure ends the waiting."""
    waiting, kinds = list(running), set()
    while waiting:
        done, waiting = ray.wait(waiting, timeout=0.5)
        for one in done:
            _, said, kind = ray.get(one)
            print(said, end="")
            kinds.add(kind)
        if len(kinds) > 1:
            raise UserError(
                f"the cluster's machines compute differently ({', '.join(sorted(kinds))}), and a table would "
                "mix them; leave out the odd ones, or ask for GPUs by compute.gpus: finished work is kept"
            )
        while not queue.empty():
            bar.update(min(queue.get(), bar.total - bar.n))
    return [ray.get(one)[0] for one in running]


def gpus_each(ray, options: Compute) -> float:
    """Of a GPU, for one piece of work: as asked, else a whole one where the cluster has any."""
    if options.gpus is None:
        return float(ray.cluster_resources().get("GPU", 0) > 0)
    return options.gpus


def _one(function, piece, seen: Path, queue) -> tuple[Any, str, str]:
    """In a task: the result, what was printed, and the kind of the device."""
    one_thread()
    check_seen(seen)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        result = function(piece, queue.put)
    return result, said.getvalue(), f"{compute.device().type} in {compute.precision()}"


def check_seen(folder: Path) -> None:
    """Refuse, with a UserError, a machine that does not see a folder made just now by another one."""
    if not folder.is_dir():
        raise UserError(
            f"a machine of the cluster does not see {folder.parent} as the others do; put the repository's "
            "folder on a disk that all share, under the same path"
        )


def one_thread() -> None:
    """As in a local worker process, so that sums are taken in the same order."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)

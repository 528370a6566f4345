"""Work on a Ray cluster (`compute: {backend: ray}` in params.yaml).

Every machine sees the repository's folder under the same path, and whoever computes a result writes it to the
store. Work whose machine was lost starts again and finds there what was finished.
"""

import contextlib
import io
import logging
import math
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from radlib import compute
from radlib.errors import UserError
from radlib.machines.team import Team
from radlib.machines.workers import Advance, telling
from radlib.progress import WHOLE, progress
from radlib.study.training import Compute


def connect(options: Compute):
    """The `ray` module, connected to the cluster that `options` name, or to a new one on this machine.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
        import ray.train.torch
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
            `folder`, or the cluster's machines compute differently; or as `function` raises. The other pieces
            are stopped.
    """
    ray = connect(options)
    gpus = (ray.cluster_resources().get("GPU", 0) > 0) if options.gpus is None else options.gpus
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=options.retries)(_take_part)
    with _watched(ray, total, description, folder) as (seen, queue, bar):
        running = [task.remote(function, piece, seen, queue) for piece in pieces]
        return _gathered(ray, running, queue, bar, options)


def together(
    function: Callable[[Any, Advance, Team], Any],
    pieces: Sequence[Any],
    options: Compute,
    total: float,
    description: str,
    folder: Path,
) -> list[Any]:
    """Pieces one after another, each by a group of `options.together` processes under Ray Train.

    A group that loses a process is started again, at most `options.retries` times. Arguments and errors are
    those of `work_on_cluster`, but `function` is called in every process, with its place in the team.

    Returns:
        what the leader's calls returned.
    """
    ray = connect(options)
    use_gpu = options.gpus is not None or ray.cluster_resources().get("GPU", 0) > 0
    # Waiting for Ray Train cannot be given up; a task can be cancelled, and all that it started ends with it.
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=_here(ray))(_train)
    results = []
    with _watched(ray, total, description, folder) as (seen, queue, bar):
        for i, piece in enumerate(pieces):
            config = {"function": function, "piece": piece, "seen": seen, "queue": queue}
            results += _gathered(ray, [task.remote(config, options, use_gpu)], queue, bar, options)
            bar.update(total * (i + 1) / len(pieces) - bar.n)
    return results


def _here(ray):
    """What must not be lost with another machine is kept on this one."""
    node = ray.get_runtime_context().get_node_id()
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)


@contextlib.contextmanager
def _watched(ray, total: float, description: str, folder: Path) -> Iterator[tuple]:
    """A folder that every machine must see, the queue by which they tell how far they are, and the bar."""
    folder.mkdir(parents=True, exist_ok=True)
    queue = ray.util.queue.Queue(actor_options={"num_cpus": 0, "scheduling_strategy": _here(ray)})
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".ray-", dir=folder) as seen,
            progress(total=math.ceil(total), description=description, unit="img", bar_format=WHOLE) as bar,
        ):
            yield Path(seen), queue, bar
    finally:
        queue.shutdown()


def _gathered(ray, running: list, queue, bar, options: Compute) -> list[Any]:
    """The results in the order of the tasks; the first failure ends the waiting and all of them."""
    waiting, kinds = list(running), set()
    try:
        while waiting:
            done, waiting = ray.wait(waiting, timeout=0.5)
            while not queue.empty():
                told = queue.get()
                if isinstance(told, UserError):
                    raise told
                bar.update(min(told, bar.total - bar.n))
            for _, said, kind in ray.get(done):
                print(said, end="")
                kinds.add(kind)
            if len(kinds) > 1:
                raise UserError(
                    f"the cluster's machines compute differently ({', '.join(sorted(kinds))}), and a table "
                    "would mix them; leave out the odd ones, or ask for GPUs by compute.gpus: finished work "
                    "is kept"
                )
        return [result for result, _, _ in ray.get(running)]
    except ray.exceptions.RayError as exc:
        if not _is_loss(ray, exc):
            raise
        raise UserError(
            f"the machine of one piece of work was lost {options.retries + 1} times ({type(exc).__name__}), "
            "most often for want of memory; give each more (compute.gpus, or fewer processors by ray start "
            "--num-cpus), in pretraining a larger compute.together, and start again: finished work is kept"
        ) from exc
    finally:
        for one in running:
            ray.cancel(one, force=True)


def _is_loss(ray, exc: Exception) -> bool:
    """Whether a process or machine went away, in a task of its own or in a group of Ray Train."""
    why = getattr(exc, "cause", None)
    group = [*getattr(why, "worker_failures", {}).values(), getattr(why, "controller_failure", None)]
    return isinstance(
        exc,
        ray.exceptions.WorkerCrashedError
        | ray.exceptions.NodeDiedError
        | ray.exceptions.ObjectLostError
        | ray.exceptions.OutOfMemoryError,
    ) or any(isinstance(one, ray.exceptions.RayActorError) for one in group)


# In processes of the cluster --------------------------------------------------------------------------------
def _take_part(function, piece, seen: Path, queue, *team: Team) -> tuple[Any, str, str]:
    """The result, what was printed, and the kind of the device."""
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # as in a local worker process, so that sums are taken in the same order
    leads = all(one.leads for one in team)
    said = io.StringIO()
    try:
        if not seen.is_dir():
            raise UserError(
                f"a machine of the cluster does not see {seen.parent} as the others do; put the repository's "
                "folder on a disk that all share, under the same path"
            )
        with contextlib.redirect_stdout(said):
            result = function(piece, telling(queue.put if leads else lambda done: None), *team)
    except UserError as exc:
        queue.put(exc)
        raise
    return result, said.getvalue(), f"{compute.device().type} in {compute.precision()}"


def _train(config: dict[str, Any], options: Compute, use_gpu: bool) -> Any:
    """Start a group, and again where it fails; what the leader returns."""
    from ray import train
    from ray.train.torch import TorchTrainer

    # With fewer processes rather than not at all: the result is the same.
    number = (1, options.together) if options.together > 1 else 1
    trainer = TorchTrainer(
        _take_part_in_group,
        train_loop_config=config,
        scaling_config=train.ScalingConfig(
            num_workers=number, use_gpu=use_gpu, resources_per_worker={"CPU": 1}
        ),
        run_config=train.RunConfig(
            storage_path=str(config["seen"]),
            failure_config=train.FailureConfig(max_failures=options.retries),
        ),
    )
    return trainer.fit().return_value


def _take_part_in_group(config: dict[str, Any]) -> tuple[Any, str, str]:
    import ray.train.torch

    context = ray.train.get_context()
    if torch.cuda.is_available():
        torch.cuda.set_device(ray.train.torch.get_device())
    team = Team(context.get_world_rank(), context.get_world_size())
    return _take_part(config["function"], config["piece"], config["seen"], config["queue"], team)

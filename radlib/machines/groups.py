"""Processes of a Ray cluster that work on one thing together, as Ray Train starts and restarts them."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from radlib.errors import UserError
from radlib.machines.cluster import connect, gpus_each, one_thread
from radlib.machines.team import Team
from radlib.machines.workers import Advance, telling
from radlib.progress import work_bar
from radlib.study.training import Compute


def together(
    function: Callable[[Any, Advance, Team], Any],
    pieces: Sequence[Any],
    options: Compute,
    total: float,
    description: str,
    folder: Path,
) -> list[Any]:
    """Pieces one after another, each by a group of `options.together` processes under Ray Train.

    A group that loses a process is started again, at most `options.retries` times; `function` must then go on
    from what it left in `folder`.

    Args:
        function: of a module; called in every process with its place in the team.
        total: what the leader's calls of `advance` add up to.
        folder: where `function` keeps its checkpoints; every machine must see it.
    Returns:
        what the leader's calls returned.
    Raises:
        UserError: the group was lost too often, or a machine does not see `folder`; or as `function` raises.
    """
    ray = connect(options)
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    with work_bar(total, description) as bar:
        for i, piece in enumerate(pieces):
            with tempfile.TemporaryDirectory(prefix=".ray-", dir=folder) as scratch:
                results.append(_one_group(ray, function, piece, options, Path(scratch), bar))
            bar.update(total * (i + 1) / len(pieces) - bar.n)
    return results


def _one_group(ray, function, piece, options: Compute, scratch: Path, bar) -> Any:
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    queue = ray.util.queue.Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    config = {"function": function, "piece": piece, "scratch": scratch, "queue": queue}
    # Waiting for Ray Train cannot be given up; a task can be cancelled, and all that it started ends with it.
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(_train)
    training, start = task.remote(config, options, gpus_each(ray, options) > 0), bar.n
    try:
        while not ray.wait([training], timeout=0.5)[0]:
            _follow(queue, bar, start)
        _follow(queue, bar, start)
        return ray.get(training)
    except ray.exceptions.RayTaskError as exc:
        raise _failure(ray, exc, options) from exc
    finally:
        ray.cancel(training, force=True)
        queue.shutdown()


def _train(config: dict[str, Any], options: Compute, use_gpu: bool) -> Any:
    """In a task: start the group, and again where it fails; what the leader returns."""
    import ray.train.torch

    return (
        ray.train.torch.TorchTrainer(
            _take_part,
            train_loop_config=config,
            scaling_config=ray.train.ScalingConfig(
                # With fewer rather than not at all: the result is the same.
                num_workers=(1, options.together) if options.together > 1 else 1,
                use_gpu=use_gpu,
                resources_per_worker={"CPU": 1},
            ),
            run_config=ray.train.RunConfig(
                storage_path=str(config["scratch"]),
                failure_config=ray.train.FailureConfig(max_failures=options.retries),
            ),
        )
        .fit()
        .return_value
    )


def _follow(queue, bar, start: float) -> None:
    """Move the bar to where the leader says it is."""
    while not queue.empty():
        arrived = queue.get()
        if isinstance(arrived, UserError):
            raise arrived
        bar.update(start + arrived - bar.n)


def _failure(ray, exc: Exception, options: Compute) -> Exception:
    """A lost process in one sentence; anything else as it is."""
    # Lost in the middle of the work, or while the group was starting.
    why = exc.cause
    causes = [*getattr(why, "worker_failures", {}).values(), getattr(why, "controller_failure", None)]
    if not any(isinstance(cause, ray.exceptions.RayActorError) for cause in causes):
        return exc
    return UserError(
        f"a process of pretraining was lost {options.retries + 1} times, most often for want of memory; have "
        "each do less (a larger compute.together) and start again: finished epochs are kept"
    )


def _take_part(config: dict[str, Any]) -> Any:
    """In every process of a group: its part of the work."""
    import ray.train.torch

    context = ray.train.get_context()
    team = Team(context.get_world_rank(), context.get_world_size())
    queue, scratch = config["queue"], config["scratch"]
    one_thread()
    if torch.cuda.is_available():
        torch.cuda.set_device(ray.train.torch.get_device())
    try:
        if not scratch.is_dir():
            raise UserError(
                f"a machine of the cluster does not see {scratch.parent} as the others do; put the "
                "repository's folder on a disk that all share, under the same path"
            )
        return config["function"](config["piece"], _telling(queue, team), team)
    except UserError as exc:
        queue.put(exc)
        raise


def _telling(queue, team: Team) -> Advance:
    """`advance` for the leader: where it is, once a second."""
    done = 0.0

    def tell(more: float) -> None:
        nonlocal done
        done += more
        queue.put(done)

    return telling(tell, seconds=1) if team.leads else lambda done: None

"""Independent pieces of work on a Ray cluster (`compute: {backend: ray}` in params.yaml).

Of every result the process that asked for it is told as soon as it is there. A piece whose machine was lost
starts again without what had arrived.
"""

import contextlib
import io
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from radlib import compute
from radlib.errors import UserError
from radlib.machines.workers import Advance
from radlib.progress import work_bar
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


@dataclass
class _Piece:
    """What of a piece of work is still to come, and how often in a row its machine was lost."""

    shared: Any
    items: list[Any]
    lost: int = 0


@dataclass(frozen=True)
class _Arrival:
    result: Any
    done: float  # in the units of the bar
    said: str
    kind: str  # of the device that computed it


def stream(
    function: Callable[[Any, list[Any], Advance], Iterator[Any]],
    pieces: Sequence[tuple[Any, list[Any]]],
    options: Compute,
    total: float,
    description: str,
    keep: Callable[[Any], None],
) -> None:
    """Pieces of independent work, as many at a time as the cluster has processors (or shares of GPUs) for.

    Args:
        function: of a module; (shared, items, advance) -> one result per item, in their order.
        pieces: (shared, items), best with the longest first.
        total: what all calls of `advance` add up to.
        keep: called here with every result as soon as it arrives.
    Raises:
        UserError: a piece lost its machine `options.retries` times in a row, or the cluster's machines
            compute differently. Whatever `function` raises is passed on. The other pieces are stopped.
    """
    ray = connect(options)
    lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError,
            ray.exceptions.OutOfMemoryError)  # fmt: skip
    task = ray.remote(num_cpus=1, num_gpus=gpus_each(ray, options), max_retries=0)(_each)
    kinds = set()
    running = {task.remote(function, *piece): _Piece(*piece) for piece in pieces}
    with work_bar(total, description) as bar:
        try:
            while running:
                (results,), _ = ray.wait(list(running), num_returns=1, fetch_local=False)
                piece = running.pop(results)
                try:
                    arrival = ray.get(next(results))
                except StopIteration:
                    continue
                except lost as exc:
                    if piece.items:
                        _count_loss(piece, options, exc)
                        running[task.remote(function, piece.shared, piece.items)] = piece
                    continue
                except ray.exceptions.RayTaskError as exc:
                    raise (exc.cause if isinstance(exc.cause, UserError) else exc) from None
                running[results] = piece
                kinds.add(arrival.kind)
                _check_alike(kinds)
                keep(arrival.result)
                piece.items, piece.lost = piece.items[1:], 0
                print(arrival.said, end="")
                bar.update(min(arrival.done, bar.total - bar.n))
        finally:
            for results in running:
                ray.cancel(results, force=True)


def gpus_each(ray, options: Compute) -> float:
    """Of a GPU, for one piece of work: as asked, else a whole one where the cluster has any."""
    if options.gpus is None:
        return float(ray.cluster_resources().get("GPU", 0) > 0)
    return options.gpus


def _count_loss(piece: _Piece, options: Compute, exc: Exception) -> None:
    piece.lost += 1
    if piece.lost > options.retries:
        raise UserError(
            f"the machine of one piece of work was lost {piece.lost} times in a row ({type(exc).__name__}), "
            "most often for want of memory; give each piece more (compute.gpus, or fewer processors by ray "
            "start --num-cpus) and start again: finished work is kept"
        ) from exc


def _check_alike(kinds: set[str]) -> None:
    if len(kinds) > 1:
        raise UserError(
            f"the cluster's machines compute differently ({', '.join(sorted(kinds))}), and a table would mix "
            "them; leave out the odd ones, or ask for GPUs by compute.gpus: finished work is kept"
        )


def _each(function, shared, items) -> Iterator[_Arrival]:
    """In a task: every result with what it cost and what was printed meanwhile."""
    one_thread()
    kind = f"{compute.device().type} in {compute.precision()}"
    costs, said = [], io.StringIO()
    results = function(shared, items, costs.append)
    for _ in items:
        with contextlib.redirect_stdout(said):
            result = next(results)
        yield _Arrival(result, sum(costs), said.getvalue(), kind)
        costs.clear()
        said.seek(0)
        said.truncate()


def one_thread() -> None:
    """As in a local worker process, so that sums are taken in the same order."""
    threadpool_limits(1, "blas")
    if not torch.cuda.is_available():
        torch.set_num_threads(1)

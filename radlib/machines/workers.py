"""Independent pieces of work, one single-threaded process each.

The networks here are small: a second thread makes one training no faster, a second process does a second
training meanwhile. What is finished goes to the store, so the order of finishing is of no account.
"""

import contextlib
import io
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_end
from typing import Any

import joblib
import torch
from threadpoolctl import threadpool_limits

from radlib.errors import UserError
from radlib.progress import work_bar

Advance = Callable[[float], None]
_PRELOADED = ["radlib.training.pretrain", "radlib.training.transfer"]
_advance: Advance | None = None  # of a worker


class _Stopped(Exception):
    """Another piece failed or the user interrupted: this one ends at its next step."""


def count(wanted: int | None, pieces: int) -> int:
    """How many processes: as asked, else one per processor core, or one where there is a CUDA device."""
    if wanted is None:
        wanted = 1 if torch.cuda.is_available() else joblib.cpu_count(only_physical_cores=True)
    return max(1, min(wanted, pieces))


def work(
    function: Callable[[Any, Advance], Any],
    pieces: Sequence[Any],
    workers: int | None,
    total: float,
    description: str,
    unit: str = "img",
) -> list[Any]:
    """`[function(piece, advance) for piece in pieces]`, several at a time, under one progress bar.

    Args:
        function: of a module (it is sent to other processes by name); calls `advance(done)` as it goes.
        pieces: best with the longest first.
        workers: processes; None as `count` says; 1 works here, without another process.
        total: what all calls of `advance` add up to.
    Raises:
        UserError: a process was ended from outside. Whatever `function` raises is passed on, the others stop.
    """
    number = count(workers, len(pieces))
    with work_bar(total, description, unit) as bar:
        if number > 1:
            return _in_processes(function, pieces, number, bar)
        threads = torch.get_num_threads()
        if not torch.cuda.is_available():
            torch.set_num_threads(1)
        try:
            with threadpool_limits(1, "blas"):
                return [function(piece, bar.update) for piece in pieces]
        finally:
            torch.set_num_threads(threads)


def _in_processes(function, pieces, number, bar) -> list[Any]:
    # A fork server imports PyTorch once and has no threads, so that forking it is fast and safe.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    steps, stop = context.SimpleQueue(), context.Event()
    with ProcessPoolExecutor(number, context, _start, (steps, stop)) as pool:
        futures = [pool.submit(_call, function, piece) for piece in pieces]
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                while not steps.empty():
                    bar.update(steps.get())
                for future in done:
                    print(future.result()[1], end="")
        except BrokenProcessPool as exc:
            raise UserError(
                "a worker process was ended from outside, most often for want of memory; start again with a "
                "smaller compute.workers in params.yaml: finished work is kept"
            ) from exc
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return [future.result()[0] for future in futures]


def telling(tell: Callable[[float], None], seconds: float = 0.2) -> Advance:
    """`advance` for work in another process, which tells what is done every so often: a step of a head takes
    less than a millisecond, and told of each, the other process would have no time left."""
    untold, told = 0.0, time.monotonic()

    def advance(done: float) -> None:
        nonlocal untold, told
        untold += done
        if time.monotonic() > told + seconds:
            tell(untold)
            untold, told = 0.0, time.monotonic()

    return advance


def _start(steps, stop) -> None:
    """Prepare a worker: one thread, and an end together with the process that it works for."""
    torch.set_num_threads(1)
    threadpool_limits(1, "blas")  # NumPy's, of which each process would have one per core
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tell = telling(steps.put)

    def advance(done: float) -> None:
        if stop.is_set():
            raise _Stopped
        tell(done)

    global _advance  # noqa: PLW0603
    _advance = advance


def _end_with_parent() -> None:
    wait_for_end([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _call(function, piece) -> tuple[Any, str]:
    """The result, and what was printed: only the notebook's own process can show it."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        result = function(piece, _advance)
    return result, said.getvalue()

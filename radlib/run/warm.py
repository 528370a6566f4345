"""One process that has imported PyTorch and the like, from which all notebooks of a run are forked.

Thirty notebooks, their runners and their workers would import them a hundred times: most of the time of a
small study. `make study` starts the standard library's fork server; commands that find its address let it run
them.
"""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path

ADDRESS = "RADLIB_WARM"
# Forked processes find these imported. Nothing of radlib, whose files may change during a run, and not
# ipykernel, which reads the environment of its kernel when it is imported.
PRELOADED = [
    "IPython",
    "matplotlib.pyplot",
    "nbconvert",
    "papermill",
    "pyarrow.parquet",
    "pydantic",
    "pydicom",
    "scipy.stats",
    "seaborn",
    "segmentation_models_pytorch",
    "sklearn.metrics",
    "sklearn.linear_model",
    "statsmodels.formula.api",
    "timm",
    "torchvision",
]


def carry_out(command: list[str], environment: dict[str, str]) -> tuple[int, list[tuple[str, float]]]:
    """Run a command whose children may ask for forks; its exit status, and seconds by stage that asked."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as in every kernel
    # After Ctrl-C, which leaves cleaning up to the standard library, this warning would be the last word.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    seconds: list[tuple[str, float]] = []
    # Ctrl-C is for the forks: the server that imports for them would answer with a traceback.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, before)
    stopping = threading.Event()
    with Listener(family="AF_UNIX") as listener:
        arguments = (listener, context, seconds, stopping)
        threading.Thread(target=_serve, args=arguments, daemon=True).start()
        process = subprocess.Popen(command, env={**environment, ADDRESS: listener.address})
        try:
            return process.wait(), seconds
        except KeyboardInterrupt:  # the command got it, too: its own sentence comes first
            stopping.set()
            process.wait()
            raise


def forwarded(module: str, arguments: Sequence[str]) -> int | None:
    """The exit status of `python -m module arguments`, run by the fork server; None where there is none."""
    if ADDRESS not in os.environ or multiprocessing.parent_process() is not None:
        return None
    try:
        connection = Client(os.environ[ADDRESS], family="AF_UNIX")
    except OSError:
        return None
    parent, own_session = os.getppid(), os.getsid(0) == os.getpid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fork gets it as well, and says what there is to say
    with connection:
        connection.send((module, list(arguments), str(Path.cwd()), dict(os.environ), own_session))
        while not connection.poll(0.5):
            if os.getppid() != parent:
                return 1
        try:
            code = connection.recv()
        except EOFError:
            return 1
    return code if code >= 0 else 128 - code


def _serve(listener: Listener, *shared) -> None:
    with contextlib.suppress(OSError):  # the listener is closed
        while True:
            threading.Thread(target=_attend, args=(listener.accept(), *shared), daemon=True).start()


def _attend(connection: Connection, context, seconds: list, stopping: threading.Event) -> None:
    """Fork for one request, and see to it that whoever asked and the fork end together."""
    request, start = connection.recv(), time.perf_counter()
    process = context.Process(target=_run, args=request)
    process.start()
    if stopping.is_set():  # Ctrl-C came before there was this fork to hear it
        process.kill()
    if process.sentinel not in wait([process.sentinel, connection]):
        process.kill()
    process.join()
    if request[0] == "radlib.run":
        seconds.append((" ".join(request[1][1:]), time.perf_counter() - start))
    with contextlib.suppress(OSError):
        connection.send(process.exitcode)


def _run(
    module: str, arguments: list[str], folder: str, environment: dict[str, str], own_session: bool
) -> None:
    threading.Thread(target=_end_with_server, daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if own_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [module, *arguments]
    # Workers of this process are forked from the same server; else the standard library starts another.
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_server() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


if __name__ == "__main__":
    status = forwarded(sys.argv[1], sys.argv[2:])
    if status is None:
        os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
    sys.exit(status)

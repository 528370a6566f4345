"""Commands forked from a warm process behave as commands of their own."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from radlib.run import warm

SERVE = """
import os, sys
from radlib.run import warm
if __name__ == "__main__":
    warm.PRELOADED = ["colorsys"]
    print("ended", warm.carry_out([sys.executable, "-m", "radlib.run.warm", *sys.argv[1:]], os.environ)[0])
"""
SAY = """
import multiprocessing, os, sys, time
from pathlib import Path
if __name__ == "__main__":
    print("colorsys" in sys.modules, sys.argv[1:], Path.cwd().name, os.environ["SAID"], flush=True)
    Path("pid").write_text(str(os.getpid()))
    time.sleep(float(sys.argv[2]))
    sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def served(tmp_path):
    """Start `python -m say code seconds` by a server; in a folder where the fork leaves its process id."""
    (tmp_path / "serve.py").write_text(SERVE)
    (tmp_path / "say.py").write_text(SAY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "SAID": "so"}
    command = [sys.executable, "serve.py", "say"]

    def start(*arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [*command, *arguments], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )

    return start


@pytest.mark.parametrize("code", ["0", "3"])
def test_a_fork_has_the_arguments_folder_environment_and_exit_status(served, tmp_path, code):
    said, _ = served(code, "0").communicate(timeout=60)
    assert said.splitlines() == [f"True ['{code}', '0'] {tmp_path.name} so", f"ended {code}"]


@pytest.mark.parametrize("killed", ["radlib.run.warm", "serve.py"])
def test_a_fork_ends_with_the_command_that_asked_for_it_and_with_the_server(served, tmp_path, killed):
    server = served("0", "60")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.1)
    fork = psutil.Process(int((tmp_path / "pid").read_text()))
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
    next(p for p in processes if killed in p.cmdline()).send_signal(signal.SIGKILL)
    server.communicate(timeout=60)
    fork.wait(timeout=20)


def test_without_a_server_nothing_is_forwarded(monkeypatch, tmp_path):
    monkeypatch.delenv(warm.ADDRESS, raising=False)
    assert warm.forwarded("say", []) is None
    monkeypatch.setenv(warm.ADDRESS, str(tmp_path / "gone"))
    assert warm.forwarded("say", []) is None

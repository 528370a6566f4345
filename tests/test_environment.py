"""pyproject.toml, requirements.lock and environment.yml agree, and a wheel holds the library."""

import fnmatch
import re
import tomllib

import yaml
from setuptools import find_packages

from tests.conftest import REPOSITORY


def locked() -> dict[str, str]:
    text = (REPOSITORY / "requirements.lock").read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, flags=re.M))


def test_every_direct_dependency_is_locked():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    direct = sum(project["optional-dependencies"].values(), project["dependencies"])
    pins = locked()
    for requirement in direct:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
        version = requirement.partition("==")[2]
        assert name.lower() in pins, f"{name} is missing: run `make lock`"
        assert not version or pins[name.lower()] == version


def test_conda_environment_takes_the_lock():
    content = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    pip = [d["pip"] for d in content["dependencies"] if isinstance(d, dict)]
    assert pip == [["-r requirements.lock"]]
    python = next(d for d in content["dependencies"] if str(d).startswith("python="))
    required = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    minimum = tuple(int(x) for x in required.removeprefix(">=").split("."))
    assert tuple(int(x) for x in python.split("=")[1].split(".")) >= minimum


def test_lock_is_hashed_universal_and_without_addresses():
    text = (REPOSITORY / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    packages = [e for e in entries if re.match(r"[A-Za-z0-9._-]+==", e)]
    assert len(packages) > 100
    assert all("--hash=sha256:" in entry for entry in packages)
    assert "://" not in text
    assert "sys_platform == 'linux'" in text and "sys_platform" in text


def test_a_wheel_holds_every_folder_and_file_of_the_library():
    setuptools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = find_packages(str(REPOSITORY), **setuptools["packages"]["find"])
    files = [
        path for path in (REPOSITORY / "radlib").rglob("*.*") if path.is_file() and path.suffix != ".pyc"
    ]
    assert set(found) == {".".join(path.parent.relative_to(REPOSITORY).parts) for path in files}
    data = setuptools["package-data"]["*"]
    for path in files:
        assert path.suffix == ".py" or any(fnmatch.fnmatch(path.name, pattern) for pattern in data), path

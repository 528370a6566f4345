"""The examples in the docstrings of the statistics give what they say; what the library calls has one."""

import ast
import doctest
import importlib
import inspect
import pkgutil

import pytest

from radlib import stats
from tests.conftest import REPOSITORY

MODULES = [f"radlib.stats.{found.name}" for found in pkgutil.iter_modules(stats.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_function_that_the_rest_of_the_library_calls_has_an_example():
    called = set()
    for path in (REPOSITORY / "radlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            inside = path.parent.name == "stats" or not isinstance(node, ast.ImportFrom)
            if not inside and node.module in MODULES:
                called |= {(node.module, alias.name) for alias in node.names}
    functions = {pair: getattr(importlib.import_module(pair[0]), pair[1]) for pair in called}
    assert len(functions) > 20
    assert not [
        pair for pair, found in functions.items() if inspect.isfunction(found) and ">>>" not in found.__doc__
    ]

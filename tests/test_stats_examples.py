"""The examples in the docstrings of the statistics give what they say."""

import doctest
import importlib
import pkgutil

import pytest

from radlib import stats

MODULES = [f"radlib.stats.{found.name}" for found in pkgutil.iter_modules(stats.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0

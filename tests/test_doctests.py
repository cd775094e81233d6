"""The examples in docstrings are run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ("errors", "engine.batch.selection", "io.axes", "io.frames")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    failed, tried = doctest.testmod(importlib.import_module(f"deqsci_cli.{name}"))
    assert tried and not failed

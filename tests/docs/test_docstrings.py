"""Every public object carries an example, and every example in a docstring runs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engineroom

SOURCE = Path(__file__).parents[2] / "src" / "engineroom"
MODULES = [
    ".".join(["engineroom", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text()
]
RUN_EXAMPLES = """
import doctest, importlib, sys
result = doctest.testmod(importlib.import_module(sys.argv[1]), optionflags=doctest.ELLIPSIS)
print(result.attempted, "examples")
sys.exit(1 if result.failed or not result.attempted else 0)
"""


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(module: str, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    result = subprocess.run(
        [sys.executable, "-c", RUN_EXAMPLES, module],
        check=False, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", [name for name in engineroom.__all__ if not name.endswith("Error")])
def test_a_public_object_carries_an_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(engineroom, name)) or ""
    assert "Example:\n" in documentation
    assert ">>> " in documentation

"""SECURITY.md lists every hook that the package installs, and those of the plugin are absent outside of pytest."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "engineroom"
PAGE = (ROOT / "SECURITY.md").read_text()
ALWAYS, UNDER_PYTEST = PAGE.split("### Under pytest only")
CALLS = {
    # What a call is written like, and the words of the page for it.
    "atexit.register": "`atexit`",
    "call_around_fork": "`os.register_at_fork`",
    "call_in_child": "`os.register_at_fork`",
    "hear_events": "`sys.addaudithook`",
    "sys.meta_path.insert": "`sys.meta_path`",
    "set_authorizer": "`sqlite3.Connection.set_authorizer`",
    "set_trace_callback": "`set_trace_callback`",
    "sys.settrace": "`sys.settrace`",
    "signal.signal": "`signal.signal`",
    "threading.Thread": "`threading.Thread`",
    "setattr": "`dialect.do_execute*`",
}
WRAPPERS = {"wrap_method", "wrap_function"}
TARGETS = ("sys.", "threading.", "sqlite3.", "builtins.", "dialect.", "engine.")
VARIABLES = {
    "RUN_VARIABLE": '"ENGINEROOM_RUN"',
    "ROLE_VARIABLE": '"ENGINEROOM_ROLE"',
    "project.environment_variable": '"APP_ENV"',
    "name": '"APP_ENV"',  # put back at the end
}


def hooks_of(module: Path) -> Iterator[str]:
    """Yield the words that the page must have for each hook that a module installs."""
    tree = ast.parse(module.read_text())
    loops = {ast.unparse(node.target): node.iter for node in ast.walk(tree) if isinstance(node, ast.For)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _hooks_of_call(node, loops)
        elif isinstance(node, ast.Assign):
            for target in (ast.unparse(target).replace("engine.dialect.", "dialect.") for target in node.targets):
                yield from [f"`{target}`"] if target.startswith(TARGETS) else []
                yield from [f"`os.environ[{word}]`" for word in _variables_of(target)]
        elif isinstance(node, ast.FunctionDef):
            yield from [CALLS[name] for name in map(ast.unparse, node.decorator_list) if name in CALLS]


def _variables_of(target: str) -> list[str]:
    """Return the word of the page for the environment variable that an assignment sets."""
    if not target.startswith("os.environ["):
        return []
    expression = target.removeprefix("os.environ[").removesuffix("]")
    return [VARIABLES.get(expression, expression)]


def _hooks_of_call(node: ast.Call, loops: Mapping[str, ast.expr]) -> Iterator[str]:
    name = ast.unparse(node.func)
    if name in {"event.listen", "event.listens_for"}:
        expression = loops.get(ast.unparse(node.args[1]), node.args[1])
        names = [
            part.value
            for part in ast.walk(expression)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        assert names, f"which event does this listen to? {ast.unparse(node)}"
        yield from [f"`{name}`" for name in names]
    if name in WRAPPERS and isinstance(node.args[1], ast.Constant) and isinstance(node.args[1].value, str):
        yield f"`{node.args[1].value}`"
    yield from [words for call, words in CALLS.items() if name == call or name.endswith(f".{call}")]


HOOKS = [
    pytest.param(module, words, id=f"{module.relative_to(SOURCE)} {words}")
    for module in sorted(SOURCE.rglob("*.py"))
    if module.name != "_interpreter.py"  # it passes on what other modules ask for
    for words in sorted(set(hooks_of(module)))
]


def is_of_the_plugin(module: Path) -> bool:
    return module.relative_to(SOURCE).parts[0].startswith(("testing", "pytest_plugin"))


@pytest.mark.parametrize(("module", "words"), HOOKS)
def test_the_page_lists_the_hook(module: Path, words: str) -> None:
    assert words in (UNDER_PYTEST if is_of_the_plugin(module) else ALWAYS)


OUTSIDE_PYTEST = """
import os, sys
environ, meta_path = dict(os.environ), list(sys.meta_path)
import engineroom
assert not {"sqlalchemy", "pydantic", "pytest"} & sys.modules.keys(), "the front door is lazy"
from sqlalchemy import create_engine, text
engine = engineroom.get_engine("sqlite:///shop.db")
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE articles (name TEXT)"))
engine.dispose()
assert sys.meta_path == meta_path
assert dict(os.environ) == environ
print(*sorted(name for name in sys.modules if name.startswith(("engineroom.testing", "engineroom.pytest", "pytest"))))
"""


def test_nothing_of_the_plugin_is_loaded_outside_of_pytest(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COVERAGE"))}
    result = subprocess.run(
        [sys.executable, "-c", OUTSIDE_PYTEST],
        check=False, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr

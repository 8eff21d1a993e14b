"""The house rules that a tool of the trade does not check: floors, budgets, names."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import engineroom

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "engineroom"
TABLE = ROOT / "docs" / "explanation" / "architecture.md"

MOST_MODULE_LINES = 350
MOST_FUNCTION_LINES = 50
MOST_FUNCTION_LINES_P90 = 25
FEWEST_TEST_LINES_PER_LINE = 2.0
FORBIDDEN_WORDS = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager"}
FORBIDDEN_ON_PURE_FLOOR = {"io", "pathlib", "shutil", "socket", "sqlite3", "subprocess", "tempfile", "threading"}
ALLOWED_OF_OS_ON_PURE_FLOOR = {"PathLike", "fsdecode", "fsencode", "fspath", "path", "sep"}
THIRD_PARTY: tuple[frozenset[str], ...] = (
    # What each floor may import besides the standard library; a higher floor may import what a lower one may.
    frozenset(),
    frozenset({"sqlalchemy"}),
    frozenset({"dotenv", "pydantic", "pydantic_core", "pydantic_settings"}),
    frozenset({"aiosqlite", "alembic"}),
    frozenset(),
    frozenset({"pytest"}),
)


@dataclass(frozen=True)
class Place:
    """Where a module stands: the floor, and the row on it from the top."""

    floor: int
    row: int


def read_places() -> dict[str, Place]:
    """Read the table of the architecture page: the name of a module or package to its place."""
    places: dict[str, Place] = {}
    floor = 0
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 3:
            continue
        if number := re.match(r"\d", cells[0]):
            floor = int(number.group())
        for name in re.findall(r"`([\w/]+)`", cells[1]):
            places[name.rstrip("/")] = Place(floor, len(places))
    return places


def name_of(path: Path) -> str:
    """Return a module's name below the package: ``_guard.sqlite``, ``errors``, ``__init__`` for the front door."""
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


PLACES = read_places()
PATHS = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(), filename=str(path)) for name, path in PATHS.items()}


def own_module(dotted: str) -> str | None:
    """Return our module that a dotted name leads to: the module itself, or the one that holds the object."""
    first, *rest = dotted.split(".")
    if first != "engineroom":
        return None
    while rest and ".".join(rest) not in PATHS:
        rest.pop()
    return ".".join(rest) or "__init__"


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def imported_names(name: str) -> list[tuple[int, str]]:
    """Return the line and the dotted name of each import, wherever it stands: also in functions and for typing."""
    found: list[tuple[int, str]] = []
    package = ["engineroom", *name.split(".")]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found += [(node.lineno, ast.literal_eval(arg)) for arg in node.args[:1] if is_text(arg)]
    return found


def place_of(name: str) -> Place:
    return PLACES[name.partition(".")[0]]


def is_allowed(importer: str, imported: str) -> bool:
    """Tell whether a module may import another: from lower floors, or from above it on its own floor."""
    if importer.partition(".")[0] == imported.partition(".")[0]:
        return True  # a package orders its own modules; test_no_import_goes_round_in_a_circle watches it
    above, below = place_of(importer), place_of(imported)
    return below.floor < above.floor or (below.floor == above.floor < len(THIRD_PARTY) - 1 and below.row < above.row)


@pytest.mark.parametrize("name", PATHS)
def test_every_module_stands_in_the_table(name: str) -> None:
    assert name.partition(".")[0] in PLACES, f"{TABLE.name} has no row for {name}"


def test_every_row_of_the_table_that_is_built_keeps_its_name() -> None:
    missing = {name for name in PLACES if name not in PATHS}
    assert not missing, f"no such module: {missing}"


@pytest.mark.parametrize("name", PATHS)
def test_a_module_imports_only_from_lower_floors_or_from_above_it_on_its_own(name: str) -> None:
    own = [(line, own_module(dotted)) for line, dotted in imported_names(name)]
    wrong = [f"line {line}: {module}" for line, module in own if module and not is_allowed(name, module)]
    assert not wrong, f"{name} reaches up: {wrong}"


@pytest.mark.parametrize("name", PATHS)
def test_a_module_imports_only_the_third_parties_of_its_floor(name: str) -> None:
    allowed = frozenset().union(*THIRD_PARTY[: place_of(name).floor + 1]) | sys.stdlib_module_names | {"engineroom"}
    wrong = [
        f"line {line}: {dotted}" for line, dotted in imported_names(name) if dotted.partition(".")[0] not in allowed
    ]
    assert not wrong, f"{name} is on floor {place_of(name).floor}: {wrong}"


def test_no_import_goes_round_in_a_circle() -> None:
    reached: dict[str, set[str]] = {
        name: {module for _, dotted in imported_names(name) if (module := own_module(dotted)) and module != name}
        for name in PATHS
        if name != "__init__"
    }
    while leaves := [name for name, targets in reached.items() if not targets & reached.keys()]:
        for leaf in leaves:
            del reached[leaf]
    assert not reached, f"in a circle, or waiting for one: {sorted(reached)}"


@pytest.mark.parametrize("name", [name for name in PATHS if PLACES.get(name.partition(".")[0], Place(9, 0)).floor <= 1])
def test_a_judge_does_no_input_or_output(name: str) -> None:
    wrong = [dotted for _, dotted in imported_names(name) if dotted.partition(".")[0] in FORBIDDEN_ON_PURE_FLOOR]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            wrong += [f"os.{node.attr}"] if node.attr not in ALLOWED_OF_OS_ON_PURE_FLOOR else []
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"open", "print", "input"}
        ):
            wrong.append(node.func.id)
    assert not wrong, f"{name} judges, and may not look: {wrong}"


def code_lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@dataclass(frozen=True)
class Length:
    """How many lines a function has, its docstring aside."""

    lines: int
    name: str


def function_lengths(name: str) -> list[Length]:
    lengths = []
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            text = node.body[0] if ast.get_docstring(node) is not None else None
            documented = (text.end_lineno or text.lineno) - text.lineno + 1 if text else 0
            lengths.append(Length(node.end_lineno - node.lineno + 1 - documented, f"{name}.{node.name}"))
    return lengths


@pytest.mark.parametrize("name", PATHS)
def test_a_module_fits_its_budget(name: str) -> None:
    assert code_lines(PATHS[name]) <= MOST_MODULE_LINES


def test_a_function_fits_the_eye() -> None:
    lengths = sorted(itertools.chain.from_iterable(map(function_lengths, PATHS)), key=lambda length: length.lines)
    too_long = [length for length in lengths if length.lines > MOST_FUNCTION_LINES]
    assert not too_long
    p90 = lengths[int(0.9 * (len(lengths) - 1))]
    assert p90.lines <= MOST_FUNCTION_LINES_P90, f"the 90th percentile is {p90}"


def words_of(name: str) -> set[str]:
    """Split a name in any spelling into its words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("name", PATHS)
def test_no_name_says_nothing(name: str) -> None:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    names = [name, *(node.name for node in ast.walk(TREES[name]) if isinstance(node, kinds))]
    assert not [said for said in names if words_of(said) & FORBIDDEN_WORDS]


@pytest.mark.parametrize("name", PATHS)
def test_every_module_says_in_a_few_lines_what_it_answers(name: str) -> None:
    docstring = ast.get_docstring(TREES[name])
    assert docstring, f"{name} has no docstring"
    assert docstring.splitlines()[0].endswith((".", "?"))


@pytest.mark.parametrize("name", engineroom.__all__)
def test_every_public_name_has_a_docstring_and_an_honest_home(name: str) -> None:
    value = getattr(engineroom, name)
    assert inspect.getdoc(value)
    home = importlib.import_module(value.__module__)
    assert getattr(home, name) is value


def test_the_tests_outweigh_the_code() -> None:
    source = sum(map(code_lines, PATHS.values()))
    tests = sum(map(code_lines, ROOT.joinpath("tests").rglob("*.py")))
    ratio = tests / source
    if ratio < FEWEST_TEST_LINES_PER_LINE:
        pytest.xfail(f"{ratio:.2f} test lines for a line of code, {FEWEST_TEST_LINES_PER_LINE} are wanted")


def imports_that_are_allowed(importer: str, imported: str) -> str:
    return f"{importer} may {'' if is_allowed(importer, imported) else 'not '}import {imported}"


@pytest.mark.parametrize(
    "sentence",
    [
        "_verdict may import errors",
        "errors may not import _verdict",
        "_binds may import _identity",
        "_identity may not import _binds",
        "_project may not import _engines",
        "pytest_plugin may import testing",
        "pytest_plugin may not import __init__",
        "__init__ may import _engines",
        "__init__ may not import pytest_plugin",
        "testing may not import pytest_plugin",
    ],
)
def test_the_rule_itself_is_the_one_we_mean(sentence: str) -> None:
    importer, _, imported = re.split(r" may (not )?import ", sentence)
    assert imports_that_are_allowed(importer, imported) == sentence

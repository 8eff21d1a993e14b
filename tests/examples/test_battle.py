"""The example ``battle``: it is what its README says, its suite is green, and its demo shows what it claims."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

BATTLE = Path(__file__).parents[2] / "examples" / "battle"
TRIVIAL = "def test_nothing():\n    pass\n"


def load_demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("battle_demo", BATTLE / "demo.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


demo = load_demo()


def run_demo(script: Path, temporary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, script, *arguments],
        env=os.environ | {"TMPDIR": str(temporary)},
        cwd=temporary,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def copy_with_suite(folder: Path, suite: str) -> Path:
    """Copy the example with another suite in place of its own; return the copy's demo."""
    shutil.copytree(BATTLE, folder, ignore=shutil.ignore_patterns("tests", "__pycache__", "*.db*"))
    (folder / "tests").mkdir()
    (folder / "tests" / "test_suite.py").write_text(suite)
    return folder / "demo.py"


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Path]:
    """A temporary directory where commits need not wait for a disk."""
    with tempfile.TemporaryDirectory(prefix="battle-test-", dir=demo.choose_storage() or tmp_path) as directory:
        yield Path(directory)


# The one line


def test_the_example_differs_from_an_ordinary_app_in_one_line_and_its_import() -> None:
    files = [path for path in BATTLE.rglob("*") if path.suffix in {".py", ".toml"} and path.name != "demo.py"]
    traces = [
        (path.relative_to(BATTLE).as_posix(), line)
        for path in files
        for line in path.read_text().splitlines()
        if re.search(r"engineroom|get_(async_)?engine\b", line, re.IGNORECASE)
    ]
    assert traces == [
        ("app/db/database.py", "from engineroom import get_async_engine"),
        ("app/db/database.py", 'engine = get_async_engine(DATABASE_URL, connect_args={"timeout": 15})'),
    ]


def test_the_ordinary_app_makes_the_same_engine_with_the_same_arguments(tmp_path: Path) -> None:
    module = tmp_path / "database.py"
    shutil.copy(BATTLE / demo.ENGINE_MODULE, module)
    demo.replace_engine(module)
    ours, ordinary = (BATTLE / demo.ENGINE_MODULE).read_text(), module.read_text()
    assert "engineroom" not in ordinary
    assert ordinary.replace("create_async_engine", "get_async_engine").replace(
        "sqlalchemy.ext.asyncio", "engineroom"
    ) == (ours.replace("sqlalchemy.ext.asyncio", "engineroom"))
    compile(ordinary, str(module), "exec")


def test_a_module_without_the_line_stops_the_demo(tmp_path: Path) -> None:
    module = tmp_path / "database.py"
    module.write_text("engine = None\n")
    with pytest.raises(demo.StepError, match="should stand once"):
        demo.replace_engine(module)


def test_eleven_test_files_import_the_session_maker_of_the_application() -> None:
    importing = [
        path.name
        for path in (BATTLE / "tests").rglob("test_*.py")
        if re.search(r"^from app\.db\.database import .*\basync_session_maker\b", path.read_text(), re.MULTILINE)
    ]
    assert len(importing) == 11


def test_every_test_of_the_example_drops_and_creates_the_tables_of_the_application() -> None:
    conftest = (BATTLE / "tests" / "conftest.py").read_text()
    assert "from app.db.database import drop_db, init_db\n" in conftest
    assert "@pytest.fixture(autouse=True)\n" in conftest
    assert conftest.count("await drop_db()\n") == 2


def test_the_readme_shows_the_line_as_it_stands() -> None:
    readme = (BATTLE / "README.md").read_text()
    added = [line[1:] for line in readme.splitlines() if re.match(r"\+\w", line)]
    removed = [line[1:] for line in readme.splitlines() if re.match(r"-\w", line)]
    module = (BATTLE / demo.ENGINE_MODULE).read_text().splitlines()
    assert len(added) == len(removed) == 2
    assert all(line in module for line in added)
    assert [demo_line.split("(")[0] for demo_line in removed] == [
        line.removesuffix("(") for line in demo.ORDINARY.values()
    ]


# The demo's parts


def test_a_missing_database_has_no_tables(tmp_path: Path) -> None:
    snapshot = demo.take_snapshot(tmp_path / "battle.db")
    assert snapshot.rows == {"users": None, "dancers": None, "tournaments": None}
    assert (snapshot.sha256, snapshot.files, snapshot.is_lost) == ("no file", (), True)


def test_looking_at_a_database_changes_nothing(tmp_path: Path) -> None:
    project = tmp_path / "project"
    demo.copy_example(project)
    demo.replace_engine(project / demo.ENGINE_MODULE)
    demo.seed(project)
    first, second = (demo.take_snapshot(project / demo.DATABASE) for _ in range(2))
    assert first == second
    assert first.rows == demo.SEEDED
    assert first.files == (".gitkeep", "battle.db")
    assert not first.is_lost


@pytest.mark.parametrize(
    ("rows", "is_lost"),
    [
        pytest.param({"users": None, "dancers": None}, True, id="no tables are a loss"),
        pytest.param({"users": 0, "dancers": 0}, True, id="empty tables are a loss"),
        pytest.param({"users": 0, "dancers": 1}, False, id="a row is no loss"),
    ],
)
def test_a_loss_is_told_from_what_is_left(rows: dict[str, int | None], is_lost: bool) -> None:
    assert demo.Snapshot(rows, "", ()).is_lost is is_lost


def test_a_new_file_beside_the_database_is_harm() -> None:
    before = demo.Snapshot(demo.SEEDED, "same", ("battle.db",))
    after = demo.Snapshot(demo.SEEDED, "same", ("battle.db", "battle.db-wal"))
    assert demo.Outcome(0, "", before, before).is_harmless
    assert not demo.Outcome(0, "", before, after).is_harmless


def test_a_copy_leaves_behind_what_using_the_example_made(tmp_path: Path) -> None:
    demo.copy_example(tmp_path / "copy")
    names = {path.name for path in (tmp_path / "copy").rglob("*")}
    assert {"app", "tests", "pyproject.toml", "seed.py"} <= names
    assert not [name for name in names if re.search(r"__pycache__|\.db|^\.env|cache$", name)]


def test_what_the_shell_exports_does_not_decide_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    deciding = ["APP_ENV", "app_env", "DATABASE_URL", "TEST_DATABASE_URL", "PYTEST_ADDOPTS", "ENGINEROOM_RUN"]
    for name in deciding:
        monkeypatch.setenv(name, "something")
    monkeypatch.setenv("PYTHONPATH", "kept")
    environment = demo.make_environment()
    assert not environment.keys() & set(deciding)
    assert "PYTEST_VERSION" not in environment
    assert environment["PYTHONPATH"] == "kept"


@pytest.mark.parametrize(
    ("output", "summary"),
    [
        ("...\n===== 3 passed in 0.10s =====\n", "3 passed in 0.10s"),
        ("3 passed in 0.10s", "3 passed in 0.10s"),
        (
            "== 1 failed, 2 passed, 1 warning in 71.20s (0:01:11) ==\n\n",
            "1 failed, 2 passed, 1 warning in 71.20s (0:01:11)",
        ),
        ("", "(no output)"),
    ],
)
def test_the_summary_is_the_last_line_without_its_frame(output: str, summary: str) -> None:
    assert demo.find_summary(output) == summary


def test_the_refusal_is_the_message_after_the_traceback() -> None:
    output = 'Traceback:\n  File "x"\nengineroom.errors.DestructiveOperationError: Refused.\n\nWhy: so.\n'
    assert demo.find_refusal(output) == ["engineroom.errors.DestructiveOperationError: Refused.", "", "Why: so."]
    assert demo.find_refusal("Traceback:\nKeyError: 1\n") == []


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("short", ["  | short"]),
        ("", ["  |"]),
        (f"Why: {'because ' * 15}so.", [f"  | Why: {'because ' * 11}because", f"  |      {'because ' * 3}so."]),
        (f"     - {'or ' * 40}", [f"  |      - {'or ' * 30}or", f"  |        {'or ' * 9}".rstrip()]),
        ("x" * 130, [f"  | {'x' * 130}"]),
    ],
    ids=["a short line", "an empty line", "a label", "a dash", "a long word"],
)
def test_long_lines_are_folded_below_their_text(line: str, folded: list[str]) -> None:
    assert demo.quote(f"first\n{line}\nlast").splitlines() == ["  | first", *folded, "  | last"]


def test_a_command_without_an_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MOST_SECONDS", 1)
    with pytest.raises(demo.StepError, match="No end after 1 s") as caught:
        demo.run(tmp_path, "-uc", "print('still here'); import time; time.sleep(60)")
    assert "  | still here" in str(caught.value)


def test_a_seed_that_fails_shows_its_output(tmp_path: Path) -> None:
    project = tmp_path / "project"
    demo.copy_example(project)
    (project / "app" / "seed.py").write_text("raise SystemExit('no dancers today')\n")
    with pytest.raises(demo.StepError, match=r"could not be seeded(?s:.*)no dancers today"):
        demo.seed(project)


def test_help_is_given_and_a_wrong_option_is_an_error(tmp_path: Path) -> None:
    shown = run_demo(BATTLE / "demo.py", tmp_path, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--keep" in shown.stdout
    assert run_demo(BATTLE / "demo.py", tmp_path, "--fast").returncode == 2


def test_missing_packages_are_named_with_the_way_to_install_them(tmp_path: Path) -> None:
    bare = subprocess.run(
        [sys.executable, "-I", "-S", BATTLE / "demo.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert bare.returncode == 2
    assert bare.stdout.startswith("Not installed: engineroom, sqlalchemy, aiosqlite")
    assert f"pip install -r {BATTLE / 'requirements.txt'}" in bare.stdout


def test_every_package_that_the_demo_asks_for_is_in_its_requirements() -> None:
    requirements = (BATTLE / "requirements.txt").read_text().lower().replace("-", "_")
    assert not [name for name in demo.NEEDED if not re.search(rf"^{name}\b", requirements, re.MULTILINE)]


# The demo as a whole


@pytest.mark.slow
def test_the_demo_shows_the_loss_the_protection_and_the_refusal(storage: Path) -> None:
    run = run_demo(BATTLE / "demo.py", storage)
    assert run.returncode == 0, run.stdout + run.stderr
    without, with_engineroom, by_hand, seen = re.split(r"^(?:\d\. .*|What was seen)\n", run.stdout, flags=re.MULTILINE)[
        1:
    ]
    hashes = [re.findall(r"[0-9a-f]{64}", part) for part in (without, with_engineroom, by_hand)]
    assert [len(found) for found in hashes] == [2, 2, 2]
    assert hashes[0][0] != hashes[0][1]
    assert len({*hashes[1], *hashes[2]}) == 1
    assert re.search(r"before +3 +40 +2\n +after +no table +no table +no table\n", without)
    for part in (with_engineroom, by_hand):
        assert re.search(r"before +3 +40 +2\n +after +3 +40 +2\n", part)
    passed = [re.findall(r"\| (\d+) passed in ", part) for part in (without, with_engineroom)]
    assert passed[0] == passed[1] != []
    assert "DestructiveOperationError: Refused to drop" in by_hand
    assert re.search(r"exit status [1-9]", by_hand)
    assert re.findall(r"^  (\w+)", seen, re.MULTILINE) == ["yes"] * 6
    assert not [line for line in run.stdout.splitlines() if len(line) > 110 and "/" not in line]
    assert list(storage.glob("battle-demo-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "what"),
    [
        pytest.param(TRIVIAL, "and the development database is lost", id="no loss to be shown"),
        pytest.param("def test_red():\n    assert 1 == 2\n", "Without engineroom every test passes", id="a red test"),
    ],
)
def test_the_demo_fails_where_it_cannot_show_what_it_claims(tmp_path: Path, suite: str, what: str) -> None:
    run = run_demo(copy_with_suite(tmp_path / "battle", suite), tmp_path / "temporary")
    assert run.returncode == 1, run.stdout + run.stderr
    assert re.search(rf"^  NO +.*{what}", run.stdout, re.MULTILINE)
    assert re.search(r"^  \| .*test session starts", run.stdout, re.MULTILINE)
    assert list((tmp_path / "temporary").glob("battle-demo-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    demo_process = subprocess.Popen(
        [sys.executable, BATTLE / "demo.py"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with demo_process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("battle-demo-*/ordinary/data/battle.db")):
            assert demo_process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        demo_process.send_signal(number)
        assert demo_process.wait(timeout=60) == 128 + number
    assert list(tmp_path.glob("battle-demo-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "exported"),
    [
        pytest.param([], {"APP_ENV": "production"}, id="a shell that says production"),
        pytest.param(
            ["-n", "2"], {"DATABASE_URL": "sqlite+aiosqlite:///{database}"}, id="two workers and an exported URL"
        ),
    ],
)
def test_the_suite_is_green_and_harmless_whatever_the_shell_says(
    storage: Path, options: list[str], exported: dict[str, str]
) -> None:
    project = storage / "project"
    demo.copy_example(project)
    demo.seed(project)
    before = demo.take_snapshot(project / demo.DATABASE)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=project,
        env=demo.make_environment()
        | {name: text.format(database=project / demo.DATABASE) for name, text in exported.items()},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert demo.take_snapshot(project / demo.DATABASE) == before

"""The environment of the process: how it is chosen, what freezes it, and what a test run changes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from engineroom import _lifecycle
from engineroom._environment import ALIASES, Environment, Origin, OriginKind
from engineroom._lifecycle import (
    EnvironmentChoice,
    Frozen,
    calling_module,
    check_environment,
    choose_environment,
    current_environment,
    enter_test_process,
    freeze,
    frozen_by,
    is_test_process,
    is_under_pytest,
)
from engineroom._project import Project, get_project
from engineroom.errors import (
    BootstrapTooLateError,
    EnvironmentChangedError,
    InvalidSettingError,
    UnknownEnvironmentError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ENGINE = "the engine of bind default"


def freeze_now(project: Project, what: str = ENGINE, module: str = "shop.db") -> Environment:
    return freeze(project, what=what, module=module)


# --- The choice --------------------------------------------------------------------------------------------------

FROM_VARIABLE = Origin(OriginKind.VARIABLE, "APP_ENV")
FROM_LOCAL = Origin(OriginKind.FILE, ".env.local")
FROM_FILE = Origin(OriginKind.FILE, ".env")
BY_DEFAULT = Origin(OriginKind.DEFAULT)
NO_FILES: Mapping[str, str] = {}
BOTH_FILES = {".env": "APP_ENV=staging\n", ".env.local": "APP_ENV=production\n"}

CHOICES = {
    "nothing anywhere": ({}, NO_FILES, ("development", BY_DEFAULT, "")),
    "the variable": ({"APP_ENV": "staging"}, NO_FILES, ("staging", FROM_VARIABLE, "staging")),
    "the variable over the files": ({"APP_ENV": "test"}, BOTH_FILES, ("test", FROM_VARIABLE, "test")),
    "the local file over the other": ({}, BOTH_FILES, ("production", FROM_LOCAL, "production")),
    "the file": ({}, {".env": "APP_ENV=staging"}, ("staging", FROM_FILE, "staging")),
    "an empty variable lets the files speak": ({"APP_ENV": ""}, BOTH_FILES, ("production", FROM_LOCAL, "production")),
    "mere space too": ({"APP_ENV": " \t"}, BOTH_FILES, ("production", FROM_LOCAL, "production")),
    "space in a file too": ({}, {".env": "APP_ENV='  '"}, ("development", BY_DEFAULT, "")),
    "an empty file too": ({}, {".env.local": "", ".env": "APP_ENV=prod"}, ("production", FROM_FILE, "prod")),
    "an alias in capitals with space": ({"APP_ENV": " PROD "}, NO_FILES, ("production", FROM_VARIABLE, "PROD")),
    "the files of an environment do not choose one": (
        {},
        {".env.production": "APP_ENV=staging"},
        ("development", BY_DEFAULT, ""),
    ),
    "another variable does not choose": ({"FLASK_ENV": "production"}, NO_FILES, ("development", BY_DEFAULT, "")),
    "a reference in a file": ({"STAGE": "prod"}, {".env": "APP_ENV=${STAGE}"}, ("production", FROM_FILE, "prod")),
}


@pytest.mark.parametrize(("environ", "files", "expected"), CHOICES.values(), ids=CHOICES)
def test_the_environment_is_chosen_by(
    environ: Mapping[str, str], files: Mapping[str, str], expected: tuple[str, Origin, str], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    choice = choose_environment(Project(root=tmp_path), environ)
    assert (choice.environment, choice.origin, choice.word) == expected


@pytest.mark.parametrize("word", [*Environment, *ALIASES])
def test_every_word_is_understood_from_the_variable(word: str, tmp_path: Path) -> None:
    choice = choose_environment(Project(root=tmp_path), {"APP_ENV": word.title()})
    assert choice.environment == ALIASES.get(word, word)


def test_a_project_may_read_another_variable(tmp_path: Path) -> None:
    project = Project(root=tmp_path, environment_variable="FLASK_ENV")
    choice = choose_environment(project, {"FLASK_ENV": "production", "APP_ENV": "staging"})
    assert choice == EnvironmentChoice(Environment.PRODUCTION, Origin(OriginKind.VARIABLE, "FLASK_ENV"), "production")


def test_a_project_may_have_its_own_words(tmp_path: Path) -> None:
    project = Project(root=tmp_path, environments={"ci": Environment.TEST})
    assert choose_environment(project, {"APP_ENV": "CI"}).environment is Environment.TEST
    with pytest.raises(UnknownEnvironmentError, match="APP_ENV does not name an environment") as caught:
        choose_environment(project, {"APP_ENV": "qa"})
    assert "from the variable APP_ENV" in str(caught.value)
    assert "testing, stage, prod, ci" in str(caught.value)


def test_an_unknown_word_in_a_file_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("APP_ENV=qa\n")
    with pytest.raises(UnknownEnvironmentError, match=r"\(from \.env\.local\)"):
        choose_environment(Project(root=tmp_path), {})


def test_a_word_that_is_no_word_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown_by: Callable[[BaseException], str]
) -> None:
    monkeypatch.setenv("APP_ENV", "correct-horse-battery")
    monkeypatch.setenv("SECRET_KEY", "staple")
    for ask in (current_environment, lambda: choose_environment(Project(root=tmp_path), {"APP_ENV": "staple battery"})):
        with pytest.raises(UnknownEnvironmentError) as caught:
            ask()
        shown = shown_by(caught.value)
        assert "battery" not in shown
        assert "staple" not in shown


def test_the_files_are_not_read_where_the_variable_decides(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert choose_environment(Project(root=tmp_path), {"APP_ENV": "prod"}).environment is Environment.PRODUCTION
    with pytest.raises(InvalidSettingError, match="is a directory"):
        choose_environment(Project(root=tmp_path), {})


def test_asking_for_the_environment_freezes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_environment() is Environment.DEVELOPMENT
    monkeypatch.setenv("APP_ENV", "staging")
    assert current_environment() is Environment.STAGING
    assert check_environment(Project(root=tmp_path)).environment is Environment.STAGING
    assert frozen_by() is None


# --- Freezing ----------------------------------------------------------------------------------------------------


def test_the_first_object_freezes_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "staging")
    assert freeze_now(Project(root=tmp_path)) is Environment.STAGING
    assert frozen_by() == Frozen(Environment.STAGING, FROM_VARIABLE, ENGINE, "shop.db")


def test_a_later_object_of_the_same_environment_is_welcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(root=tmp_path)
    freeze_now(project)
    monkeypatch.setenv("APP_ENV", " Dev ")
    assert freeze_now(project, "the engine of bind analytics", "shop.analytics") is Environment.DEVELOPMENT
    assert frozen_by() == Frozen(Environment.DEVELOPMENT, BY_DEFAULT, ENGINE, "shop.db")


def test_a_new_object_after_the_variable_changed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(root=tmp_path)
    (tmp_path / ".env").write_text("APP_ENV=staging\n")
    freeze_now(project)
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(EnvironmentChangedError) as caught:
        freeze_now(project, "the engine of bind analytics", "shop.analytics")
    assert str(caught.value) == (
        "The environment changed from staging to production while the program runs.\n\n"
        "Why: the engine of bind default, made by the module shop.db, froze it as staging (from .env); "
        "APP_ENV now says production (from the variable APP_ENV).\n"
        "Fix: - set APP_ENV before the program starts, and leave it: APP_ENV=production python -m ..., or\n"
        "     - start another process for the environment production.\n"
        "Ref: environment-changed"
    )
    assert current_environment() is Environment.STAGING  # what exists goes on as it is


def test_the_environment_may_change_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(root=tmp_path)
    freeze_now(project)
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(EnvironmentChangedError):
        freeze_now(project)
    monkeypatch.delenv("APP_ENV")
    assert freeze_now(project) is Environment.DEVELOPMENT


def test_an_unusable_environment_freezes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "nonsense")
    with pytest.raises(UnknownEnvironmentError):
        freeze_now(Project(root=tmp_path))
    assert frozen_by() is None


def test_threads_that_come_first_agree(tmp_path: Path) -> None:
    project, barrier, results = Project(root=tmp_path), threading.Barrier(8), []

    def make(number: int) -> None:
        barrier.wait()
        results.append(freeze_now(project, module=f"module_{number}"))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frozen = frozen_by()
    assert results == [Environment.DEVELOPMENT] * 8
    assert frozen is not None
    assert frozen.module.startswith("module_")


def test_threads_that_disagree_make_objects_of_one_environment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[object] = []
    barrier = threading.Barrier(8)
    words = ["production", "staging"] * 4

    def choose(_: Project) -> EnvironmentChoice:
        word = words[int(threading.current_thread().name)]
        return EnvironmentChoice(Environment(word), FROM_VARIABLE, word)

    def look() -> None:
        barrier.wait()  # every thread has chosen, and has seen nothing frozen, before any freezes

    def make() -> None:
        try:
            outcomes.append(freeze_now(Project(root=tmp_path)))
        except EnvironmentChangedError:
            outcomes.append("refused")

    monkeypatch.setattr(_lifecycle, "choose_environment", choose)
    monkeypatch.setattr(_lifecycle, "frozen_by", look)
    threads = [threading.Thread(target=make, name=str(number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    frozen = frozen_by()
    assert frozen is not None
    assert sorted(map(str, outcomes)) == sorted([str(frozen.environment)] * 4 + ["refused"] * 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_knows_what_its_parent_froze(tmp_path: Path) -> None:
    code = """
import os
from pathlib import Path
from engineroom import _lifecycle
from engineroom._project import Project, get_project
project = Project(root=Path.cwd())
os.environ["APP_ENV"] = "staging"
_lifecycle.freeze(project, what="x", module="y")
os.environ["APP_ENV"] = "production"
child = os.fork()
if child == 0:
    try:
        _lifecycle.freeze(project, what="x", module="y")
    except _lifecycle.EnvironmentChangedError:
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "7"


# --- A test process ----------------------------------------------------------------------------------------------


def test_a_test_process_is_test_whatever_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    assert not is_test_process()
    enter_test_process()
    project = Project(root=tmp_path)
    assert is_test_process()
    assert choose_environment(project) == EnvironmentChoice(Environment.TEST, Origin(OriginKind.PLUGIN), "test")
    assert freeze_now(project) is Environment.TEST
    for word in ("staging", "nonsense", ""):
        monkeypatch.setenv("APP_ENV", word)
        assert freeze_now(project) is Environment.TEST
        assert current_environment() is Environment.TEST


def test_a_test_process_reads_no_file_for_its_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    enter_test_process()
    assert freeze_now(Project(root=tmp_path)) is Environment.TEST
    assert current_environment() is Environment.TEST


def test_entering_twice_is_entering_once() -> None:
    enter_test_process()
    enter_test_process()
    assert is_test_process()


def test_what_was_made_for_the_test_environment_may_be_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_ENV", "testing")
    freeze_now(Project(root=tmp_path))
    enter_test_process()
    assert current_environment() is Environment.TEST


@pytest.mark.parametrize("word", ["", "development", "staging", "production"])
def test_what_was_made_for_another_environment_is_too_early(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_ENV", word)
    freeze_now(Project(root=tmp_path), "the settings object shop.config.Settings", "shop.config")
    with pytest.raises(BootstrapTooLateError) as caught:
        enter_test_process()
    message = str(caught.value)
    assert message.startswith("The application was imported before the test environment was selected.")
    assert "the settings object shop.config.Settings was made by the module shop.config" in message
    assert f"for the environment {word or 'development'}" in message
    assert "import shop.config in a conftest.py or in a test" in message
    assert "pytest -p engineroom -p shop.config" in message
    assert "APP_ENV=test pytest" in message
    assert is_test_process()  # closed by default: nothing of another environment is made after this


def test_the_advice_names_the_variable_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.engineroom]\nenvironment_variable = "FLASK_ENV"\n')
    freeze_now(get_project())
    with pytest.raises(BootstrapTooLateError, match="FLASK_ENV=test pytest"):
        enter_test_process()


def test_an_object_that_is_just_being_made_does_not_slip_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(_: Project) -> EnvironmentChoice:
        enter_test_process()  # between this thread's choice and its freezing
        return EnvironmentChoice(Environment.DEVELOPMENT, BY_DEFAULT, "")

    monkeypatch.setattr(_lifecycle, "choose_environment", choose)
    with pytest.raises(BootstrapTooLateError):
        freeze_now(Project(root=tmp_path))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"PYTEST_VERSION": "9.2"}, True),
        ({"PYTEST_VERSION": ""}, True),
        ({"PYTEST_CURRENT_TEST": "x"}, False),
    ],
    ids=["nothing", "a version", "an empty version", "another variable of pytest"],
)
def test_pytest_is_seen_by_its_variable(environ: Mapping[str, str], expected: bool) -> None:
    assert is_under_pytest(environ) is expected


def test_pytest_is_seen_here() -> None:
    assert is_under_pytest()


# --- Who called --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop.db", "shop.db"),
        ("engineroom", __name__),
        ("engineroom._engines", __name__),
        ("pydantic.main", __name__),
        ("pydantic_settings.main", __name__),
        ("engineroom_extras", "engineroom_extras"),
        ("pydantic_shop", "pydantic_shop"),
    ],
)
def test_the_caller_is_the_nearest_module_outside(name: str, expected: str) -> None:
    scope = {"__name__": name, "calling_module": calling_module}
    exec("def call(): return calling_module()", scope)  # noqa: S102 - a module of that name
    call = scope["call"]
    assert callable(call)
    assert call() == expected


def test_the_caller_is_told_even_where_all_frames_are_ours() -> None:
    code = "import engineroom._lifecycle as own\n__name__ = 'engineroom'\nprint(own.calling_module())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "engineroom"


@pytest.mark.parametrize("kind", [EnvironmentChangedError, BootstrapTooLateError])
def test_the_errors_of_a_lifecycle_cross_a_process_boundary(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze_now(Project(root=tmp_path))
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(kind) as caught:
        enter_test_process() if kind is BootstrapTooLateError else freeze_now(Project(root=tmp_path))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - our own

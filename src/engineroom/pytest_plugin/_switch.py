"""The switch: makes this process a test process before anything of the project is imported.

Selects the test environment, begins the run or joins the one that an xdist worker belongs to, and raises the fence.
Imports the standard library only: it runs before each pytest run, also where no database is ever touched.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engineroom import _memory, _project, _run_files, _test_process
from engineroom._run_files import ROLE_VARIABLE
from engineroom.testing import fence
from engineroom.testing.ledger import FILE_NAME, WORKER_VARIABLE, Ledger, close_child_ledger, close_ledger, open_ledger
from engineroom.testing.proof import Proof, find_development_databases, find_development_urls

if TYPE_CHECKING:
    from threading import Thread

    from engineroom._project import Project
    from engineroom.testing._database_files import Terms
    from engineroom.testing.baseline import Baseline

    Place = tuple[object, ...]

__all__ = ["Run", "end_run", "free_temporary", "start_run", "watch_servers"]

DRIVERS = frozenset({"sqlite3", "psycopg", "psycopg2", "asyncpg", "pymysql", "aiomysql", "asyncmy"})
TEMPORARY_VARIABLE = "PYTEST_DEBUG_TEMPROOT"


class Run:
    """One run of pytest, as this process sees it.

    Args:
        project: The project that is tested.
        ledger: What was refused.
        proof: What is known of the development databases.
        replaced: The value of the environment variable that the run replaced, if there was any.
        is_worker: Whether this is an xdist worker.
        saved: The variables that the run set, as they were before; None for those that were not there.
        outer: The project and the terms of the fence before this run, if a run was going on that this one is a part of.

    Attributes:
        baselines: The baselines of its databases that have a schema, by what tells one database from another.
        threads: The threads that the test which is running did not start.
        header: What was told of it before the tests were collected.
        is_over: Whether it has ended.
    """

    def __init__(  # noqa: PLR0913  # a named tuple would take ten times as long to define
        self,
        project: Project,
        ledger: Ledger,
        proof: Proof,
        *,
        replaced: str | None,
        is_worker: bool,
        saved: dict[str, str | None],
        outer: tuple[Project, Terms] | None,
    ) -> None:
        """Keep what is known of it."""
        self.project = project
        self.ledger = ledger
        self.proof = proof
        self.replaced = replaced
        self.is_worker = is_worker
        self.saved = saved
        self.outer = outer
        self.baselines: dict[Place, Baseline] = {}
        self.threads: set[Thread] = set()
        self.header: list[str] = []
        self.is_over = False


def start_run(root: Path) -> Run:
    """Select the test environment and raise the fence.

    Args:
        root: Where the project is searched from: pytest's rootdir.

    Raises:
        BootstrapTooLateError: Something was made from another environment already, or reached its database.
        InvalidSettingError: ``[tool.engineroom]`` in ``pyproject.toml`` cannot be used.
    """
    terms = fence.terms()
    # A pytest that a test starts, and an xdist worker, are children of the run until their own plugin is loaded.
    outer = None if terms is None or close_child_ledger() else (_project.get_project(), terms)
    _project.set_root(root)
    project = _project.get_project()
    is_worker = _joins_a_run()
    databases = [] if is_worker else find_development_databases(project)
    _test_process.enter_test_process()
    if outer is None and not DRIVERS.isdisjoint(sys.modules):
        _check_early_connections(project)
    variables = (project.environment_variable, _run_files.RUN_VARIABLE, ROLE_VARIABLE)
    saved = {name: os.environ.get(name) for name in variables}
    os.environ[project.environment_variable] = "test"
    os.environ[ROLE_VARIABLE] = "worker" if is_worker else "controller"
    directory = _memory.run_directory() if is_worker else _memory.start_run()
    _run_files.start_run(_temporary_directories())
    ledger = open_ledger(directory / FILE_NAME)
    fence.raise_fence(project)
    _tell_children(ledger)
    proof = Proof(directory)
    proof.watch(databases)
    proof.join() if is_worker else proof.share()
    replaced = saved[project.environment_variable]
    return Run(project, ledger, proof, replaced=replaced, is_worker=is_worker, saved=saved, outer=outer)


def watch_servers(run: Run) -> None:
    """Read the counters of the development databases on servers of this machine for the first time."""
    from engineroom._verdict import Facts, judge  # noqa: PLC0415  # most runs reach no server

    def is_disposable(backend: str, name: str) -> bool:
        return judge(Facts(backend, name), run.project.test_names).disposable

    run.proof.servers.watch(find_development_urls(run.project), is_disposable)


def _check_early_connections(project: Project) -> None:
    from engineroom.testing._database_files import Terms  # noqa: PLC0415  # most runs have no driver so early
    from engineroom.testing._early import check_early_connections  # noqa: PLC0415

    check_early_connections(Terms(project.root, project.test_names, project.fence_allow))


def end_run(run: Run) -> None:
    """Put the process environment back; the process stays a test process, and the fence stays up, until it exits."""
    run.is_over = True
    run.ledger.alarm = lambda: None
    close_ledger(run.ledger)
    if run.outer is not None:
        project, terms = run.outer
        _project.set_root(project.root)
        fence.resume_fence(terms)
        _tell_children(run.ledger)
    for name, value in run.saved.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def free_temporary(run: Run, directory: str) -> None:
    """Let through what lies in the subdirectories of a directory that pytest empties before each run."""
    fence.allow_temporary(directory)
    _tell_children(run.ledger)


def _tell_children(ledger: Ledger) -> None:
    """Tell them the terms that hold now; a run inside another one shares its directory."""
    terms = fence.terms()
    if terms is not None and ledger.path is not None:
        fence.tell_children(ledger.path.parent, terms)


def _joins_a_run() -> bool:
    """Tell whether this is an xdist worker; a pytest that a test in a worker starts inherits the worker's variable."""
    return (
        WORKER_VARIABLE in os.environ
        and os.environ.get(ROLE_VARIABLE) == "controller"
        and _run_files.is_run_directory(Path(os.environ.get(_run_files.RUN_VARIABLE, "")))
    )


def _temporary_directories() -> list[Path]:
    places = [tempfile.gettempdir(), os.environ.get(TEMPORARY_VARIABLE, "")]
    return [Path(place) for place in places if place]

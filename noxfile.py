"""Every check and every demonstration of the project, as one command each: ``nox -s NAME``."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "typing", "tests"]

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
SQLALCHEMY = {"2.0": "SQLAlchemy[asyncio]>=2.0.46,<2.1", "2.1": "SQLAlchemy[asyncio]>=2.1,<2.2"}


def install(session: nox.Session, *groups: str, constraint: str = "") -> None:
    """Install the package as a user would, and dependency groups beside it.

    The groups are read here: the pip that comes with a Python may be too old to know ``--group``.
    """
    extra = [constraint] if constraint else []
    session.install(".", *nox.project.dependency_groups(PROJECT, *groups), *extra)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on this Python and measure the coverage with branches."""
    install(session, "tests")
    env = {"COVERAGE_FILE": str(session.cache_dir / ".coverage")}
    session.run("coverage", "erase", env=env)
    session.run("coverage", "run", "-m", "pytest", *(session.posargs or ["-n", "auto"]), env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    # A part of the tests covers a part of the code: the threshold is for all of them.
    session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []), env=env)


@nox.session(python=PYTHONS)
@nox.parametrize("sqlalchemy", list(SQLALCHEMY))
def tests_versions(session: nox.Session, sqlalchemy: str) -> None:
    """Run the tests on every supported Python and SQLAlchemy that this machine has."""
    install(session, "tests", constraint=SQLALCHEMY[sqlalchemy])
    session.run("pytest", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Lose a development database to a test run, then run the same tests with engineroom and lose nothing."""
    session.install(".", "-r", "examples/battle/requirements.txt")
    session.run("python", "examples/battle/demo.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what the guard costs on statements that destroy nothing, and write the figures to benchmarks/results."""
    install(session, "tests")
    session.run("python", "benchmarks/hot_path.py", *session.posargs)


@nox.session
def bench_isolation(session: nox.Session) -> None:
    """Compare whole pytest runs with a savepoint conftest and with peers, and write figures and a plot."""
    install(session, "tests")
    session.install("django", "pytest-django", "pytest-sqla")
    session.run("python", "benchmarks/isolation.py", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the judge and the guard in small ways, and see whether a test notices: ``-- _verdict`` for one module."""
    install(session, "mutation")
    session.run("python", "mutation/run.py", *session.posargs)


@nox.session
def bench_plugin(session: nox.Session) -> None:
    """Measure what the plugin costs a run of pytest, and write the figures to benchmarks/results."""
    session.install(".", "pytest")
    bare = session.cache_dir / "without-engineroom"
    session.run("python", "-m", "venv", str(bare))
    python = str(bare / "bin" / "python")
    needed = PROJECT["project"]["dependencies"]
    session.run(python, "-m", "pip", "install", "--quiet", "pytest", *needed, external=True)
    session.run("python", "benchmarks/plugin.py", "--without", python, *session.posargs)


@nox.session
def neighbours(session: nox.Session) -> None:
    """Run the suites of well-known packages with the plugin and without it: the same results, and no refusal."""
    session.install("pip")
    home = session.cache_dir / "neighbours"
    session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(home / "wheel"), ".")
    wheel = max((home / "wheel").glob("engineroom-*.whl"), key=lambda path: path.stat().st_mtime)
    session.run("python", "-m", "neighbours.run", "--wheel", str(wheel), "--home", str(home), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types inside (mypy, strict) and what a user's type checker sees (pyright)."""
    install(session, "typing")
    session.run("mypy")
    session.run("pyright", "tests/typing")
    session.run("pyright", "--verifytypes", "engineroom", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning or a dangling reference is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "-n", "-q", "-b", "html", "docs", "docs/_build/html", *session.posargs)
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)  # two fragments of one name collide

"""The messages for a bind without a database that may be used."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from sqlalchemy import URL

from engineroom._address import fit_name, mask_url
from engineroom._binds.database_url import EXAMPLE, test_variable_of, variable_of
from engineroom._layers import file_names
from engineroom._verdict import SERVER_BACKENDS, Facts, Verdict, judge
from engineroom.errors import InvalidSettingError, MissingSettingError, UnsafeTestDatabaseError

if TYPE_CHECKING:
    from engineroom._binds.request import Request, Source

__all__ = ["NAME_OPTIONS", "missing", "two_databases", "unsafe_application", "unsafe_choice"]

NAME_OPTIONS = ("dbname", "database", "db")
"""The options of drivers that hold the name of a database."""


def missing(request: Request) -> MissingSettingError:
    """Return the error for a bind without any URL."""
    variable, environment = variable_of(request.bind), request.environment
    return MissingSettingError(
        f"{variable} has no value.",
        why=f"{request.project.environment_variable} is {environment}, no URL was passed, and neither the process "
        f"environment nor {', '.join(file_names(environment))} sets it; only development has a default.",
        fix=[
            f"set it in the process environment: export {variable}={EXAMPLE}",
            f"write it in .env.{environment}.local, which is not for git: {variable}={EXAMPLE}",
        ],
    )


def two_databases(request: Request, configured: Source, first: URL, second: URL) -> InvalidSettingError:
    """Return the error for two explicit URLs where one test database stands for the whole bind."""
    return InvalidSettingError(
        f'Two databases are used under the bind "{request.bind}".',
        why=f"{configured} stands for the whole bind, and these are two different URLs that were passed for it: "
        f"{mask_url(first)} and {mask_url(second)}.",
        fix=[f'give one of them a bind of its own: get_engine(url, bind="other"), with {test_variable_of("other")}'],
    )


def unsafe_choice(request: Request, configured: Source, verdict: Verdict) -> UnsafeTestDatabaseError:
    """Return the refusal of a database that was configured for tests and is not disposable."""
    return UnsafeTestDatabaseError(
        f"{configured} does not name a test database.",
        why=f"it is {mask_url(configured.url)}, and {verdict.reason}.",
        fix=_ways_out(request, configured.url),
    )


def unsafe_application(
    request: Request, application: Source, verdict: Verdict, twin: Verdict | None
) -> UnsafeTestDatabaseError:
    """Return the refusal of the application's own database, which has no test twin, or none that is disposable."""
    if twin is not None:
        no_twin = f"of its test twin, {twin.reason}"
    elif verdict.database:
        no_twin = "a test twin is made only of a database on this machine"
    else:
        no_twin = "without its name no test twin can be made"
    return UnsafeTestDatabaseError(
        f'There is no test database for the bind "{request.bind}".',
        why=f"{application} is {mask_url(application.url)}; {verdict.reason}; {no_twin}.",
        fix=_ways_out(request, application.url),
    )


def _ways_out(request: Request, url: URL) -> list[str]:
    variable = test_variable_of(request.bind)
    in_memory = f"for a private SQLite database in memory: {variable}=sqlite://"
    suggested = _suggest(request, url)
    if suggested is None:
        return [f"add a line to .env.test that names a test database, or {in_memory}"]
    return [f"add this line to .env.test: {variable}={mask_url(suggested)}", f"add this line, {in_memory}"]


def _suggest(request: Request, url: URL) -> URL | None:
    """Return the URL of a test database beside this one; None where we do not know how to name one."""
    facts, _ = request.judge(url, {})
    if facts.backend not in SERVER_BACKENDS | {"sqlite"}:
        return None
    names = [fit_name(f"test_{facts.database or 'shop'}", facts.backend)]
    # A pattern with another wildcard than the star says too little to make a name of it.
    patterns = [pattern for pattern in request.project.test_names if not set(pattern) & set("?[")]
    names += [pattern.replace("*", facts.database or "shop") for pattern in patterns]
    name = next((name for name in names if judge(Facts(facts.backend, name), request.project.test_names)), None)
    if name is None:
        return None
    if facts.backend == "sqlite":
        directory = PurePath((url.database or "").removeprefix("file:")).parent
        return URL.create(url.drivername, database=str(directory / name))
    return url.difference_update_query(NAME_OPTIONS).set(database=name)

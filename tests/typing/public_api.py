"""What a user's type checker infers from the public names. Never executed: mypy and pyright read it.

A line that must be an error carries ``type: ignore``; mypy's strict mode reports one that is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import engineroom
from engineroom import (
    DestructiveOperationError,
    EngineroomError,
    Environment,
    Origin,
    RefusalError,
    Settings,
    Verdict,
    allow_destructive,
    current_environment,
    database_url,
    dispose_async_engines,
    dispose_engines,
    get_async_engine,
    get_engine,
    get_settings,
    guard,
    verdict,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class AppSettings(Settings):
    page_size: int = 20


def takes_block(block: AbstractContextManager[object]) -> None: ...
def takes_async_block(block: AbstractAsyncContextManager[object]) -> None: ...
def takes_root(error: EngineroomError) -> None: ...
def takes_refusal(error: RefusalError) -> None: ...
def takes_text(text: str) -> None: ...


def make_url() -> URL:
    return database_url()


def engines_of_the_factory(url: URL) -> None:
    assert_type(get_engine(), "Engine")
    assert_type(get_engine("sqlite://"), "Engine")
    assert_type(get_engine(url, pool_pre_ping=True, connect_args={"timeout": 5}), "Engine")
    assert_type(get_engine(make_url, bind="analytics"), "Engine")
    assert_type(get_async_engine(), "AsyncEngine")
    assert_type(get_async_engine("sqlite+aiosqlite://", echo=True), "AsyncEngine")
    get_engine(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    get_engine("sqlite://", "analytics")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def questions(url: URL) -> None:
    assert_type(database_url(), "URL")
    assert_type(database_url("analytics"), "URL")
    assert_type(current_environment(), Environment)
    assert_type(verdict(url), Verdict)
    assert_type(verdict("sqlite://").disposable, bool)
    assert_type(verdict("sqlite://").rule, str)
    assert_type(verdict("sqlite://").reason, str)
    assert_type(verdict("sqlite://").database, str)


def targets_of_a_verdict(
    engine: Engine, async_engine: AsyncEngine, connection: Connection, async_connection: AsyncConnection
) -> None:
    for target in (engine, async_engine, connection, async_connection):
        assert_type(verdict(target), Verdict)


def guarded(engine: Engine, async_engine: AsyncEngine) -> None:
    assert_type(guard(engine), "Engine")
    assert_type(guard(async_engine), "AsyncEngine")
    guard("sqlite://")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def permits(engine: Engine, async_engine: AsyncEngine) -> None:
    permit = allow_destructive(engine, database="shop.db", reason="the table moved")
    with permit:
        pass
    async with allow_destructive(
        async_engine, database="shop.db", reason="the table moved", operations=["drop table"], objects={"users"}
    ):
        pass
    takes_block(permit)
    takes_async_block(permit)
    allow_destructive(engine, database="shop.db")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def settings_class() -> None:
    settings = get_settings(AppSettings)
    assert_type(settings, AppSettings)
    assert_type(settings.page_size, int)
    assert_type(settings.app_env, Environment)
    assert_type(settings.origin("page_size"), Origin)


async def ends() -> None:
    dispose_engines()
    await dispose_async_engines()


def errors(error: DestructiveOperationError) -> None:
    takes_root(error)
    takes_refusal(error)
    assert_type(error.code, str)
    assert_type(error.fix, tuple[str, ...])


def environments() -> None:
    takes_text(engineroom.Environment.TEST)

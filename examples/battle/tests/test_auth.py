"""Passwords, tokens, accounts."""

from datetime import timedelta

import pytest

from app.db.database import async_session_maker
from app.errors import AuthenticationError, ConflictError, RuleError
from app.models import Role, User
from app.security import hash_password, is_password_correct, issue_token, read_token
from app.services.accounts import AccountService
from tests.builders import PASSWORD, PASSWORD_HASH, add_user


def test_a_password_is_recognised_by_its_hash() -> None:
    assert is_password_correct(PASSWORD, PASSWORD_HASH)
    assert not is_password_correct(PASSWORD + " ", PASSWORD_HASH)
    assert PASSWORD not in PASSWORD_HASH


def test_equal_passwords_have_different_hashes() -> None:
    assert hash_password(PASSWORD) != PASSWORD_HASH


@pytest.mark.parametrize("stored", ["", "plain$YQ$YQ"])
def test_no_password_fits_a_broken_hash(stored: str) -> None:
    assert not is_password_correct("", stored)


def test_a_token_names_its_user() -> None:
    assert read_token(issue_token(42)) == 42


@pytest.mark.parametrize("forged", ["", "x{token}", "{token}x", "{token}é"])
def test_a_forged_token_is_refused(forged: str) -> None:
    with pytest.raises(AuthenticationError, match="not valid"):
        read_token(forged.format(token=issue_token(1)))


def test_a_token_expires() -> None:
    with pytest.raises(AuthenticationError, match="expired"):
        read_token(issue_token(1, lifetime=timedelta(seconds=-1)))


async def test_a_new_account_can_log_in() -> None:
    async with async_session_maker() as session:
        accounts = AccountService(session)
        user = await accounts.open_account("Ana@example.org", PASSWORD, Role.STAFF)
        token = await accounts.log_in("ana@example.ORG", PASSWORD)
        assert await accounts.identify(token) is user
    async with async_session_maker() as session:
        assert (await session.get_one(User, user.id)).password_hash.startswith("scrypt$")


async def test_an_email_has_one_account() -> None:
    async with async_session_maker() as session:
        await add_user(session, "ana@example.org")
        with pytest.raises(ConflictError):
            await AccountService(session).open_account("ANA@example.org", PASSWORD, Role.STAFF)


async def test_a_short_password_is_refused() -> None:
    async with async_session_maker() as session:
        with pytest.raises(RuleError, match="at least 10 characters"):
            await AccountService(session).open_account("ana@example.org", "secret", Role.STAFF)


@pytest.mark.parametrize(("email", "password"), [("judge@example.org", "wrong"), ("nobody@example.org", PASSWORD)])
async def test_a_failed_login_does_not_tell_what_was_wrong(email: str, password: str) -> None:
    async with async_session_maker() as session:
        await add_user(session, "judge@example.org")
        with pytest.raises(AuthenticationError, match=r"^Email or password is wrong\.$"):
            await AccountService(session).log_in(email, password)


async def test_a_closed_account_is_locked_out() -> None:
    async with async_session_maker() as session:
        user = await add_user(session)
        accounts = AccountService(session)
        token = await accounts.log_in(user.email, PASSWORD)
        await accounts.close_account(user.id)
        with pytest.raises(AuthenticationError):
            await accounts.log_in(user.email, PASSWORD)
        with pytest.raises(AuthenticationError, match="closed"):
            await accounts.identify(token)

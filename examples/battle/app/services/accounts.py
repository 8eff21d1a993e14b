"""Who may log in, and who is asking."""

import asyncio
import secrets

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import AuthenticationError, ConflictError, RuleError
from app.models import Role, User
from app.repositories import UserRepository
from app.security import hash_password, is_password_correct, issue_token, read_token

SHORTEST_PASSWORD = 10
NOBODYS_HASH = hash_password(secrets.token_hex())


class AccountService:
    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.users = UserRepository(session)

    async def open_account(self, email: str, password: str, role: Role) -> User:
        """Let somebody log in from now on."""
        if len(password) < SHORTEST_PASSWORD:
            raise RuleError(f"A password has at least {SHORTEST_PASSWORD} characters.")
        if await self.users.find_by_email(email):
            raise ConflictError(f"{email} has an account already.")
        # Hashing is slow by design, so it runs in a thread and the event loop stays free.
        password_hash = await asyncio.to_thread(hash_password, password)
        user = await self.users.add(User(email=email.lower(), password_hash=password_hash, role=role))
        await self.session.commit()
        return user

    async def close_account(self, user_id: int) -> None:
        """Lock somebody out; what they did stays."""
        user = await self.users.get(user_id)
        user.is_active = False
        await self.session.commit()

    async def log_in(self, email: str, password: str) -> str:
        """Return a token for the owner of this email and password.

        A wrong email gives the same error as a wrong password, after the same time: no stranger learns who is known.
        """
        user = await self.users.find_by_email(email)
        stored = user.password_hash if user else NOBODYS_HASH
        if not await asyncio.to_thread(is_password_correct, password, stored) or user is None or not user.is_active:
            raise AuthenticationError("Email or password is wrong.")
        return issue_token(user.id)

    async def identify(self, token: str) -> User:
        """Return the user whom a token names."""
        user = await self.session.get(User, read_token(token))
        if user is None or not user.is_active:
            raise AuthenticationError("The account is closed.")
        return user

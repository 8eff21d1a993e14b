"""What endpoints ask for: a session, and who is asking."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import get_session
from app.errors import AuthenticationError, NotAllowedError
from app.models import Role, User
from app.services.accounts import AccountService

Session = Annotated[AsyncSession, Depends(get_session)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def get_current_user(session: Session, bearer: Bearer) -> User:
    """Return the user whose token came with the request."""
    if bearer is None:
        raise AuthenticationError("Log in first.")
    return await AccountService(session).identify(bearer.credentials)


CurrentUser = Annotated[User, Depends(get_current_user)]


def require(*roles: Role) -> Callable[[User], Coroutine[Any, Any, User]]:
    """Make a dependency that lets users of these roles pass, and administrators always."""

    async def require_role(user: CurrentUser) -> User:
        if user.role not in (*roles, Role.ADMIN):
            raise NotAllowedError(f"This is for {', '.join(roles) or Role.ADMIN} only.")
        return user

    return require_role


Admin = Annotated[User, Depends(require())]
Staff = Annotated[User, Depends(require(Role.STAFF))]

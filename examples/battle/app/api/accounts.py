"""Logging in."""

from fastapi import APIRouter

from app.api.dependencies import CurrentUser, Session
from app.models import User
from app.schemas import Credentials, Token, UserOut
from app.services.accounts import AccountService

router = APIRouter(tags=["accounts"])


@router.post("/login")
async def log_in(credentials: Credentials, session: Session) -> Token:
    return Token(access_token=await AccountService(session).log_in(credentials.email, credentials.password))


@router.get("/me", response_model=UserOut)
async def show_me(user: CurrentUser) -> User:
    return user

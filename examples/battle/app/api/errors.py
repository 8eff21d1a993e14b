"""Which HTTP status each error of the domain becomes."""

from fastapi import FastAPI, Request, status
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError

from app.errors import AuthenticationError, ConflictError, NotAllowedError, NotFoundError, RuleError

STATUS = {
    AuthenticationError: status.HTTP_401_UNAUTHORIZED,
    NotAllowedError: status.HTTP_403_FORBIDDEN,
    NotFoundError: status.HTTP_404_NOT_FOUND,
    ConflictError: status.HTTP_409_CONFLICT,
    RuleError: status.HTTP_400_BAD_REQUEST,
}


def add_error_handlers(app: FastAPI) -> None:
    """Answer the errors of the domain with their status and their message."""
    for error in STATUS:
        app.add_exception_handler(error, answer)
    app.add_exception_handler(IntegrityError, answer_conflict)


async def answer(_request: Request, error: Exception) -> JSONResponse:
    code = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"detail": str(error)}, code)


async def answer_conflict(_request: Request, _error: Exception) -> JSONResponse:
    """Answer for two requests that passed the same check at the same time: the database let one of them through."""
    return JSONResponse({"detail": "Somebody else was faster."}, status.HTTP_409_CONFLICT)

"""Hashed passwords and signed tokens, from the standard library alone.

A stored password reads ``scrypt$<salt>$<digest>``, a token ``<payload>.<signature>``; the parts are URL-safe base64.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from datetime import timedelta

from app.config import SECRET_KEY, TOKEN_LIFETIME
from app.errors import AuthenticationError


def hash_password(password: str) -> str:
    """Hash a password with a salt of its own."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_encode(salt)}${_encode(_digest(password, salt))}"


def is_password_correct(password: str, stored: str) -> bool:
    """Tell whether this is the password whose hash was stored."""
    scheme, _, rest = stored.partition("$")
    salt, _, digest = rest.partition("$")
    if scheme != "scrypt" or not salt or not digest:
        return False
    return hmac.compare_digest(_digest(password, _decode(salt)), _decode(digest))


def issue_token(user_id: int, *, lifetime: timedelta = TOKEN_LIFETIME) -> str:
    """Sign a token that says who the bearer is, and until when."""
    payload = _encode(json.dumps({"user": user_id, "expires": time.time() + lifetime.total_seconds()}).encode())
    return f"{payload}.{_sign(payload)}"


def read_token(token: str) -> int:
    """Return the id of the user whom a token names.

    Raises:
        AuthenticationError: The token was not signed by us, or has expired.
    """
    payload, _, signature = token.partition(".")
    if not hmac.compare_digest(_sign(payload).encode(), signature.encode()):
        raise AuthenticationError("The token is not valid.")
    claims = json.loads(_decode(payload))
    if claims["expires"] <= time.time():
        raise AuthenticationError("The token has expired.")
    return int(claims["user"])


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


def _sign(payload: str) -> str:
    return _encode(hmac.new(SECRET_KEY.encode(), payload.encode(), hashlib.sha256).digest())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

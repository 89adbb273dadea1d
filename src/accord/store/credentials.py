"""Secrets and how they are kept: passwords as argon2id, tokens as SHA-256, never themselves."""

from __future__ import annotations

import hashlib
import secrets
import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from accord.errors import AccordError

MIN_PASSWORD_CHARS, MAX_PASSWORD_CHARS = 10, 500
MAX_NAME_CHARS = 80

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's password storage cheat sheet: argon2id, 19 MiB, two passes."""
_busy = threading.BoundedSemaphore(2)
"""A crowd at the door takes 2 x 19 MiB, not 40 x 19."""


class AccountError(AccordError, ValueError):
    """What a person asked of the accounts cannot be done; the message is meant for them."""


def new_token() -> str:
    """A secret of 256 bits, safe in a link."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token. It is random, so a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def clean_name(name: str) -> str:
    """A name as it is shown: one line, no spaces around it, no invisible signs.

    Raises:
        AccountError: nothing is left, or it is too long.
    """
    kept = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in name)
    cleaned = " ".join(unicodedata.normalize("NFC", kept).split())
    if not 1 <= len(cleaned) <= MAX_NAME_CHARS:
        raise AccountError(f"A name has 1 to {MAX_NAME_CHARS} characters.")
    return cleaned


def name_key(name: str) -> str:
    """What two names must differ in: case, width and accents' encoding do not count."""
    return unicodedata.normalize("NFKC", clean_name(name).casefold())[:200]


def hash_password(password: str) -> str:
    """The argon2id hash to keep; takes about 30 ms on purpose.

    Raises:
        AccountError: too short, too long.
    """
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise AccountError(
            f"A password has at least {MIN_PASSWORD_CHARS} characters; four unrelated words make a "
            "good one."
        )
    with _busy:
        return _hasher.hash(_bytes(password))


def password_matches(kept: str | None, password: str) -> bool:
    """Whether a password fits its hash; as slow when there is none, so that nothing is told."""
    try:
        with _busy:
            return _hasher.verify(kept or _nobody(), _bytes(password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    return _hasher.hash(secrets.token_bytes(32))


def _bytes(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")

"""Secrets: what a name may be, how names are told apart, what is kept of passwords and tokens."""

from __future__ import annotations

import hashlib

import pytest

from accord.errors import AccordError
from accord.store import credentials
from accord.store.credentials import (
    MAX_NAME_CHARS,
    MAX_PASSWORD_CHARS,
    MIN_PASSWORD_CHARS,
    AccountError,
    clean_name,
    hash_password,
    name_key,
    new_token,
    password_matches,
    token_hash,
)


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least argon2 that is still argon2."""
    quick = credentials.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(credentials, "_hasher", quick)
    credentials._nobody.cache_clear()


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("Ada", "Ada"),
        ("  Ada \t Lovelace\n", "Ada Lovelace"),
        ("Ada\u200bLovelace", "Ada Lovelace"),
        ("\u202eAda", "Ada"),
        ("Zoe\u0308", "Zoë"),
        ("山田 太郎", "山田 太郎"),
        ("A" * MAX_NAME_CHARS, "A" * MAX_NAME_CHARS),
    ],
)
def test_a_name_is_one_clean_line(typed: str, shown: str) -> None:
    assert clean_name(typed) == shown
    assert clean_name(shown) == shown


@pytest.mark.parametrize("name", ["", "  ", "\u200b\u202e", "\n\t", "A" * (MAX_NAME_CHARS + 1)])
def test_a_name_that_cannot_be_says_what_can(name: str) -> None:
    with pytest.raises(AccountError, match=r"^A name has 1 to 80 characters\.$"):
        clean_name(name)
    with pytest.raises(AccountError):
        name_key(name)


@pytest.mark.parametrize(("one", "other"), [("Ada", "Adam"), ("Zoe", "Zoë"), ("Ada L", "AdaL")])
def test_names_that_differ_to_the_eye_have_different_keys(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_width_and_case_do_not_tell_names_apart() -> None:
    assert name_key("\uff21da") == name_key("ADA") == name_key("ada")


def test_a_key_never_outgrows_its_column() -> None:
    # Case folding and compatibility forms make some signs many: this one becomes eighteen.
    assert len(name_key("\ufdfa" * MAX_NAME_CHARS)) == 200


@pytest.mark.parametrize("length", [0, MIN_PASSWORD_CHARS - 1, MAX_PASSWORD_CHARS + 1])
def test_a_password_of_the_wrong_length_is_refused_with_advice(length: int) -> None:
    with pytest.raises(AccountError, match="at least 10 characters; four unrelated words"):
        hash_password("x" * length)


@pytest.mark.parametrize("length", [MIN_PASSWORD_CHARS, MAX_PASSWORD_CHARS])
def test_passwords_at_the_limits_are_taken(length: int) -> None:
    kept = hash_password("ü" * length)
    assert password_matches(kept, "ü" * length)
    assert not password_matches(kept, "ü" * (length - 1))


def test_the_keyboard_that_typed_a_password_does_not_matter() -> None:
    kept = hash_password("caf\u00e9 au lait")
    assert password_matches(kept, "cafe\u0301 au lait")
    assert not password_matches(kept, "cafe au lait")


def test_the_same_password_is_kept_differently_each_time() -> None:
    assert hash_password("four unrelated words") != hash_password("four unrelated words")


def test_half_a_surrogate_is_a_wrong_password_not_a_crash() -> None:
    kept = hash_password("four unrelated words")
    assert not password_matches(kept, "\ud800" * 12)
    assert password_matches(hash_password("\ud800" * 12), "\ud800" * 12)
    assert len(token_hash("\ud800")) == 64


@pytest.mark.parametrize("kept", [None, "", "rubbish", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"])
def test_nothing_fits_a_hash_that_is_none(kept: str | None) -> None:
    assert not password_matches(kept, "four unrelated words")
    assert not password_matches(kept, "")


def test_tokens_are_long_and_fit_in_a_link() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(len(token) == 43 for token in tokens)
    assert all(c.isalnum() or c in "-_" for token in tokens for c in token)
    token = tokens.pop()
    assert token_hash(token) == hashlib.sha256(token.encode()).hexdigest()


def test_an_account_error_is_for_people_and_for_programs() -> None:
    assert issubclass(AccountError, AccordError)
    assert issubclass(AccountError, ValueError)

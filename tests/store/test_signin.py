"""Sessions, tokens and the limits on guessing, as time goes by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from accord.store import credentials, people, schema, signin
from accord.store.columns import new_id
from accord.store.credentials import AccountError
from accord.store.database import Store, open_store
from accord.store.people import Account, create_account
from accord.store.signin import LoginError, LoginLimitError

PASSWORD = "four unrelated words"
Move = Callable[[float], None]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the file, with an owner."""
    with open_store(tmp_path_factory.mktemp("signin") / "studio.db") as opened:
        create_account(opened, "The Owner", "owner")
        yield opened


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least argon2 that is still argon2."""
    quick = credentials.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(credentials, "_hasher", quick)
    credentials._nobody.cache_clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Moves the sign-in's clock on by so many seconds."""
    ahead = [0.0]
    true_now = signin.now
    monkeypatch.setattr(signin, "now", lambda: true_now() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += seconds

    return move


@pytest.fixture
def ada(studio: Store) -> Account:
    """A new person with the password."""
    return create_account(studio, f"Ada {new_id()}", password=PASSWORD)


def guess(store: Store, name: str, address: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(LoginError, match=r"do not belong together\. Check both"):
            signin.login(store, name, "wrong password", address=address)


def test_a_session_tells_its_end_and_moves_it_when_used(
    studio: Store, ada: Account, clock: Move
) -> None:
    session = signin.login(studio, ada.name, PASSWORD)
    clock(signin.SEEN_SECONDS / 2)
    found = signin.find_session(studio, session.token)
    assert found is not None and found.expires_at == session.expires_at  # not written each time
    clock(signin.SEEN_SECONDS)
    signin.find_session(studio, session.token)
    later = signin.find_session(studio, session.token)
    assert later is not None and later.expires_at > session.expires_at
    clock(signin.SESSION_SECONDS + 1)
    assert signin.find_session(studio, session.token) is None


def test_a_session_that_expired_does_not_come_back_with_the_sweep(
    studio: Store, ada: Account, clock: Move
) -> None:
    old, new = (signin.start_session(studio, ada.id) for _ in range(2))
    clock(signin.SESSION_SECONDS - 1)
    signin.find_session(studio, new.token)
    clock(2)
    signin.sweep(studio)
    assert signin.find_session(studio, old.token) is None
    assert signin.find_session(studio, new.token) is not None


def test_csrf_and_cookie_are_two_secrets(studio: Store, ada: Account) -> None:
    session = signin.start_session(studio, ada.id)
    assert session.csrf != session.token
    assert signin.find_session(studio, session.csrf) is None


def test_only_the_open_can_begin_a_session(studio: Store, ada: Account) -> None:
    people.set_status(studio, ada.id, "disabled", actor="system")
    for account in (ada.id, "rater-00000000"):
        with pytest.raises(LoginError, match=r"closed\. Ask the person who invited you"):
            signin.start_session(studio, account)


def test_an_old_cookie_ends_even_when_it_is_somebody_elses(studio: Store, ada: Account) -> None:
    bob = create_account(studio, f"Bob {new_id()}")
    planted = signin.start_session(studio, bob.id)
    signin.login(studio, ada.name, PASSWORD, old_token=planted.token)
    assert signin.find_session(studio, planted.token) is None


def test_a_new_password_ends_every_session(studio: Store, ada: Account) -> None:
    session = signin.start_session(studio, ada.id)
    people.set_password(studio, ada.id, "other unrelated words", actor=ada.id)
    assert signin.find_session(studio, session.token) is None
    with pytest.raises(LoginError):
        signin.login(studio, ada.name, PASSWORD)
    assert signin.login(studio, ada.name, "other unrelated words").account.id == ada.id


def test_the_limit_says_how_long_and_recovers_guess_by_guess(
    studio: Store, ada: Account, clock: Move
) -> None:
    guess(studio, ada.name, "10.1.1.1", 1)
    clock(600)
    guess(studio, ada.name, "10.1.1.1", signin.PER_PLACE - 1)
    with pytest.raises(LoginLimitError, match=r"Too many attempts\. Please try again in 5 min\."):
        signin.login(studio, ada.name, PASSWORD, address="10.1.1.1")
    clock(301)  # the first guess no longer counts, the others do
    guess(studio, ada.name, "10.1.1.1", 1)
    with pytest.raises(LoginLimitError) as caught:
        signin.login(studio, ada.name, PASSWORD, address="10.1.1.1")
    assert caught.value.retry_seconds > 500
    clock(signin.WINDOW_SECONDS)
    assert signin.login(studio, ada.name, PASSWORD, address="10.1.1.1")


def test_an_attempt_beyond_the_limit_does_not_prolong_it(
    studio: Store, ada: Account, clock: Move
) -> None:
    guess(studio, ada.name, "10.2.2.2", signin.PER_PLACE)
    for _ in range(3):
        clock(299)
        with pytest.raises(LoginLimitError):
            signin.login(studio, ada.name, "wrong password", address="10.2.2.2")
    clock(4)
    assert signin.login(studio, ada.name, PASSWORD, address="10.2.2.2")


def test_a_success_does_not_wipe_out_the_guesses(studio: Store, ada: Account) -> None:
    guess(studio, ada.name, "10.3.3.3", signin.PER_PLACE - 1)
    signin.login(studio, ada.name, PASSWORD, address="10.3.3.3")
    guess(studio, ada.name, "10.3.3.3", 1)
    with pytest.raises(LoginLimitError):
        signin.login(studio, ada.name, PASSWORD, address="10.3.3.3")


def test_the_wait_is_never_said_to_be_nothing() -> None:
    assert "in 1 min" in str(LoginLimitError(0.2))
    assert "in 15 min" in str(LoginLimitError(899.0))


def test_attempts_keep_no_name_and_a_bounded_address(studio: Store, ada: Account) -> None:
    signin.login(studio, ada.name, PASSWORD, address="a" * 500)
    with studio.read() as conn:
        rows = conn.execute(sa.select(schema.login_attempts)).all()
    assert not any(ada.name.lower() in str(tuple(row)).lower() for row in rows)
    assert max(len(row.address) for row in rows) == 64


def test_a_token_keeps_to_its_days(studio: Store, ada: Account, clock: Move) -> None:
    short = signin.create_token(studio, ada.id, "short", "rater", days=1, actor=ada.id)
    ever = signin.create_token(studio, ada.id, "ever", "viewer", days=None, actor=ada.id)
    by_name = {token.name: token for token in signin.list_tokens(studio, ada.id)}
    assert by_name["ever"].expires_at is None
    assert by_name["short"].expires_at == pytest.approx(by_name["short"].created_at + 86_400, abs=1)
    clock(86_402)
    assert signin.find_token(studio, short) is None
    found = signin.find_token(studio, ever)
    assert found is not None and found.role == "viewer"


def test_a_tokens_use_is_written_now_and_then(studio: Store, ada: Account, clock: Move) -> None:
    secret = signin.create_token(studio, ada.id, "", "rater", actor=ada.id)
    assert secret.startswith(signin.TOKEN_PREFIX)

    def used() -> float | None:
        (token,) = signin.list_tokens(studio, ada.id)
        assert token.name == "token"  # who names it nothing can still tell what it is
        return token.used_at

    assert used() is None
    signin.find_token(studio, secret)
    first = used()
    signin.find_token(studio, secret)
    assert used() == first is not None
    clock(signin.SEEN_SECONDS + 1)
    signin.find_token(studio, secret)
    assert (used() or 0) > first


def test_a_revoked_token_stays_in_the_list_and_the_others_work(studio: Store, ada: Account) -> None:
    gone, kept = (
        signin.create_token(studio, ada.id, name, "rater", actor=ada.id) for name in ("a", "b")
    )
    ids = {token.name: token.id for token in signin.list_tokens(studio, ada.id)}
    signin.revoke_token(studio, ids["a"], actor=ada.id)
    assert signin.find_token(studio, gone) is None
    assert signin.find_token(studio, kept) is not None
    revoked = {token.name: token.revoked for token in signin.list_tokens(studio, ada.id)}
    assert revoked == {"a": True, "b": False}


def test_tokens_go_with_their_account(studio: Store, ada: Account) -> None:
    secret = signin.create_token(studio, ada.id, "a", "rater", actor=ada.id)
    people.set_status(studio, ada.id, "disabled", actor="system")
    assert signin.find_token(studio, secret) is None
    people.set_status(studio, ada.id, "active", actor="system")
    assert signin.find_token(studio, secret) is not None
    people.erase_account(studio, ada.id, actor="system")
    assert signin.find_token(studio, secret) is None
    assert signin.list_tokens(studio, ada.id) == []


def test_who_cannot_have_a_token_is_told_why(studio: Store, ada: Account) -> None:
    for account, role, why in (
        (ada.id, "owner", "can be at most rater, not owner"),
        (ada.id, "king", "'king' is no role"),
        ("rater-00000000", "rater", "no open account rater-00000000"),
    ):
        with pytest.raises(AccountError, match=why):
            signin.create_token(studio, account, "t", role, actor="system")
    assert signin.list_tokens(studio, ada.id) == []

"""Accounts: who comes in, how often one may guess, and what is left of a person who left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from accord.store import accounts, credentials, events, invites, people, schema, signin
from accord.store.accounts import AccountError, LoginError, LoginLimitError
from accord.store.database import Store

PASSWORD = "four unrelated words"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least argon2 that is still argon2."""
    quick = credentials.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(credentials, "_hasher", quick)
    credentials._nobody.cache_clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the accounts' clock on by so many seconds."""
    ahead = [0.0]
    true_now = people.now
    for module in (people, invites, signin):
        monkeypatch.setattr(module, "now", lambda: true_now() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += seconds

    return move


def owner(store: Store, name: str = "Ada") -> accounts.Account:
    return accounts.create_account(store, name, "owner", password=PASSWORD, contact="ada@example")


def every_text(store: Store) -> str:
    """Everything the database holds, as text."""
    with store.read() as conn:
        return "\n".join(
            str(tuple(row))
            for table in schema.metadata.sorted_tables
            for row in conn.execute(sa.select(table))
        )


# ---- invitations


def test_the_first_owner_comes_in_by_a_link_that_works_once(store: Store) -> None:
    first = accounts.owner_invite(store)
    token = accounts.owner_invite(store)
    assert first and token
    with pytest.raises(AccountError, match="not valid any more"):
        accounts.accept_invite(store, first, "Eve", PASSWORD)
    made = accounts.accept_invite(store, token, "Ada", PASSWORD)
    assert made.role == "owner"
    assert accounts.owner_invite(store) is None
    with pytest.raises(AccountError, match="used already"):
        accounts.accept_invite(store, token, "Bob", PASSWORD)


def test_an_invitation_makes_one_account_even_when_raced_for(store: Store) -> None:
    token = accounts.invite(store, "rater", name="for Bob", actor="system")
    assert accounts.read_invite(store, token).role == "rater"

    def accept(n: int) -> str:
        try:
            return accounts.accept_invite(store, token, f"Bob {n}", PASSWORD).id
        except AccountError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(accept, range(8)))
    assert sum(answer.startswith("rater-") for answer in found) == 1
    assert len(accounts.list_accounts(store)) == 1
    (offer,) = accounts.list_invites(store)
    assert (offer.state, offer.account_id) == ("used", accounts.list_accounts(store)[0].id)


def test_invitations_expire_and_can_be_taken_back(
    store: Store, clock: Callable[[float], None]
) -> None:
    old = accounts.invite(store, "rater", actor="system", days=1)
    clock(86_401.0)
    with pytest.raises(AccountError, match="expired"):
        accounts.read_invite(store, old)
    new = accounts.invite(store, "rater", actor="system")
    accounts.revoke_invite(store, accounts.read_invite(store, new).id, actor="system")
    with pytest.raises(AccountError, match="not valid any more"):
        accounts.accept_invite(store, new, "Bob", PASSWORD)
    with pytest.raises(AccountError, match="not known"):
        accounts.read_invite(store, "made up")
    with pytest.raises(AccountError, match="not open"):
        accounts.revoke_invite(store, "made up", actor="system")
    assert {offer.state for offer in accounts.list_invites(store)} == {"expired", "revoked"}
    with pytest.raises(AccountError, match="at most 90 days"):
        accounts.invite(store, "rater", actor="system", days=91)


def test_a_failed_acceptance_does_not_use_the_link_up(store: Store) -> None:
    owner(store)
    token = accounts.invite(store, "rater", actor="system")
    for name, password in (
        ("ada", PASSWORD),
        ("Bob", "short"),
        ("", PASSWORD),
        ("x" * 81, PASSWORD),
    ):
        with pytest.raises(AccountError):
            accounts.accept_invite(store, token, name, password)
    assert accounts.accept_invite(store, token, "Bob", PASSWORD).name == "Bob"


# ---- names and passwords


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada", "aDA"),
        ("Ada", " Ada  "),
        ("Zoë", "Zoe\u0308"),
        ("Straße", "STRASSE"),
        ("A\u200bda", "A da"),
    ],
)
def test_names_that_look_the_same_are_the_same(store: Store, one: str, other: str) -> None:
    accounts.create_account(store, one)
    with pytest.raises(AccountError, match="taken"):
        accounts.create_account(store, other)


def test_ids_say_nothing_about_the_name(store: Store) -> None:
    made = owner(store)
    assert made.id.startswith("rater-")
    assert len(made.id) == 14
    assert accounts.get_account(store, made.id) == made
    assert accounts.get_account(store, "rater-none") is None


def test_no_secret_is_in_the_database(store: Store) -> None:
    made = owner(store)
    session = accounts.login(store, "Ada", PASSWORD)
    token = accounts.create_token(store, made.id, "ci", "rater", actor=made.id)
    link = accounts.invite(store, "rater", actor=made.id)
    text = every_text(store)
    for secret in (PASSWORD, session.token, token, link):
        assert secret not in text
    assert hashlib.sha256(session.token.encode()).hexdigest() in text
    assert "$argon2id$" in text


def test_the_hashing_is_as_strong_as_owasp_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    kept = credentials.hash_password(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert credentials.password_matches(kept, PASSWORD)
    assert not credentials.password_matches(kept, PASSWORD + " ")
    assert not credentials.password_matches(None, PASSWORD)
    assert not credentials.password_matches("rubbish", PASSWORD)


# ---- signing in


def test_a_login_opens_a_session_and_logout_ends_it(store: Store) -> None:
    made = owner(store)
    session = accounts.login(store, "ADA", PASSWORD)
    found = accounts.find_session(store, session.token)
    assert found is not None
    assert (found.account, found.csrf) == (made, session.csrf)
    accounts.logout(store, session.token)
    accounts.logout(store, session.token)
    assert accounts.find_session(store, session.token) is None
    assert accounts.find_session(store, "\ud800") is None


def test_every_login_makes_a_new_session_and_ends_the_one_shown(store: Store) -> None:
    owner(store)
    planted = accounts.login(store, "Ada", PASSWORD)
    session = accounts.login(store, "Ada", PASSWORD, old_token=planted.token)
    assert session.token != planted.token
    assert session.csrf != planted.csrf
    assert accounts.find_session(store, planted.token) is None
    assert accounts.find_session(store, session.token) is not None


def test_sessions_expire_unless_used(store: Store, clock: Callable[[float], None]) -> None:
    owner(store)
    used, idle = (accounts.login(store, "Ada", PASSWORD) for _ in range(2))
    clock(signin.SESSION_SECONDS - 60)
    assert accounts.find_session(store, used.token) is not None
    clock(120)
    assert accounts.find_session(store, used.token) is not None
    assert accounts.find_session(store, idle.token) is None
    accounts.sweep(store)
    with store.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(schema.sessions)).scalar() == 1


def test_wrong_name_wrong_password_and_closed_account_sound_the_same(store: Store) -> None:
    owner(store)
    closed = accounts.create_account(store, "Bob", password=PASSWORD)
    accounts.set_status(store, closed.id, "disabled", actor="system")
    program = accounts.create_account(store, "Robot")
    said = set()
    for name, password in (
        ("Ada", "wrong password"),
        ("Nobody", PASSWORD),
        ("Bob", PASSWORD),
        (program.name, ""),
        ("", ""),
        ("x" * 5000, "y" * 5000),
    ):
        with pytest.raises(LoginError) as caught:
            accounts.login(store, name, password)
        said.add((type(caught.value), str(caught.value)))
    assert len(said) == 1


def test_guesses_are_limited_and_the_limit_passes(
    store: Store, clock: Callable[[float], None]
) -> None:
    owner(store)
    for _ in range(signin.PER_PLACE):
        with pytest.raises(LoginError, match="do not belong"):
            accounts.login(store, "Ada", "wrong password", address="1.2.3.4")
    with pytest.raises(LoginLimitError) as caught:
        accounts.login(store, "ada", PASSWORD, address="1.2.3.4")
    assert 0 < caught.value.retry_seconds <= signin.WINDOW_SECONDS
    elsewhere = accounts.login(store, "Ada", PASSWORD, address="5.6.7.8")
    assert elsewhere.account.name == "Ada"
    clock(caught.value.retry_seconds + 1)
    assert accounts.login(store, "Ada", PASSWORD, address="1.2.3.4")


def test_guesses_in_parallel_are_all_counted(store: Store) -> None:
    owner(store)

    def guess(n: int) -> type[BaseException] | None:
        try:
            accounts.login(store, "Ada", f"wrong password {n}", address="1.2.3.4")
        except LoginError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(guess, range(32)))
    assert found.count(LoginError) == signin.PER_PLACE
    assert found.count(LoginLimitError) == 32 - signin.PER_PLACE


def test_one_name_and_one_address_have_limits_of_their_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signin.PER_PLACE < signin.PER_NAME < signin.PER_ADDRESS
    monkeypatch.setattr(signin, "PER_NAME", 7)
    monkeypatch.setattr(signin, "PER_ADDRESS", 9)
    owner(store)
    for n in range(signin.PER_NAME):
        with pytest.raises(LoginError):
            accounts.login(store, "Ada", "wrong password", address=f"10.0.0.{n}")
    with pytest.raises(LoginLimitError):
        accounts.login(store, "Ada", PASSWORD, address="10.0.1.1")
    for n in range(signin.PER_ADDRESS):
        with pytest.raises(LoginError):
            accounts.login(store, f"name {n}", "wrong password", address="9.9.9.9")
    with pytest.raises(LoginLimitError):
        accounts.login(store, "another", PASSWORD, address="9.9.9.9")


def test_good_logins_are_not_counted_and_old_attempts_are_swept(
    store: Store, clock: Callable[[float], None]
) -> None:
    owner(store)
    for _ in range(signin.PER_PLACE + 2):
        accounts.login(store, "Ada", PASSWORD, address="1.2.3.4")
    clock(90_000)
    accounts.sweep(store)
    with store.read() as conn:
        assert conn.execute(sa.select(schema.login_attempts)).all() == []


# ---- tokens


def test_a_token_acts_with_its_role_until_revoked(store: Store) -> None:
    made = owner(store)
    secret = accounts.create_token(store, made.id, "ci", "rater", actor=made.id)
    found = accounts.find_token(store, secret)
    assert found is not None
    assert (found.id, found.role) == (made.id, "rater")
    (listed,) = accounts.list_tokens(store, made.id)
    assert (listed.name, listed.role, listed.revoked) == ("ci", "rater", False)
    accounts.revoke_token(store, listed.id, actor=made.id)
    assert accounts.find_token(store, secret) is None
    assert accounts.list_tokens(store)[0].revoked
    assert accounts.find_token(store, "accord_made_up") is None
    with pytest.raises(AccountError, match="no token"):
        accounts.revoke_token(store, "none", actor=made.id)


def test_a_token_never_outgrows_its_account(store: Store) -> None:
    owner(store)
    lead = accounts.create_account(store, "Bob", "researcher")
    with pytest.raises(AccountError, match="at most researcher"):
        accounts.create_token(store, lead.id, "x", "owner", actor=lead.id)
    secret = accounts.create_token(store, lead.id, "x", "researcher", actor=lead.id)
    accounts.set_role(store, lead.id, "viewer", actor="system")
    found = accounts.find_token(store, secret)
    assert found is not None
    assert found.role == "viewer"
    accounts.set_status(store, lead.id, "disabled", actor="system")
    assert accounts.find_token(store, secret) is None
    with pytest.raises(AccountError, match="no open account"):
        accounts.create_token(store, lead.id, "x", "viewer", actor="system")


def test_tokens_expire(store: Store, clock: Callable[[float], None]) -> None:
    made = owner(store)
    short = accounts.create_token(store, made.id, "a", "owner", days=1, actor=made.id)
    long = accounts.create_token(store, made.id, "b", "owner", days=None, actor=made.id)
    clock(86_401)
    assert accounts.find_token(store, short) is None
    assert accounts.find_token(store, long) is not None


# ---- changes


def test_a_change_of_rights_holds_at_once(store: Store) -> None:
    owner(store)
    made = accounts.create_account(store, "Bob", "researcher", password=PASSWORD)
    for change in (
        lambda: accounts.set_role(store, made.id, "rater", actor="system"),
        lambda: accounts.set_password(store, made.id, PASSWORD, actor="system"),
        lambda: accounts.set_status(store, made.id, "disabled", actor="system"),
    ):
        session = accounts.login(store, "Bob", PASSWORD)
        change()
        assert accounts.find_session(store, session.token) is None
    with pytest.raises(LoginError):
        accounts.start_session(store, made.id)
    accounts.set_status(store, made.id, "active", actor="system")
    assert accounts.start_session(store, made.id).account.role == "rater"


def test_the_last_owner_stays(store: Store) -> None:
    first = owner(store)
    for change in (
        lambda: accounts.set_role(store, first.id, "rater", actor=first.id),
        lambda: accounts.set_status(store, first.id, "disabled", actor=first.id),
        lambda: accounts.erase_account(store, first.id, actor=first.id),
    ):
        with pytest.raises(AccountError, match="last owner"):
            change()
    owner(store, "Bob")
    assert accounts.set_role(store, first.id, "rater", actor=first.id).role == "rater"


def test_what_makes_no_sense_is_refused(store: Store) -> None:
    made = owner(store)
    with pytest.raises(AccountError, match="no role"):
        accounts.create_account(store, "Bob", "king")
    with pytest.raises(AccountError, match="no role"):
        accounts.set_role(store, made.id, "king", actor="system")
    with pytest.raises(AccountError, match="no status"):
        accounts.set_status(store, made.id, "asleep", actor="system")
    with pytest.raises(AccountError, match="no account"):
        accounts.set_password(store, "rater-none", PASSWORD, actor="system")
    with pytest.raises(AccountError, match="too large"):
        accounts.set_settings(store, made.id, {"keys": "x" * 30_000})


def test_settings_are_kept(store: Store) -> None:
    made = owner(store)
    assert accounts.set_settings(store, made.id, {"theme": "dark"}).settings == {"theme": "dark"}


def test_a_guideline_is_acknowledged_once_per_version(store: Store) -> None:
    made = owner(store)
    project = {"id": "p", "name": "p", "created_by": "system"}
    text = {"project_id": "p", "version": 1, "text": "Be kind.", "created_by": "system"}
    store.write(lambda conn: conn.execute(sa.insert(schema.projects).values(project)) and None)
    store.write(lambda conn: conn.execute(sa.insert(schema.guidelines).values(text)) and None)
    assert accounts.acknowledged_guideline(store, made.id, "p") == 0
    for _ in range(2):
        accounts.acknowledge_guideline(store, made.id, "p", 1)
    assert accounts.acknowledged_guideline(store, made.id, "p") == 1
    with pytest.raises(AccountError, match="no version 2"):
        accounts.acknowledge_guideline(store, made.id, "p", 2)


# ---- the log, and being forgotten


def test_the_log_says_what_happened_without_a_name(store: Store) -> None:
    made = owner(store)
    link = accounts.invite(store, "rater", name="Bob", contact="bob@example", actor=made.id)
    accounts.accept_invite(store, link, "Bob", PASSWORD)
    with store.read() as conn:
        rows = conn.execute(sa.select(schema.events).order_by(schema.events.c.id)).all()
        kept = conn.execute(sa.select(schema.accounts).where(schema.accounts.c.id == made.id)).one()
    assert [row.kind for row in rows] == [
        "account_created",
        "invite_created",
        "account_created",
        "invite_accepted",
    ]
    assert not any(word in row.body for row in rows for word in ("Ada", "Bob", "example"))
    assert people.commitment(kept.shred_key, "Ada", "ada@example") in rows[0].body
    assert events.verify(store) == []


def test_an_erased_person_is_in_no_row_and_no_byte(sqlite_store: Store, tmp_path: Path) -> None:
    store = sqlite_store
    owner(store)
    link = accounts.invite(store, "rater", name="Winifred", contact="wini@example", actor="system")
    made = accounts.accept_invite(store, link, "Winifred Quux", PASSWORD)
    session = accounts.login(store, "Winifred Quux", PASSWORD)
    accounts.set_settings(store, made.id, {"note": "Winifred likes dark"})
    secret = accounts.create_token(store, made.id, "Winifreds token", "rater", actor=made.id)
    accounts.erase_account(store, made.id, actor="system")
    for path in tmp_path.glob("studio.db*"):
        raw = path.read_bytes().lower()
        assert b"winifred" not in raw, path
        assert b"wini@example" not in raw, path
    assert accounts.find_session(store, session.token) is None
    assert accounts.find_token(store, secret) is None
    with pytest.raises(LoginError):
        accounts.login(store, "Winifred Quux", PASSWORD)
    left = accounts.get_account(store, made.id)
    assert left is not None
    assert (left.id, left.contact, left.active) == (made.id, "", False)
    assert left.name == f"erased {made.id[6:]}"
    assert [account.name for account in accounts.list_accounts(store)] == ["Ada"]
    assert events.verify(store) == []


def test_an_erased_person_can_come_back_as_somebody_new(store: Store) -> None:
    owner(store)
    first = accounts.create_account(store, "Bob", password=PASSWORD)
    accounts.erase_account(store, first.id, actor="system")
    with pytest.raises(AccountError, match="no account"):
        accounts.erase_account(store, first.id, actor="system")
    with pytest.raises(AccountError, match="no account"):
        accounts.set_status(store, first.id, "active", actor="system")
    second = accounts.create_account(store, "Bob", password=PASSWORD)
    assert second.id != first.id
    assert "Bob" in every_text(store)
    accounts.erase_account(store, second.id, actor="system")
    assert "Bob" not in every_text(store)

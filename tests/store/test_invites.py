"""Invitations: what they offer, how long they hold, and what they say when they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from accord.store import credentials, invites, people
from accord.store.columns import new_id
from accord.store.credentials import AccountError
from accord.store.database import Store, open_store

PASSWORD = "four unrelated words"
Move = Callable[[float], None]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the file."""
    with open_store(tmp_path_factory.mktemp("invites") / "studio.db") as opened:
        people.create_account(opened, "The Owner", "owner")
        yield opened


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least argon2 that is still argon2."""
    quick = credentials.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(credentials, "_hasher", quick)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Moves the invitations' clock on by so many seconds."""
    ahead = [0.0]
    true_now = invites.now
    monkeypatch.setattr(invites, "now", lambda: true_now() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += seconds

    return move


def test_what_is_offered_is_what_is_given(studio: Store) -> None:
    token = invites.invite(studio, "adjudicator", contact=" a@b  c ", name=" For \n Ada", actor="x")
    offer = invites.read_invite(studio, token)
    assert (offer.role, offer.name, offer.contact) == ("adjudicator", "For Ada", "a@b c")
    assert (offer.created_by, offer.state, offer.account_id) == ("x", "open", None)
    assert offer.expires_at - offer.created_at == pytest.approx(7 * 86_400, abs=1)
    made = invites.accept_invite(studio, token, f"Ada {new_id()}", PASSWORD)
    assert (made.role, made.contact, made.active) == ("adjudicator", "a@b c", True)
    assert not made.name.startswith("For")


def test_a_name_and_a_contact_are_cut_to_what_a_list_can_show(studio: Store) -> None:
    token = invites.invite(studio, "rater", name="n" * 200, contact="c" * 500, actor="x")
    offer = invites.read_invite(studio, token)
    assert (len(offer.name), len(offer.contact)) == (80, 200)


@pytest.mark.parametrize("days", [0.0, -1.0, 90.5, float("inf"), float("nan")])
def test_days_that_cannot_be(studio: Store, days: float) -> None:
    with pytest.raises(AccountError, match="good for at most 90 days"):
        invites.invite(studio, "rater", actor="x", days=days)


def test_an_unknown_role_is_not_offered(studio: Store) -> None:
    before = len(invites.list_invites(studio))
    with pytest.raises(AccountError, match="'boss' is no role"):
        invites.invite(studio, "boss", actor="x")
    assert len(invites.list_invites(studio)) == before


def test_an_expired_link_says_so_and_whom_to_ask(studio: Store, clock: Move) -> None:
    token = invites.invite(studio, "rater", actor="x", days=0.5)
    clock(43_100)
    assert invites.read_invite(studio, token).state == "open"
    clock(200)
    for attempt in (
        lambda: invites.read_invite(studio, token),
        lambda: invites.accept_invite(studio, token, "Late", PASSWORD),
    ):
        with pytest.raises(
            AccountError, match=r"has expired\. Ask the person who invited you for a"
        ):
            attempt()
    states = {offer.state for offer in invites.list_invites(studio)}
    assert "expired" in states


def test_an_expired_or_used_invitation_cannot_be_revoked(studio: Store, clock: Move) -> None:
    used = invites.invite(studio, "rater", actor="x")
    name = invites.read_invite(studio, used).id
    invites.accept_invite(studio, used, f"Ada {new_id()}", PASSWORD)
    late = invites.read_invite(studio, invites.invite(studio, "rater", actor="x", days=1)).id
    clock(86_401)
    for invitation in (name, late):
        with pytest.raises(AccountError, match="not open any more"):
            invites.revoke_invite(studio, invitation, actor="x")
    with pytest.raises(AccountError, match=r"used already\. Sign in with the name you chose"):
        invites.read_invite(studio, used)


def test_a_wrong_link_costs_no_slow_hash(studio: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(password: str) -> str:
        raise AssertionError("hashed for nothing")

    monkeypatch.setattr(invites, "hash_password", slow)
    for token in ("", "made up", "\ud800"):
        with pytest.raises(AccountError, match=r"not known here\. Check that it was copied whole"):
            invites.accept_invite(studio, token, "Eve", PASSWORD)


def test_a_taken_name_leaves_the_link_open(studio: Store) -> None:
    token = invites.invite(studio, "rater", actor="x")
    with pytest.raises(AccountError, match="name the owner is taken"):
        invites.accept_invite(studio, token, "the owner", PASSWORD)
    with pytest.raises(AccountError, match="at least 10 characters"):
        invites.accept_invite(studio, token, "New", "short")
    assert invites.read_invite(studio, token).state == "open"


def test_invitations_are_listed_newest_first(studio: Store, clock: Move) -> None:
    made = []
    for _ in range(3):
        clock(1)
        made.append(invites.read_invite(studio, invites.invite(studio, "viewer", actor="x")).id)
    assert [offer.id for offer in invites.list_invites(studio)][:3] == made[::-1]


def test_an_erased_persons_invitation_forgets_them(studio: Store) -> None:
    token = invites.invite(studio, "rater", name="Winifred", contact="w@example", actor="x")
    made = invites.accept_invite(studio, token, f"Winifred {new_id()}", PASSWORD)
    people.erase_account(studio, made.id, actor="x")
    (offer,) = (one for one in invites.list_invites(studio) if one.account_id == made.id)
    assert (offer.name, offer.contact, offer.state) == ("", "", "used")


def test_the_owners_link_lasts_a_day_and_is_remade(sqlite_store: Store, clock: Move) -> None:
    first = invites.owner_invite(sqlite_store)
    assert first is not None
    clock(86_401)
    with pytest.raises(AccountError, match="expired"):
        invites.read_invite(sqlite_store, first)
    second = invites.owner_invite(sqlite_store)
    assert second is not None
    by_hand = invites.invite(sqlite_store, "owner", actor="rater-00000000")
    assert invites.owner_invite(sqlite_store) != second
    assert invites.read_invite(sqlite_store, by_hand).role == "owner"  # a person's own stays
    with pytest.raises(AccountError, match="not valid any more"):
        invites.read_invite(sqlite_store, second)

"""People: roles and rights, what the log keeps of them, and what is left when they are erased."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError

import pytest
import sqlalchemy as sa

from accord.store import events, people, rounds, schema
from accord.store.columns import new_id
from accord.store.credentials import AccountError
from accord.store.database import Store, open_store
from accord.store.people import ROLES, Account, create_account


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for the file, with an owner who never goes."""
    with open_store(tmp_path_factory.mktemp("people") / "studio.db") as opened:
        create_account(opened, "The Owner", "owner")
        yield opened


def person(store: Store, role: str = "rater", **more: str) -> Account:
    return create_account(store, f"Person {new_id()}", role, **more)


def row(store: Store, account: str) -> sa.Row[tuple[object, ...]]:
    with store.read() as conn:
        return conn.execute(sa.select(schema.accounts).where(schema.accounts.c.id == account)).one()


def log(store: Store) -> list[tuple[str, str, str]]:
    e = schema.events.c
    with store.read() as conn:
        return [tuple(r) for r in conn.execute(sa.select(e.kind, e.actor, e.body).order_by(e.id))]


def signed_in(store: Store, account: str) -> int:
    s = schema.sessions
    query = sa.select(sa.func.count()).select_from(s).where(s.c.account_id == account)
    with store.read() as conn:
        return conn.execute(query).scalar_one()


def open_session(store: Store, account: str) -> None:
    values = {"token_hash": new_id(), "account_id": account, "csrf": "c", "expires_at": 9e9}
    store.write(lambda conn: conn.execute(schema.sessions.insert().values(values)) and None)


def test_roles_go_from_the_least_to_the_most() -> None:
    assert ROLES == ("viewer", "rater", "adjudicator", "researcher", "owner")


@pytest.mark.parametrize("role", ROLES)
def test_every_role_can_be_given_and_changed(studio: Store, role: str) -> None:
    made = person(studio, role)
    assert (made.role, made.active, made.settings) == (role, True, {})
    assert people.set_role(studio, made.id, "viewer", actor="system").role == "viewer"


def test_an_account_cannot_be_changed_in_the_hand(studio: Store) -> None:
    made = person(studio)
    with pytest.raises(FrozenInstanceError):
        made.role = "owner"  # type: ignore[misc]


@pytest.mark.parametrize("role", ["", "admin", "Owner", "rater "])
def test_an_unknown_role_is_told_which_there_are(studio: Store, role: str) -> None:
    made = person(studio)
    for attempt in (
        lambda: person(studio, role),
        lambda: people.set_role(studio, made.id, role, actor="system"),
    ):
        with pytest.raises(AccountError, match="is no role; the roles are viewer, rater, adj"):
            attempt()
    assert people.get_account(studio, made.id) == made


def test_an_unknown_status_is_told_which_there_are(studio: Store) -> None:
    made = person(studio)
    with pytest.raises(AccountError, match="'away' is no status; an account is active or disabled"):
        people.set_status(studio, made.id, "away", actor="system")


def test_a_taken_name_says_so_as_it_was_typed_and_leaves_nothing(studio: Store) -> None:
    create_account(studio, "Grace Hopper")
    before = len(log(studio))
    with pytest.raises(AccountError, match=r"^The name GRACE HOPPER is taken\. Choose another one"):
        create_account(studio, "GRACE  HOPPER")
    assert len(log(studio)) == before


def test_a_contact_is_one_line_of_at_most_200_characters(studio: Store) -> None:
    made = person(studio, contact="  ada@example \n +44  1 ")
    assert made.contact == "ada@example +44 1"
    assert len(person(studio, contact="x" * 300).contact) == 200


def test_the_commitment_proves_the_person_while_the_key_is_there(studio: Store) -> None:
    made = person(studio, contact="ada@example")
    key = row(studio, made.id).shred_key
    sealed = people.commitment(key, made.name, made.contact)
    assert sealed in log(studio)[-1][2]
    assert len({sealed, people.commitment(key, made.name, "other"),
                people.commitment("other", made.name, made.contact)}) == 3  # fmt: skip
    people.erase_account(studio, made.id, actor="system")
    assert row(studio, made.id).shred_key is None


def test_people_are_listed_by_role_oldest_first_without_the_erased(studio: Store) -> None:
    made = [person(studio, role) for role in ("adjudicator", "researcher", "adjudicator")]
    people.erase_account(studio, made[2].id, actor="system")
    listed = people.list_accounts(studio, roles=("adjudicator", "researcher"))
    assert [one.id for one in listed if one in made] == [made[0].id, made[1].id]
    assert made[2].id not in [one.id for one in people.list_accounts(studio)]
    assert [one.id for one in people.list_accounts(studio, roles=("owner",))] != []
    assert people.list_accounts(studio, roles=()) == []


def test_a_disabled_person_is_still_listed_and_can_come_back(studio: Store) -> None:
    made = person(studio)
    shut = people.set_status(studio, made.id, "disabled", actor="system")
    assert (shut.active, shut.name) == (False, made.name)
    assert shut in people.list_accounts(studio)
    assert people.set_status(studio, made.id, "active", actor="system").active


def test_a_change_signs_out_and_the_same_again_does_nothing(studio: Store) -> None:
    made = person(studio)
    open_session(studio, made.id)
    people.set_role(studio, made.id, "rater", actor="lead")
    people.set_status(studio, made.id, "active", actor="lead")
    assert signed_in(studio, made.id) == 1
    assert log(studio)[-1][0] == "account_created"
    people.set_role(studio, made.id, "adjudicator", actor="lead")
    assert signed_in(studio, made.id) == 0
    kind, actor, body = log(studio)[-1]
    assert (kind, actor) == ("role_changed", "lead")
    assert made.id in body and "adjudicator" in body and made.name not in body


def test_settings_replace_those_before_are_limited_and_never_logged(studio: Store) -> None:
    made = person(studio)
    people.set_settings(studio, made.id, {"theme": "dark", "keys": {"1": "a"}})
    kept = people.set_settings(studio, made.id, {"theme": "light"})
    assert kept.settings == {"theme": "light"}
    with pytest.raises(AccountError, match="too large to keep"):
        people.set_settings(studio, made.id, {"note": "x" * 20_001})
    assert people.get_account(studio, made.id) == kept
    assert log(studio)[-1][0] == "account_created"


def test_nothing_can_be_done_to_nobody(studio: Store) -> None:
    for attempt in (
        lambda: people.set_role(studio, "rater-00000000", "rater", actor="system"),
        lambda: people.set_status(studio, "rater-00000000", "disabled", actor="system"),
        lambda: people.set_settings(studio, "rater-00000000", {}),
        lambda: people.erase_account(studio, "rater-00000000", actor="system"),
    ):
        with pytest.raises(AccountError, match=r"^There is no account rater-00000000\.$"):
            attempt()


def test_one_of_two_owners_may_go_and_then_the_last_stays(sqlite_store: Store) -> None:
    first, second = (person(sqlite_store, "owner") for _ in range(2))
    people.set_status(sqlite_store, first.id, "disabled", actor=second.id)
    for attempt in (
        lambda: people.set_role(sqlite_store, second.id, "rater", actor=second.id),
        lambda: people.set_status(sqlite_store, second.id, "disabled", actor=second.id),
        lambda: people.erase_account(sqlite_store, second.id, actor=second.id),
    ):
        with pytest.raises(AccountError, match=r"last owner\. Make somebody else an owner first"):
            attempt()
    people.set_status(sqlite_store, first.id, "active", actor=second.id)
    people.erase_account(sqlite_store, second.id, actor=first.id)
    assert [one.id for one in people.list_accounts(sqlite_store)] == [first.id]


def test_the_erased_keep_their_rater_id_and_role_and_lose_the_rest(studio: Store) -> None:
    made = person(studio, "adjudicator", contact="ada@example")
    people.set_settings(studio, made.id, {"theme": "dark"})
    open_session(studio, made.id)
    people.erase_account(studio, made.id, actor="system")
    left = people.get_account(studio, made.id)
    assert left is not None
    assert (left.id, left.role, left.created_at) == (made.id, "adjudicator", made.created_at)
    assert (left.contact, left.settings, left.active) == ("", {}, False)
    assert made.name not in left.name
    kept = row(studio, made.id)
    assert (kept.password_hash, kept.shred_key) == (None, None)
    assert kept.erased_at is not None
    assert signed_in(studio, made.id) == 0
    assert log(studio)[-1][:2] == ("account_erased", "system")
    with pytest.raises(AccountError, match="no account"):
        people.set_role(studio, made.id, "rater", actor="system")
    assert events.verify(studio) == []


def test_nobody_can_stand_in_the_way_of_an_erasure_by_a_name(studio: Store) -> None:
    made = person(studio)
    create_account(studio, f"Erased {made.id.removeprefix('rater-')}")
    people.erase_account(studio, made.id, actor="system")
    assert made.id not in [one.id for one in people.list_accounts(studio)]


def test_a_guideline_is_read_by_version_and_by_person(studio: Store) -> None:
    ada, bob = person(studio).id, person(studio).id
    project = rounds.create_project(studio, new_id(), "system").id
    for text in ("one", "two"):
        rounds.set_guideline(studio, project, text, "system")
    assert people.acknowledged_guideline(studio, ada, project) == 0
    people.acknowledge_guideline(studio, ada, project, 2)
    people.acknowledge_guideline(studio, ada, project, 1)
    assert people.acknowledged_guideline(studio, ada, project) == 2
    assert people.acknowledged_guideline(studio, bob, project) == 0
    for version in (0, 3):
        with pytest.raises(AccountError, match=f"no version {version} of this guideline"):
            people.acknowledge_guideline(studio, bob, project, version)

"""Schemas: what the steps build is what the code expects, and no step loses a row."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from accord.store import backup, events, migrate, schema
from accord.store.columns import Json, metadata
from accord.store.database import Store, open_store
from accord.store.faults import StoreError

RELEASED = sorted((Path(__file__).parent / "schemas").glob("*.sql"))
"""A database as each released schema had it, with a row or more in every table."""


def add_event(store: Store, text: str) -> None:
    store.write(lambda conn: events.append(conn, "p", "note", "system", {"text": text}))


def texts(store: Store) -> list[str]:
    with store.read() as conn:
        bodies = conn.execute(sa.select(schema.events.c.body).order_by(schema.events.c.id))
        return [body.split('"')[3] for body in bodies.scalars()]


def same_type(
    context: MigrationContext, found: object, wanted: object, a: object, b: object
) -> bool | None:
    """Our JSON is kept as text, SQLite calls doubles REAL; Alembic compares the rest itself."""
    kept = {Json: sa.Text, sa.Double: sa.Float, sa.BigInteger: sa.Integer}
    same = any(isinstance(b, ours) and isinstance(a, kept[ours]) for ours in kept)
    return False if same else None


def test_the_steps_build_what_the_code_expects(store: Store) -> None:
    with store.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": same_type})
        assert compare_metadata(context, metadata) == []


def test_sqlite_has_the_same_constraints_and_index_conditions(sqlite_store: Store) -> None:
    """What Alembic does not compare: primary keys, AUTOINCREMENT, partial indexes."""
    fresh = sa.create_engine("sqlite://")
    metadata.create_all(fresh)

    def shape(conn: sa.Connection) -> dict[str, object]:
        found = sa.inspect(conn)
        tables = sorted(set(found.get_table_names()) - {"alembic_version"})
        statements = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")
        sql = dict(tuple(row) for row in statements)
        return {
            table: (
                found.get_pk_constraint(table)["constrained_columns"],
                {index["name"]: sql[index["name"]] for index in found.get_indexes(table)},
                "AUTOINCREMENT" in sql[table],
            )
            for table in tables
        }

    with fresh.connect() as conn:
        wanted = shape(conn)
    fresh.dispose()
    with sqlite_store.read() as conn:
        assert shape(conn) == wanted


def test_the_newest_step_is_the_one_the_code_names() -> None:
    assert migrate._script().get_current_head() == migrate.HEAD


def test_opening_an_up_to_date_database_changes_nothing(store_url: str, tmp_path: Path) -> None:
    with open_store(store_url) as store:
        add_event(store, "a")
    with open_store(store_url) as store:
        assert texts(store) == ["a"]
    assert list(tmp_path.glob("*.before-*")) == []


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_every_released_schema_comes_up_to_date(path: Path, tmp_path: Path) -> None:
    database = tmp_path / "studio.db"
    conn = sqlite3.connect(database)
    conn.executescript(path.read_text("utf-8"))
    count = "SELECT count(*) FROM {}"
    tables = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    before = {name: conn.execute(count.format(name)).fetchone()[0] for name in tables}
    conn.close()
    assert all(before[table.name] for table in metadata.sorted_tables if table.name in before)
    with open_store(database) as store:
        with store.read() as read:
            assert migrate.revision(read) == migrate.HEAD
            after = {name: read.exec_driver_sql(count.format(name)).scalar_one() for name in tables}
        assert after == before
        assert events.verify(store) == []


def test_a_newer_accords_database_is_refused_untouched(store_url: str) -> None:
    with open_store(store_url) as store:
        store.write(
            lambda conn: conn.execute(sa.text("UPDATE alembic_version SET version_num='9'"))
        )
    with pytest.raises(StoreError, match="newer accord"):
        open_store(store_url)


def test_another_programs_database_is_refused_untouched(store_url: str) -> None:
    engine = sa.create_engine(store_url)
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE recipes (id INTEGER)"))
    with pytest.raises(StoreError, match=r"another program \(recipes\)"):
        open_store(store_url)
    with engine.connect() as conn:
        assert sa.inspect(conn).get_table_names() == ["recipes"]
    engine.dispose()


@pytest.fixture
def next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second migration that adds a column, in a folder with the first."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in migrate.MIGRATIONS.glob("*001*"):
        (folder / path.name).write_text(path.read_text("utf-8"), "utf-8")
    step = folder / "m0002_next.py"
    step.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "revision, down_revision = '0002', '0001'\n"
        "def upgrade():\n"
        "    with op.batch_alter_table('events') as table:\n"
        "        table.add_column(sa.Column('more', sa.Integer()))\n"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)
    monkeypatch.setattr(migrate, "HEAD", "0002")
    return step


def older(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database at the first schema, with one event."""
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "HEAD", "0001")
        with open_store(url) as store:
            add_event(store, "old")


def test_a_migration_keeps_the_rows_and_makes_a_backup_first(
    store_url: str, tmp_path: Path, next_step: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older(store_url, monkeypatch)
    with open_store(store_url) as store:
        assert texts(store) == ["old"]
        with store.read() as conn:
            assert migrate.revision(conn) == "0002"
            assert "more" in {column["name"] for column in sa.inspect(conn).get_columns("events")}
    backups = list(tmp_path.glob("studio.db.before-0002*"))
    assert len(backups) == (1 if store_url.startswith("sqlite") else 0)
    for path in backups:
        conn = sqlite3.connect(path)
        assert conn.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        conn.close()


def test_a_migration_that_fails_leaves_the_old_schema(
    store_url: str, next_step: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older(store_url, monkeypatch)
    good = next_step.read_text()
    next_step.write_text(good + "    op.execute('SELECT * FROM nowhere')\n")
    with pytest.raises((StoreError, sa.exc.DBAPIError), match="nowhere"):
        open_store(store_url)
    next_step.write_text(good)
    with open_store(store_url) as store:
        assert texts(store) == ["old"]


def test_a_migration_that_breaks_references_is_undone(
    tmp_path: Path, next_step: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older(str(tmp_path / "studio.db"), monkeypatch)
    good = next_step.read_text()
    next_step.write_text(good + "    op.execute('DELETE FROM chains')\n")
    with pytest.raises(StoreError, match="broken references"):
        open_store(tmp_path / "studio.db")
    next_step.write_text(good)
    with open_store(tmp_path / "studio.db") as store:
        assert events.verify(store) == []


# ---- backups


def test_a_backup_is_made_while_writing_goes_on(sqlite_store: Store, tmp_path: Path) -> None:
    for n in range(20):
        add_event(sqlite_store, f"{n}")
    sqlite_store.backup(tmp_path / "copy.db")
    add_event(sqlite_store, "later")
    backup.restore(tmp_path / "copy.db", tmp_path / "back" / "studio.db")
    with open_store(tmp_path / "back" / "studio.db", create=False) as store:
        assert texts(store) == [f"{n}" for n in range(20)]
        add_event(store, "goes on")
        assert events.verify(store) == []
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == [
        "studio.db",
        "studio.db.lock",
    ]


def test_a_backup_never_replaces_a_file(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StoreError, match="exists"):
        sqlite_store.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"
    sqlite_store.backup(tmp_path / "good.db")
    with pytest.raises(StoreError, match="Move the old database away"):
        backup.restore(tmp_path / "good.db", tmp_path / "studio.db")


def test_a_backup_without_room_leaves_nothing(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="No backup was made"):
        sqlite_store.backup(tmp_path / "file" / "copy.db")


def test_postgresql_is_backed_up_by_its_own_tools(postgres_url: str, tmp_path: Path) -> None:
    with open_store(postgres_url) as store, pytest.raises(StoreError, match="pg_dump"):
        store.backup(tmp_path / "copy.db")


@pytest.mark.parametrize("damage", ["flipped", "cut", "edited", "other"])
def test_a_bad_backup_is_not_restored(sqlite_store: Store, tmp_path: Path, damage: str) -> None:
    text = "x" * 200

    def fill(conn: sa.Connection) -> None:
        for n in range(200):
            events.append(conn, "p", "note", "system", {"text": f"text {n} {text}"})

    sqlite_store.write(fill)
    copy, to = tmp_path / "copy.db", tmp_path / "restored.db"
    sqlite_store.backup(copy)
    raw = bytearray(copy.read_bytes())
    if damage == "flipped":
        at = raw.index(b"text 150 ")
        raw[at : at + 4] = b"TEXT"
        copy.write_bytes(raw)
    elif damage == "cut":
        copy.write_bytes(raw[: len(raw) // 2])
    elif damage == "other":
        copy.unlink()
        sqlite3.connect(copy).close()
    else:
        conn = sqlite3.connect(copy)
        conn.execute("DELETE FROM events WHERE id = 200")
        conn.commit()
        conn.close()
    with pytest.raises(StoreError, match=r"damaged|does not hold|not a backup"):
        backup.restore(copy, to)
    assert [path.name for path in tmp_path.glob("restored*")] == []
    with pytest.raises(StoreError):
        backup.check_backup(copy, tmp_path / "scratch")


def test_a_good_backup_passes_the_check_and_leaves_no_trace(
    sqlite_store: Store, tmp_path: Path
) -> None:
    add_event(sqlite_store, "a")
    made = backup.back_up(sqlite_store, tmp_path / "backups")
    backup.check_backup(made, tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_only_the_newest_backups_are_kept(sqlite_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(1, 6):
        (folder / f"studio-2020010{day}-000000.db").write_text("old")
    (folder / "mine.db").write_text("mine")
    made = backup.back_up(sqlite_store, folder, keep=3)
    assert sorted(path.name for path in folder.iterdir()) == [
        "mine.db",
        "studio-20200104-000000.db",
        "studio-20200105-000000.db",
        made.name,
    ]

"""Databases to test on: SQLite in a temporary folder, and a PostgreSQL server of our own.

For every test below ``tests/store``: ask for ``store`` and the test runs twice, on a fresh
SQLite file and on a fresh PostgreSQL database; ask for ``sqlite_store`` for one on SQLite alone;
ask for ``store_url`` to open (and close) the store yourself. Without PostgreSQL's server programs
the second run is skipped and says so.
"""

from __future__ import annotations

import getpass
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from accord.store.columns import metadata
from accord.store.database import Store, open_store

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "150",
    "max_wal_size": "256MB",
}


def programs() -> Path | None:
    """The folder of PostgreSQL's newest server programs, or None."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(on_path).parent if on_path else found[-1].parent if found else None


def unprivileged() -> str:
    """Who may run the server: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return getpass.getuser()
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[Path]:
    """The folder of the unix socket of a server that knows the user ``accord``."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian: postgresql)")
    user = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="accord-pg-"))
    shutil.chown(folder, user)
    as_user = {"user": user} if os.geteuid() == 0 else {}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    data, log = folder / "data", folder / "log"
    options = " ".join(f"-c {name}={value!r}" for name, value in SETTINGS.items())
    subprocess.run(
        [
            *(bin_folder / "initdb", "-D", data, "-U", "accord", "-A", "trust", "--no-sync"),
            *("--encoding=UTF8", "--locale=C.UTF-8"),
        ],
        check=True,
        **quiet,
        **as_user,
    )
    control = [bin_folder / "pg_ctl", "-D", data, "-w"]
    try:
        subprocess.run(
            [*control, "-l", log, "-o", f"{options} -k {folder}", "start"],
            check=True,
            **quiet,
            **as_user,
        )
        yield folder
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, **quiet, **as_user)
        shutil.rmtree(folder)


@contextmanager
def database(socket: Path) -> Iterator[str]:
    """The URL of a new, empty database, for as long as it is needed."""
    name = f"accord_{secrets.token_hex(4)}"
    server = f"host={socket} user=accord dbname=postgres"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield f"postgresql+psycopg://accord@/{name}?host={socket}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_socket: Path) -> Iterator[str]:
    """An empty database."""
    with database(postgres_socket) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_tables(postgres_socket: Path) -> Iterator[str]:
    """A database with the studio's tables; who uses it empties them first."""
    with database(postgres_socket) as url:
        open_store(url).close()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fresh store goes: SQLite first, then an empty PostgreSQL database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'studio.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An open, empty store on SQLite and then on PostgreSQL; closed after the test."""
    if request.param == "sqlite":
        with open_store(tmp_path / "studio.db") as opened:
            yield opened
        return
    every = f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"
    with open_store(request.getfixturevalue("postgres_tables")) as opened:
        opened.write(lambda conn: conn.exec_driver_sql(every) and None)
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An open, empty store on SQLite; its file is ``tmp_path / "studio.db"``."""
    with open_store(tmp_path / "studio.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One SQLite store for a whole file: each test makes a round (and a project) of its own."""
    with open_store(tmp_path_factory.mktemp("studio") / "studio.db") as opened:
        yield opened

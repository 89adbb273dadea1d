from accord.store import events
from accord.store.database import Store


def test_append(store: Store) -> None:
    first = store.write(lambda conn: events.append(conn, "p", "note", "me", {"a": 1}, key="k"))
    again = store.write(lambda conn: events.append(conn, "p", "note", "me", {"a": 2}, key="k"))
    assert (first.new, again.new, again.body) == (True, False, {"a": 1})
    assert events.verify(store) == []

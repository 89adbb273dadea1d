"""Column names and csv cells."""

from __future__ import annotations

import pytest

from accord.data.columns import COLUMNS, check_columns, rename, typed
from accord.errors import DataError


def test_rename_takes_the_users_column_and_only_that() -> None:
    row = {"question": "q", "prompt": "not this", "other": 1}
    assert rename(row, {"prompt": "question"}) == {"prompt": "q", "other": 1}
    assert rename(row, {"prompt": "missing"}) == {"question": "q", "other": 1}
    assert rename(row, {"prompt": ""}) == {"question": "q", "other": 1}
    assert rename({"a": 1, "b": 2}, {"chosen": "b", "rejected": "a"}) == {
        "chosen": 2,
        "rejected": 1,
    }


def test_an_unknown_column_is_answered_with_a_suggestion() -> None:
    check_columns(dict.fromkeys(COLUMNS, "x"))
    with pytest.raises(DataError, match="did you mean 'rejected'"):
        check_columns({"rejectd": "x"})


def test_csv_cells_become_values() -> None:
    row = {"prompt": "", "label": " TRUE ", "margin": "1.5", "strength": "", "id": "", "tags": "x"}
    assert typed(row) == {"prompt": "", "label": True, "margin": 1.5, "tags": "x"}
    assert typed({"label": "maybe", "margin": "big"}) == {"label": "maybe", "margin": "big"}
    assert typed({"label": "0", "kto_tag": "1"}) == {"label": 0, "kto_tag": 1}

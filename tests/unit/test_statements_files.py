"""Which files a text opens on SQLite: the table."""

from __future__ import annotations

import pytest

from engineroom._statements.files import opened_files


@pytest.mark.parametrize(
    ("sql", "files"),
    [
        ("ATTACH 'a' AS b", ("a",)),
        ("ATTACH DATABASE 'a' AS b", ("a",)),
        ("ATTACH a AS b", ("a",)),
        ("ATTACH 'a' AS b KEY 'c'", ("a",)),
        ("ATTACH 'a' || 'b' AS c", (None,)),
        ("ATTACH ('a') AS b", (None,)),
        ("VACUUM x INTO ?", (None,)),
        ("VACUUM INTO 'a' ||", (None,)),
        ("VACUUM INTO 'a' -", (None,)),
        ("VACUUM x; ATTACH 'a' AS b", ("a",)),
        ("vacuum into 'it''s'", ("it's",)),
        ("SELECT 1; ATTACH 'a' AS b; DETACH b; VACUUM", ("a",)),
        ("EXPLAIN ATTACH 'a' AS b", ()),
        ("SELECT attach FROM vacuum", ()),
        ("ATTACH", (None,)),
        ("", ()),
    ],
)
def test_the_files_of_a_text(sql: str, files: tuple[str | None, ...]) -> None:
    assert opened_files(sql) == files

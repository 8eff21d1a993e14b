"""The tokens of a text: where words, names, strings and comments begin and end, and what strings stand for."""

from __future__ import annotations

import re

import pytest

from engineroom._statements.cursor import (
    MYSQL,
    POSTGRESQL,
    SQLITE,
    Cursor,
    Naming,
    read_string,
    split_statements,
    word_set,
)
from engineroom._statements.lexer import (
    NAME,
    OTHER,
    STRING,
    WORD,
    MySQLReading,
    Token,
    letters,
    lex_mysql,
    lex_postgresql,
    lex_sqlite,
)
from engineroom._statements.mysql import mysql_readings


def show(sql: str, tokens: list[Token]) -> list[str]:
    """Return the tokens with a letter for what they are: w for a word, n a name, s a string, o another."""
    return ["wnso"[token.kind] + ":" + sql[token.start : token.end] for token in tokens]


@pytest.mark.parametrize(
    ("sql", "tokens"),
    [
        ("SELECT a1$ FROM b", ["w:SELECT", "w:a1$", "w:FROM", "w:b"]),
        ("a.b, 1.5 $1 %s %(x)s", ["w:a", "o:.", "w:b", "o:,", "o:1.5", "o:$1", "o:%s", "o:%(x)s"]),
        ("'a''b' \"c\"\"d\"", ["s:'a''b'", 'n:"c""d"']),
        (r"'a\' b", [r"s:'a\'", "w:b"]),
        (r"E'a\'b' e'c'", [r"s:E'a\'b'", "s:e'c'"]),
        (r"""U&'a\'U&"b" u&"c" """, [r"s:U&'a\'", 'n:U&"b"', 'n:u&"c"']),
        ("b'1' X'ff' N'a'", ["s:b'1'", "s:X'ff'", "w:N", "s:'a'"]),
        ("fooE'a'", ["w:fooE", "s:'a'"]),
        ("$$a'b$$ $t$ $$ $t$", ["s:$$a'b$$", "s:$t$ $$ $t$"]),
        ("a$b$c$b$", ["w:a$b$c$b$"]),
        ("a::b", ["w:a", "o::", "o::", "w:b"]),
        ("1$a$b$a$", ["o:1", "s:$a$b$a$"]),
        ("a/*b/*c*/d*/e", ["w:a", "w:e"]),
        ("a--b\nc--d", ["w:a", "w:c"]),
        ("a--b\rc", ["w:a", "w:c"]),
        ("'a'\n'b'", ["s:'a'\n'b'"]),
        ("'a' -- x'\n 'b'", ["s:'a' -- x'\n 'b'"]),
        ("'a' 'b'", ["s:'a'", "s:'b'"]),
        ("'a' /*\n*/ 'b'", ["s:'a'", "s:'b'"]),
        ("E'a'\n'\\''", ["s:E'a'\n'\\''"]),
        ("\uff44rop ñ_1", ["w:\uff44rop", "w:ñ_1"]),
        ("", []),
        ("  \n", []),
        ("-", ["o:-"]),
    ],
)
def test_postgresql_is_taken_apart(sql: str, tokens: list[str]) -> None:
    found, whole = lex_postgresql(sql, backslashes=False)
    assert show(sql, found) == tokens
    assert whole


def test_postgresql_with_the_old_strings() -> None:
    sql = r"'a\'b' b'\' E'\''"
    found, whole = lex_postgresql(sql, backslashes=True)
    assert show(sql, found) == [r"s:'a\'b'", r"s:b'\'", r"s:E'\''"]
    assert whole


@pytest.mark.parametrize("sql", ["'a", '"a', "E'a\\'", "$$a", "$a$ $$", "/* a", "/* /* */", "'a'\n'b", 'U&"a'])
def test_a_text_that_never_ends_is_told_on_postgresql(sql: str) -> None:
    found, whole = lex_postgresql(f"a {sql}", backslashes=False)
    assert not whole
    assert len(found) == 1


@pytest.mark.parametrize(
    ("sql", "tokens"),
    [
        ("SELECT 1a, 1.5, 2", ["w:SELECT", "w:1a", "o:,", "o:1.5", "o:,", "w:2"]),
        ("1.THEN a.b .c", ["o:1.", "w:THEN", "w:a", "o:.", "w:b", "o:.", "w:c"]),
        ("'a''b\\'c' \"d\"\"e\\\"f\" `g``h\\`", ["s:'a''b\\'c'", 's:"d""e\\"f"', "n:`g``h\\`"]),
        ("@a @@b.c @'d' e@f", ["o:@a", "o:@@b.c", "o:@", "s:'d'", "w:e", "o:@f"]),
        ("a#b\nc", ["w:a", "w:c"]),
        ("a-- b\nc --\nd --", ["w:a", "w:c", "w:d"]),
        ("a--b", ["w:a", "o:-", "o:-", "w:b"]),
        ("a--\x01b\nc", ["w:a", "w:c"]),
        ("a -- b\rc\nd", ["w:a", "w:d"]),
        ("a/* /* */b", ["w:a", "w:b"]),
        ("a/*/b*/c", ["w:a", "w:c"]),
        ("a*/b", ["w:a", "o:*", "o:/", "w:b"]),
        ("/*! a */ b", ["w:a", "w:b"]),
        ("/*!50000a*/ b /*M!100000 c*/", ["w:a", "w:b", "w:c"]),
        ("/*! a /* b */ c */ d", ["w:a", "w:c", "w:d"]),
        ("/*!1234 a */", ["w:1234", "w:a"]),
        ("/*!99 '*/' */", ["w:99", "s:'*/'"]),
        ("/* !a */ b", ["w:b"]),
    ],
)
def test_mysql_is_taken_apart(sql: str, tokens: list[str]) -> None:
    found, whole = lex_mysql(sql, MySQLReading())
    assert show(sql, found) == tokens
    assert whole


@pytest.mark.parametrize(
    ("sql", "reading", "tokens"),
    [
        (r"'a\' b", MySQLReading(backslashes=False), [r"s:'a\'", "w:b"]),
        (r'"a\" b', MySQLReading(ansi_quotes=True), [r's:"a\"', "w:b"]),
        (r"'a\'b'", MySQLReading(ansi_quotes=True), [r"s:'a\'b'"]),
        ("a\xa0b", MySQLReading(), ["w:a\xa0b"]),
        ("a\xa0b", MySQLReading(wide_space=True), ["w:a", "w:b"]),
        ("é\x9fa\xa0ü", MySQLReading(wide_space=True), ["w:é\x9fa", "w:ü"]),
        ("a --\xa0b", MySQLReading(wide_space=True), ["w:a"]),
        ("a[b", MySQLReading(), ["w:a", "o:[", "w:b"]),
        ("a[b]]'c]", MySQLReading(brackets=True), ["w:a", "n:[b]]'c]"]),
        ("$a$'$a$", MySQLReading(dollars=True), ["s:$a$'$a$"]),
        ("$a$ b", MySQLReading(), ["w:$a$", "w:b"]),
        ("/*!50000 a */ b /*!60000 c*/", MySQLReading(skipped=frozenset({"!50000"})), ["w:b", "w:c"]),
        ("/*!60000 a /* b */ c */ d", MySQLReading(skipped=frozenset({"!60000"})), ["w:d"]),
        ("/* y */ /*!60000 a /* b */ c */ d", MySQLReading(skipped=frozenset({"!60000"})), ["w:d"]),
        ("/*!60000 a /* b */*/ d", MySQLReading(skipped=frozenset({"!60000"})), ["w:d"]),
        ("/*M! a */ b", MySQLReading(skipped=frozenset({"M!"})), ["w:b"]),
    ],
)
def test_mysql_is_taken_apart_in_other_ways(sql: str, reading: MySQLReading, tokens: list[str]) -> None:
    found, whole = lex_mysql(sql, reading)
    assert show(sql, found) == tokens
    assert whole


@pytest.mark.parametrize("sql", ["'a", '"a', "`a", "/* a", "'a\\'", "/*!50000 b", "/*! b"])
def test_a_text_that_never_ends_is_told_on_mysql(sql: str) -> None:
    assert not lex_mysql(f"a {sql}", MySQLReading())[1]


@pytest.mark.parametrize("sql", ["/*!60000 a", "/*!60000 a /* b */", "/*!60000 a /* b"])
def test_a_skipped_comment_that_never_ends_is_told_on_mysql(sql: str) -> None:
    assert lex_mysql(sql, MySQLReading(skipped=frozenset({"!60000"}))) == ([], False)


def test_a_dollar_string_that_never_ends_is_told_on_mysql() -> None:
    assert not lex_mysql("$a$ b", MySQLReading(dollars=True))[1]


@pytest.mark.parametrize(
    ("sql", "tokens"),
    [
        ("SELECT 'a''b' \"c\" [d] `e`", ["w:SELECT", "s:'a''b'", 'n:"c"', "n:[d]", "n:`e`"]),
        (r"'a\' b", [r"s:'a\'", "w:b"]),
        ("a--b\nc/* d /* */e/* f", ["w:a", "w:c", "w:e"]),
        ("?1 :a @b $c #d 1.5", ["o:?1", "o::a", "o:@b", "o:$c", "o:#d", "o:1.5"]),
        ("[a]]", ["n:[a]", "o:]"]),
    ],
)
def test_sqlite_is_taken_apart(sql: str, tokens: list[str]) -> None:
    found, whole = lex_sqlite(sql)
    assert show(sql, found) == tokens
    assert whole


@pytest.mark.parametrize("sql", ["'a", '"a', "`a", "[a"])
def test_a_text_that_never_ends_is_told_on_sqlite(sql: str) -> None:
    assert not lex_sqlite(f"a {sql}")[1]


def test_tokens_carry_what_they_are() -> None:
    tokens, _ = lex_postgresql("drop \u0131NDEX \"a\" 'b' E'c' U&'d' X'e' b'1' $$f$$ + 1", backslashes=False)
    assert [(token.kind, token.word) for token in tokens] == [
        (WORD, "DROP"),
        (WORD, "\u0131NDEX"),
        (NAME, '"'),
        (STRING, "'"),
        (STRING, "E"),
        (STRING, "U"),
        (STRING, "X"),
        (STRING, "X"),
        (STRING, "$"),
        (OTHER, "+"),
        (OTHER, ""),
    ]


def test_tokens_of_sqlite_carry_what_they_are() -> None:
    tokens, _ = lex_sqlite("drop 1 , 'a' \"b\" [c] `d` ?1")
    assert tokens == [
        Token(WORD, "DROP", 0, 4),
        Token(OTHER, "", 5, 6),
        Token(OTHER, ",", 7, 8),
        Token(STRING, "'", 9, 12),
        Token(NAME, '"', 13, 16),
        Token(NAME, "[", 17, 20),
        Token(NAME, "`", 21, 24),
        Token(OTHER, "", 25, 27),
    ]


def test_tokens_of_mysql_carry_what_they_are() -> None:
    tokens, _ = lex_mysql("drop @a , 'b' \"c\" [d] `e` */ $f$g$f$", MySQLReading(brackets=True, dollars=True))
    assert tokens == [
        Token(WORD, "DROP", 0, 4),
        Token(OTHER, "", 5, 7),
        Token(OTHER, ",", 8, 9),
        Token(STRING, "\\", 10, 13),
        Token(STRING, "\\", 14, 17),
        Token(NAME, "[", 18, 21),
        Token(NAME, "`", 22, 25),
        Token(OTHER, "*", 26, 27),
        Token(OTHER, "/", 27, 28),
        Token(STRING, "$", 29, 36),
    ]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("'a''b'", "a'b"),
        ("'a'\n'b''c'", "ab'c"),
        ("'a' -- x'y\n  'b'", "ab"),
        (r"'a\n'", r"a\n"),
        (r"E'a\n\t\b\f\r\\\'\q'", "a\n\t\b\f\r\\'q"),
        (r"E'\x44\x4f\117\u0050\U00000021\7'", "DOOP!\a"),
        (r"E'\400'", "\0"),
        (r"E'\UFFFFFFFF'", "\ufffd"),
        ("E'a''b'\n'\\x63'", "a'bc"),
        (r"U&'d\0061t\+000061\\'", "data\\"),
        (r"U&'\+FFFFFF'", "\ufffd"),
        ("$$a'b$$", "a'b"),
        ("$x$a$$b$x$", "a$$b"),
        ("X'44'", None),
        ("B'1'", None),
    ],
)
def test_a_string_of_postgresql_stands_for_a_text(sql: str, text: str | None) -> None:
    (token,), _ = lex_postgresql(sql, backslashes=False)
    assert read_string(sql, token) == text


def test_an_old_string_of_postgresql_has_escapes() -> None:
    (token,), _ = lex_postgresql(r"'a\x62'", backslashes=True)
    assert read_string(r"'a\x62'", token) == "ab"


@pytest.mark.parametrize(
    ("sql", "reading", "text"),
    [
        ("'a''b'", MySQLReading(), "a'b"),
        ('"a""b"', MySQLReading(), 'a"b'),
        (r"'\0\b\n\r\t\Z\\\'\q'", MySQLReading(), "\0\b\n\r\t\x1a\\'q"),
        (r"'\%\_'", MySQLReading(), r"\%\_"),
        (r"'a\n'", MySQLReading(backslashes=False), r"a\n"),
        ("$a$b'c$a$", MySQLReading(dollars=True), "b'c"),
    ],
)
def test_a_string_of_mysql_stands_for_a_text(sql: str, reading: MySQLReading, text: str) -> None:
    (token,), _ = lex_mysql(sql, reading)
    assert read_string(sql, token, mysql=True) == text


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("DROP", 1),
        (r"'\'", 2),
        (r"'\' " + '"', 4),
        ("\xa0", 2),
        ("[", 2),
        ("$a$", 2),
        ("/* a */", 1),
        ("/*! a */", 1),
        ("/*!50000 a */", 1),
        ("/*!50001 a */", 2),
        ("/*!50700 a */", 2),
        ("/*!100100 a */", 2),
        ("/*M! a */", 2),
    ],
)
def test_a_text_is_read_in_no_more_ways_than_servers_differ(sql: str, count: int) -> None:
    readings = mysql_readings(sql)
    assert readings is not None
    assert len(readings) == len(set(readings)) == count


def cursor(sql: str) -> Cursor:
    tokens, _ = lex_postgresql(sql, backslashes=False)
    return Cursor(sql, tokens, POSTGRESQL)


def test_a_cursor_steps_over_words_only_if_all_of_them_follow() -> None:
    place = cursor("IF NOT EXISTS 'IF'")
    assert not place.accept("IF", "EXISTS")
    assert place.word() == "IF"
    assert place.word(1) == "NOT"
    assert place.accept("IF", "NOT", "EXISTS")
    assert not place.accept("IF")
    assert place.word() == ""
    assert not place.done
    assert not place.accept("IF", "IF", "IF")


def test_a_cursor_reads_names() -> None:
    place = cursor('a, "B".c (x, (y)) , d*, 1')
    assert [name.parts for name in place.names("table")] == [("a",), ("B", "c"), ("d",)]
    assert place.word() == ""


def test_a_cursor_reads_the_parts_of_a_name_as_far_as_they_go() -> None:
    assert cursor("1").parts() == ()
    assert cursor("a b").parts() == ("a",)
    assert cursor("a.'b'").parts() == ("a",)


def test_a_cursor_skips_no_word_before_names_unless_it_is_asked_to() -> None:
    assert [name.parts for name in cursor("xxxx, only a").names("table")] == [("xxxx",), ("only",)]
    assert [name.parts for name in cursor("only b, a").names("table", before="ONLY")] == [("b",), ("a",)]


def test_a_cursor_skips_a_group() -> None:
    place = cursor("(a (b)) c")
    assert place.skip_group()
    assert place.word() == "C"
    assert not place.skip_group()
    assert place.word() == "C"


def test_a_cursor_skips_a_group_that_never_ends() -> None:
    place = cursor("(a (b)")
    assert place.skip_group()
    assert place.done


def test_a_cursor_splits_at_the_commas_outside_of_groups() -> None:
    actions = cursor("a (b, c), d[1, 2], e").actions()
    assert [action.word() for action in actions] == ["A", "D", "E"]
    assert actions[0].holds({"C"})
    assert not actions[0].holds({"D"})


def test_a_word_after_a_dot_is_a_name() -> None:
    assert not cursor("a.drop").holds({"DROP"})
    assert cursor("a drop").holds({"DROP"})


@pytest.mark.parametrize(
    ("name", "naming", "written"),
    [
        ("users", POSTGRESQL, "users"),
        ("Users", POSTGRESQL, '"Users"'),
        ('a"b', POSTGRESQL, '"a""b"'),
        ("1a", POSTGRESQL, '"1a"'),
        ("Users", MYSQL, "Users"),
        ("a`b", MYSQL, "`a``b`"),
        ("a b", MYSQL, "`a b`"),
        ("Users", SQLITE, "Users"),
        ('a"b', SQLITE, '"a""b"'),
    ],
)
def test_a_name_is_written_as_a_person_would(name: str, naming: Naming, written: str) -> None:
    assert naming.write(name) == written


def test_statements_are_split_and_the_empty_ones_left_out() -> None:
    tokens, _ = lex_postgresql(";a;;b c;", backslashes=False)
    assert [[token.word for token in statement] for statement in split_statements(tokens)] == [["A"], ["B", "C"]]


def test_the_words_of_a_line_are_a_set() -> None:
    assert word_set(" DROP RENAME\n DROP") == {"DROP", "RENAME"}


@pytest.mark.parametrize("without", ["", "\xa0"])
@pytest.mark.parametrize("ones", ["a-z_", "A-Za-z0-9_$", "A-Za-z0-9_.$"])
def test_letters_are_the_ascii_ones_that_are_meant_and_all_beyond_ascii(ones: str, without: str) -> None:
    fast = re.compile(letters(ones, without=without) if without else letters(ones))
    plain = re.compile(f"[{ones}\x80-\U0010ffff]")
    for character in map(chr, [*range(0x300), 0xFFFF, 0x10000, 0x10FFFF]):
        is_meant = character not in without and plain.fullmatch(character) is not None
        assert (fast.fullmatch(character) is not None) == is_meant, repr(character)

"""A database URL for people: what is shown, and that no secret ever is."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import URL, make_url

from engineroom._address import mask_url
from engineroom._address.masking import MASK, SHOWN_KEYS

SECRET = "geheim"

SHOWN = {
    "sqlite://": "sqlite://",
    "sqlite:///:memory:": "sqlite:///:memory:",
    "sqlite:///shop.db": "sqlite:///shop.db",
    "sqlite:////srv/shop.db": "sqlite:////srv/shop.db",
    "sqlite+aiosqlite:///shop.db?timeout=5": "sqlite+aiosqlite:///shop.db?timeout=5",
    "sqlite:////home/git@host/shop.db": "sqlite:////home/git@host/shop.db",
    "sqlite:///file:shop.db?mode=ro&uri=true": "sqlite:///file:shop.db?mode=ro&uri=true",
    "postgresql://localhost": "postgresql://localhost",
    "postgresql://localhost/": "postgresql://localhost/",
    "postgresql://localhost:5432/shop": "postgresql://localhost:5432/shop",
    "postgresql://[::1]:5432/shop": "postgresql://[::1]:5432/shop",
    "postgresql:///shop?host=/run/postgresql": "postgresql:///shop?host=/run/postgresql",
    "postgresql:///shop?host=a&host=b": "postgresql:///shop?host=a&host=b",
    "postgresql+asyncpg://app@db.internal/shop?ssl=require": "postgresql+asyncpg://app@db.internal/shop?ssl=require",
    "postgresql://app@localhost/passport?sslmode=require": "postgresql://app@localhost/passport?sslmode=require",
    "postgresql://app@localhost/secret_tokens": "postgresql://app@localhost/secret_tokens",
    "mysql+pymysql://root@localhost/shop?charset=utf8mb4": "mysql+pymysql://root@localhost/shop?charset=utf8mb4",
    "mysql+pymysql://root@localhost/?unix_socket=/run/my.sock": "mysql+pymysql://root@localhost/?unix_socket=/run/my.sock",
    "oracle+oracledb://app@db/?service_name=x": "oracle+oracledb://app@db/?service_name=***",
    "postgres://localhost/shop": "postgres://localhost/shop",
}

MASKED = {
    "postgresql://app:geheim@localhost/shop": "postgresql://app:***@localhost/shop",
    "postgresql://:geheim@localhost/shop": "postgresql://:***@localhost/shop",
    "postgresql://app:@localhost/shop": "postgresql://app:***@localhost/shop",
    "postgresql://app:%67eheim@localhost/shop": "postgresql://app:***@localhost/shop",
    "sqlite+pysqlcipher://:geheim@/shop.db?kdf_iter=1": "sqlite+pysqlcipher://:***@/shop.db?kdf_iter=***",
    "postgresql://localhost/shop?password=geheim": "postgresql://localhost/shop?password=***",
    "postgresql://localhost/shop?PassWord=geheim": "postgresql://localhost/shop?PassWord=***",
    "postgresql://localhost/shop?p%61ssword=geheim": "postgresql://localhost/shop?password=***",
    "postgresql://localhost/shop?password=geheim&password=geheim": "postgresql://localhost/shop?password=***&password=***",
    "postgresql://localhost/shop?sslpassword=geheim&sslkey=/k": "postgresql://localhost/shop?sslpassword=***&sslkey=***",
    "postgresql://localhost/shop?dsn=host%3Da%20password%3Dgeheim": "postgresql://localhost/shop?dsn=***",
    "postgresql://localhost/shop?dbname=password%3Dgeheim": "postgresql://localhost/shop?dbname=***",
    "postgresql:///?dbname=postgresql://app:geheim@db/x": "postgresql:///?dbname=***",
    "postgresql://localhost/shop?host=app:geheim@db": "postgresql://localhost/shop?host=***",
    "postgresql://localhost/shop?options=-c%20app.key%3Dgeheim": "postgresql://localhost/shop?options=***",
    "postgresql://localhost/password%3Dgeheim": None,
    "postgresql://localhost/?dbname=password%25253Dgeheim": "postgresql://localhost/?dbname=***",
    "postgresql://localhost/password=geheim": "postgresql://localhost/***",
    "mysql+pymysql://localhost/shop?init_command=SET PASSWORD='geheim'": "mysql+pymysql://localhost/shop?init_command=***",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DX;PWD%3Dgeheim": "mssql+pyodbc:///?odbc_connect=***",
    "snowflake://localhost/shop?token=geheim": "snowflake://localhost/shop?token=***",
    "postgresql://localhost/shop?something_new=geheim": "postgresql://localhost/shop?something_new=***",
    "postgresql://localhost/shop?my%20key=geheim": "postgresql://localhost/shop?***=***",
    "sqlite:///file:/srv/shop.db%3Fkey=geheim?uri=true": None,
    "sqlite:///file:/srv/shop.db?key=geheim&uri=true": "sqlite:///file:/srv/shop.db?key=***&uri=true",
    # A password that should have been encoded leaves its end elsewhere.
    "postgresql://app:a@geheim@localhost/shop": "postgresql://***",
    "postgresql://app:a@geheim/b@localhost/shop": "postgresql://***",
    "postgresql://app:a@b/geheim@localhost/shop": "postgresql://***",
    "postgresql://app:a@b/c?geheim=x@localhost/shop": "postgresql://***",
    "postgresql://app:a@b/c?geheim@localhost/shop": "postgresql://***",
    "postgresql://app:a@geheim?@localhost/shop": "postgresql://***",
    "postgresql://ap/p:geheim@localhost/shop": "postgresql://***",
    "postgresql://app%3Ageheim@localhost/shop": "postgresql://***@localhost/shop",
    "postgresql://app@geheim:x@localhost/shop": "postgresql://***",
}


@pytest.mark.parametrize(("url", "text"), SHOWN.items())
def test_what_is_harmless_is_shown(url: str, text: str) -> None:
    assert mask_url(url) == text
    assert mask_url(make_url(url)) == text


@pytest.mark.parametrize(("url", "text"), MASKED.items())
def test_what_may_be_a_secret_is_masked(url: str, text: str | None) -> None:
    masked = mask_url(url)
    assert SECRET not in masked
    if text is not None:  # else versions of SQLAlchemy decode the URL differently
        assert masked == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "geheim",
        "geheim@localhost/shop",
        "app:geheim@localhost/shop",
        "//app:geheim@localhost/shop",
        "postgresql:/app:geheim@localhost",
        "postgresql//app:geheim@localhost",
        "postgres-ql://app:geheim@localhost",
        "DATABASE_URL=postgresql://app:geheim@localhost",
        "'postgresql://app:geheim@localhost'",
        " postgresql://app:geheim@localhost",
        "postgresql://app:geheim",
        "postgresql://app:geheim/shop",
        "postgresql://app:pw@localhost:geheim/shop",
        "postgresql://app:pw@localhost:५geheim/shop",
        "postgresql://[geheim",
    ],
)
def test_a_text_that_is_no_url_shows_nothing(text: str) -> None:
    assert mask_url(text) in {MASK, "postgresql://***"}
    assert SECRET not in mask_url(text)


@pytest.mark.parametrize("thing", [None, 3, b"postgresql://app:geheim@localhost", 3.5, ["geheim"], {"a": 1}], ids=repr)
def test_what_is_not_even_a_text_shows_nothing(thing: Any) -> None:
    assert mask_url(thing) == MASK


@pytest.mark.parametrize("host", ["[geheim", "gehe im", "geheim\n", "geheim'", "geheim!"])
def test_a_host_that_is_none_may_be_a_password(host: str) -> None:
    assert mask_url(URL.create("postgresql", host=host)) == "postgresql://***"


def test_a_part_of_a_password_in_the_user_name_is_masked() -> None:
    assert mask_url(URL.create("postgresql", username="app@geheim", host="db")) == "postgresql://***@db"


@pytest.mark.parametrize("port", [-1, 65536, 1234567890])
def test_a_port_that_is_none_may_be_a_password(port: int) -> None:
    assert mask_url(URL.create("postgresql", host="app", port=port)) == "postgresql://***"


@pytest.mark.parametrize("port", [0, 1, 5432, 65535])
def test_a_port_is_shown(port: int) -> None:
    assert mask_url(URL.create("postgresql", host="db", port=port)) == f"postgresql://db:{port}"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (URL.create("postgresql", "app", "pw", database="a@b"), "postgresql://***"),
        (URL.create("postgresql", "app", "pw", host="h", query={"host": "a@b"}), "postgresql://***"),
        (URL.create("postgresql", "app", host="h", query={"host": "a@b"}), "postgresql://app@h?host=***"),
        (URL.create("postgresql", database="a@b"), "postgresql://***"),
        (URL.create("sqlite", "app", database="a@b"), "sqlite://***"),
        (URL.create("sqlite", password="pw", database="a@b"), "sqlite://***"),
        (URL.create("sqlite", host="h", database="a@b"), "sqlite://***"),
        (URL.create("sqlite", database="a@b"), "sqlite:///a@b"),
        (URL.create("sqlite", database="a?b?geheim"), "sqlite:///a?***"),
        (URL.create("postgresql", "an app+", host="h"), "postgresql://an app+@h"),
        (URL.create("postgresql", "Käse", host="h"), "postgresql://K%C3%A4se@h"),
        (URL.create("postgresql", host="h", database="Käse"), "postgresql://h/Käse"),
    ],
    ids=repr,
)
def test_each_part_is_judged_by_itself(url: URL, text: str) -> None:
    assert mask_url(url) == text


def test_a_url_cannot_forge_a_line_of_a_message() -> None:
    masked = mask_url(URL.create("postgresql", database="sh\x1b[1mop\n\nFix: x", query={"host": "a\rb"}))
    assert masked == r"postgresql:///sh\x1b[1mop\n\nFix: x?host=a\rb"


def test_a_tail_that_the_parser_dropped_is_not_shown() -> None:
    assert SECRET not in mask_url("postgresql://localhost/shop?host=a\ngeheim")


def test_the_question_mark_in_a_sqlite_name_hides_what_follows() -> None:
    assert mask_url(URL.create("sqlite", database="file:shop.db?key=geheim")) == "sqlite:///file:shop.db?***"


def test_no_key_that_sounds_secret_is_shown() -> None:
    words = ("pass", "pwd", "secret", "token", "cred", "auth", "sign")
    assert not [key for key in SHOWN_KEYS if any(word in key for word in words) or key.endswith("key")]
    assert all(key == key.lower() for key in SHOWN_KEYS)


# --- properties ---------------------------------------------------------------------------------------------------

drivernames = st.sampled_from(["postgresql", "postgresql+asyncpg", "mysql+pymysql", "sqlite", "sqlite+aiosqlite", "x"])
words = st.text(string.ascii_lowercase, min_size=1, max_size=6)
secrets = st.text(string.ascii_letters + string.digits, min_size=4, max_size=9).map(lambda text: f"{text}Zq9")
SECRET_KEYS = ["password", "Password", "passwd", "pwd", "sslpassword", "secret", "client_secret", "token", "api_key"]
SECRET_KEYS += ["sslkey", "ssl_key", "authToken", "credential", "ssl_key_password", "oauth_client_secret", "kdf"]
CONNINFOS = ["password={0}", "host=a password='{0}'", "postgresql://app:{0}@db/x", "PWD={0};UID=x", "app:{0}@db"]
separators = st.sampled_from(["@", "/", ":", "?", "#", "&", "=", "%", "[", "]", " ", "\n", ""])


@settings(deadline=None)
@given(drivernames, words | st.none(), secrets, words | st.none(), words | st.none())
def test_the_password_is_never_shown(
    drivername: str, user: str | None, secret: str, host: str | None, database: str | None
) -> None:
    url = URL.create(drivername, username=user, password=secret, host=host, database=database)
    assert secret not in mask_url(url)
    assert secret not in mask_url(url.render_as_string(hide_password=False))


@settings(deadline=None)
@given(drivernames, st.sampled_from(SECRET_KEYS), secrets, words)
def test_a_secret_of_the_query_is_never_shown(drivername: str, key: str, secret: str, database: str) -> None:
    url = URL.create(drivername, host=None, database=database, query={key: secret, "host": "localhost"})
    assert secret not in mask_url(url)
    assert secret not in mask_url(str(url))
    assert "host=localhost" in mask_url(url)


@settings(deadline=None)
@given(drivernames, st.sampled_from([*sorted(SHOWN_KEYS), *SECRET_KEYS, "dsn"]), st.sampled_from(CONNINFOS), secrets)
def test_a_connection_string_in_the_query_is_never_shown(drivername: str, key: str, form: str, secret: str) -> None:
    url = URL.create(drivername, query={key: (form.format(secret), "x")})
    assert secret not in mask_url(url)
    assert secret not in mask_url(str(url))


@settings(deadline=None)
@given(st.sampled_from(CONNINFOS), secrets)
def test_a_connection_string_for_a_database_name_is_never_shown(form: str, secret: str) -> None:
    assert secret not in mask_url(URL.create("postgresql", host="db", database=form.format(secret)))


@settings(deadline=None, max_examples=400)
@given(st.lists(secrets | separators, min_size=1, max_size=7), words, words)
@example(["aaaaZq9", "@", "bbbbZq9", "/", "ccccZq9", "?", "ddddZq9"], "app", "db")
@example(["aaaaZq9", "/", "bbbbZq9", "@", "ccccZq9"], "app", "db")
@example(["aaaaZq9", "?", "bbbbZq9", "=", "ccccZq9", "&", "ddddZq9"], "app", "db")
def test_no_part_of_a_password_that_was_not_encoded_is_shown(password: list[str], user: str, host: str) -> None:
    masked = mask_url(f"postgresql://{user}:{''.join(password)}@{host}/shop")
    assert not [part for part in password if len(part) > 1 and part in masked]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_masked_without_an_error(text: str) -> None:
    masked = mask_url(text)
    assert masked.isprintable()
    assert masked == MASK or "://" in masked


@settings(deadline=None)
@given(drivernames, words, words, words)
def test_a_masked_url_still_tells_where_it_leads(drivername: str, user: str, host: str, database: str) -> None:
    masked = mask_url(URL.create(drivername, username=user, password="pw", host=host, database=database))
    assert masked == f"{drivername}://{user}:***@{host}/{database}"

"""Which databases the clients of databases reach when a test starts them, from the command line alone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom import _run_files
from engineroom.errors import FenceError
from engineroom.testing._clients import CLIENTS, judge_start
from engineroom.testing._database_files import Terms
from engineroom.testing._options import MYSQL, PSQL, SQLITE_SHELL, read_options
from engineroom.testing._programs import UNKNOWN, programs_of

# The clients are stand-ins: nothing of this file starts one, so no server has to be there.
REACHING = [
    "mysql -e 'DELETE FROM shop.users'",
    "mysql test_x -e 'UPDATE shop.users SET a = 1'",
    "psql postgres -c 'DROP TABLE users'",
    "sqlite3 shop.db",
    "sqlite3 shop.db 'drop table a'",
    "sqlite3 -cmd .help shop.db",
    "sqlite3 file:shop.db",
    "sqlite3 :memory: \"ATTACH 'shop.db' AS s\"",
    "sqlite3 test_x.db '.backup shop.db'",
    "sqlite3 test_x.db '.open shop.db'",
    "cd .. && sqlite3 p/shop.db",
    "echo 'drop table a' | sqlite3 shop.db",
    "sqlite3 shop.db < x.sql",
    "env A=b sqlite3 shop.db",
    "sh -c 'sqlite3 shop.db'",
    'sqlite3 "$NOPE"',
    "psql shop",
    "psql -d shop",
    "psql -dshop",
    "psql --dbname=shop",
    "psql --db shop",
    "psql -U ada shop",
    "psql postgresql://ada:secret@db/shop",
    "psql 'host=db dbname=shop password=x'",
    "PGDATABASE=shop psql -c 'select 1'",
    "psql service=prod",
    "PGSERVICE=prod psql",
    "psql",
    "sudo -u postgres psql shop",
    "sudo -u shop psql",
    "env -u PGDATABASE psql shop",
    "psql postgres -c 'DROP DATABASE shop'",
    "psql test_x -c 'drop database shop'",
    "psql postgres -c '\\c shop'",
    "psql -h db postgres -c 'DROP DATABASE IF EXISTS \"shop\"'",
    "dropdb shop",
    "dropdb -U x --if-exists shop",
    "dropdb postgres",
    "timeout 5 dropdb shop",
    "dropdb -h db --maintenance-db test_x shop",
    "pg_restore -d shop x.dump",
    "pg_restore -C -d postgres x",
    "pgbench -i shop",
    "pgbench -d -T 5 shop",
    "mysql shop",
    "mysql -uroot -psecret shop",
    "mysql -u root -e 'DROP DATABASE shop'",
    "mysql -D shop",
    "mysql --database shop",
    "mysql -e 'USE shop; DELETE FROM a'",
    "mysql test_x -e 'DROP TABLE shop.a'",
    "mariadb shop < dump.sql",
    "mysqladmin drop shop",
    "mysqladmin -f -u root drop shop",
    "mysqladmin create x drop shop",
    "mysqlimport shop a.txt",
    "mysqladmin dr shop",
    "su - postgres -c 'dropdb shop'",
    "if true; then dropdb shop; fi",
    "(dropdb shop)",
    "dropdb $(cat name)",
    "A=1 B=2 dropdb shop 2>/dev/null",
    "true\ndropdb shop",
    "HOME=home mysql",
]
FREE = [
    "mysql -e 'SELECT * FROM shop.users'",
    "mysql test_x -e 'INSERT INTO users SELECT * FROM shop.users'",
    "psql postgres -c 'CREATE ROLE ada'",
    "sudo -u postgres psql -c 'CREATE DATABASE test_x'",
    "sudo --user=postgres psql",
    "su - postgres -c 'psql -l; psql -c \"CREATE DATABASE test_x\"'",
    "psql -U postgres -c 'CREATE DATABASE test_x'",
    "createdb -U postgres shop",
    "psql test_x -v ON_ERROR_STOP=1 --set=a=b",
    "env -u PGDATABASE psql test_x",
    "mysql -e 'SHOW DATABASES LIKE \"shop\"; CREATE DATABASE IF NOT EXISTS shop'",
    "sqlite3 test_x.db '.restore shop.db'",
    "sqlite3 test_x.db '.open --readonly shop.db'",
    "dropdb test_$NOPE",
    "sqlite3 test_x.db",
    "sqlite3 -readonly shop.db",
    "sqlite3 'file:shop.db?mode=ro' .dump",
    "sqlite3 --version",
    "sqlite3 :memory: 'select 1'",
    "sqlite3",
    "psql test_x",
    "psql postgres",
    "psql -l",
    "psql --version",
    "psql postgres -c 'CREATE DATABASE test_y'",
    "psql postgres -c 'DROP DATABASE test_y'",
    "psql -h localhost allowed",
    "createdb shop",
    "pg_dump shop",
    "pg_dumpall",
    "psql test_x -c '\\c - ada'",
    "dropdb test_x",
    "dropdb",
    "dropdb --help",
    "pg_restore -l x",
    "pg_restore x.dump",
    "pgbench test_x",
    "mysql",
    "mysql -e 'CREATE DATABASE test_y'",
    "mysql -u root -psecret test_x",
    "mysql -p test_x",
    "mysqldump shop",
    "mysqladmin ping",
    "mysqladmin drop test_x",
    "mysqladmin create shop",
    "mysqlimport test_x a",
    "echo psql shop",
    "grep dropdb shop",
    'psql test_x -c "DO $$ BEGIN END $$"',
    "git commit -m 'psql shop'",
    "HOME=/ mysql --no-defaults",
    "unterminated 'quote",
    "python -c 'psql shop'",
]


@pytest.fixture(autouse=True)
def terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terms:
    """Return the terms of a project with a development database, where every client is installed."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in CLIENTS:
        (binaries / name).touch(mode=0o755)
    (tmp_path / "shop" / "home").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop")
    Path("home/.my.cnf").write_text("[client]\nuser=root\n[mysql]\ndatabase = shop\n[mysqldump]\ndatabase=test_x\n")
    for name in ("shop.db", "test_x.db"):
        make_database(Path(name))
    monkeypatch.setenv("PATH", str(binaries))
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("NOPE", raising=False)
    return Terms(Path.cwd(), ("test_*",), ("postgresql://localhost/allowed",))


def make_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE articles (name TEXT)")
    connection.close()


@pytest.mark.parametrize("command", REACHING, ids=repr)
def test_a_client_on_a_protected_database_is_refused(terms: Terms, command: str) -> None:
    command = command.replace("cd .. && sqlite3 p/", "cd .. && sqlite3 shop/")
    assert isinstance(judge_start("os.system", (command,), terms), FenceError)


@pytest.mark.parametrize("command", FREE, ids=repr)
def test_what_a_sensible_person_would_allow_is_free(terms: Terms, command: str) -> None:
    assert judge_start("os.system", (command,), terms) is None


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("subprocess.Popen", ("dropdb", ["dropdb", "shop"], None, None)),
        ("subprocess.Popen", (b"dropdb", [b"dropdb", b"shop"], b"..", {b"PATH": os.defpath.encode()})),
        ("subprocess.Popen", (Path("dropdb"), (Path("dropdb"), "shop"), Path(), None)),
        ("subprocess.Popen", ("/bin/sh", ["/bin/sh", "-c", "dropdb shop"], None, None)),
        ("subprocess.Popen", ("/bin/bash", ["bash", "-ec", "dropdb shop", "name"], None, None)),
        ("subprocess.Popen", ("sudo", ["sudo", "-u", "postgres", "dropdb", "shop"], None, None)),
        ("os.posix_spawn", ("dropdb", ["dropdb", "shop"], None)),
        ("os.exec", (b"dropdb", ("dropdb", "shop"), None)),
        ("os.spawn", (0, "dropdb", ["dropdb", "shop"], {})),
        ("os.system", (b"dropdb shop",)),
    ],
)
def test_every_way_to_start_a_program_is_read(
    terms: Terms, event: str, args: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"{os.environ['PATH']}/{name}")  # noqa: ARG005
    monkeypatch.setattr("os.defpath", os.environ["PATH"])
    refusal = judge_start(event, args, terms)
    assert refusal is not None
    assert refusal.what == "Refused to start dropdb on postgresql:///shop while pytest runs."


def test_the_environment_of_the_child_counts(terms: Terms) -> None:
    ours = {**os.environ, "PGDATABASE": "test_x"}
    theirs = {**os.environ, "PGDATABASE": "shop"}
    assert judge_start("subprocess.Popen", ("psql", ["psql"], None, ours), terms) is None
    assert judge_start("subprocess.Popen", ("psql", ["psql"], None, theirs), terms) is not None


def test_the_directory_of_the_child_counts(terms: Terms) -> None:
    Path("below").mkdir()
    make_database(Path("below/other.db"))
    start = ("sqlite3", ["sqlite3", "other.db"], "below", None)
    assert judge_start("subprocess.Popen", start, terms) is not None


@pytest.mark.parametrize("name", ["script.sql", "./script.sql"])
def test_a_script_is_read_for_other_databases(terms: Terms, name: str) -> None:
    Path("script.sql").write_text("SELECT 1;\nDROP DATABASE shop;\n")
    assert judge_start("os.system", (f"psql -f {name} postgres",), terms) is not None
    Path("script.sql").write_text("SELECT 1;\nDROP DATABASE test_shop;\n")
    assert judge_start("os.system", (f"psql -f {name} postgres",), terms) is None


def test_a_stand_in_that_the_test_wrote_is_free(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge_start("os.system", ("dropdb shop",), terms) is not None
    monkeypatch.setattr(_run_files, "is_run_owned", lambda path: path.startswith(os.environ["PATH"]))
    assert judge_start("os.system", ("dropdb shop",), terms) is None


def test_a_stand_in_of_the_project_is_free(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bin").mkdir()
    monkeypatch.setenv("PATH", f"{Path.cwd()}/bin:{os.environ['PATH']}")
    Path("bin/dropdb").write_text("#!/bin/sh\n")
    Path("bin/dropdb").chmod(0o755)
    assert judge_start("os.system", ("dropdb shop",), terms) is None
    Path("bin/dropdb").write_bytes(b"\x7fELF")  # the real one, of an environment that stands in the project
    assert judge_start("os.system", ("dropdb shop",), terms) is not None


def test_without_any_name_the_users_is_the_databases(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd  # noqa: PLC0415

    def user(name: str) -> None:
        monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd((name, "", 0, 0, "", "", "")))

    user("postgres")
    assert judge_start("os.system", ("psql",), terms) is None
    user("ada")
    assert judge_start("os.system", ("psql",), terms) is not None


def test_a_program_that_is_not_there_is_not_our_business(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert judge_start("subprocess.Popen", ("dropdb", ["dropdb", "shop"], None, None), terms) is None


@pytest.mark.parametrize(
    "command",
    ["psql postgresql://ada:geheim@db/shop", "psql 'dbname=shop password=geheim'", "mysql -uroot -pgeheim shop",
     "mysql --password=geheim shop", "PGPASSWORD=geheim psql shop", "psql 'postgresql://db/shop?password=geheim'"],
)  # fmt: skip
def test_the_message_holds_no_secret(terms: Terms, command: str) -> None:
    refusal = judge_start("os.system", (command,), terms)
    assert refusal is not None
    assert "geheim" not in str(refusal)
    assert "shop" in refusal.what


def test_to_judge_a_program_loads_no_library() -> None:
    code = """
import sys
from engineroom.testing import _clients, fence
from engineroom.testing._database_files import Terms
_clients.judge_start("os.system", ("git status; grep psql x",), Terms("/"))
assert not {"sqlalchemy", "pydantic"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Texts of shells


def commands_of(text: str) -> list[list[str]]:
    return [[program.name, *program.arguments] for program in programs_of("os.system", (text,))]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("a b; c|d && e || f & g", [["a", "b"], ["c"], ["d"], ["e"], ["f"], ["g"]]),
        ("a 'b; c' \"d && e\"", [["a", "b; c", "d && e"]]),
        ("a > b 2>&1 < c d", [["a", "2", "d"]]),
        ("a\nb # c", [["a"], ["b", "#", "c"]]),
        ("A=1 b", [["b"]]),
        ("a $NOPE ${NOPE}x `b` $(c)", [["a", UNKNOWN, f"{UNKNOWN}x", UNKNOWN, "$"], ["c"]]),
        ("", []),
        ("'", [["'"]]),
        ("sh -c 'a b'", [["sh", "-c", "a b"], ["a", "b"]]),
    ],
)
def test_a_text_is_read_as_a_shell_would(text: str, commands: list[list[str]]) -> None:
    assert commands_of(text) == commands


def test_assignments_and_variables_reach_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "shop")
    (program,) = programs_of("os.system", ("PGDATABASE=$NAME psql ~/a",))
    assert program.environ["PGDATABASE"] == "shop"
    assert program.arguments == ("/nonexistent/a",)


def test_shells_in_shells_have_an_end() -> None:
    text = "dropdb shop"
    for _ in range(10):
        text = f"sh -c {subprocess.list2cmdline([text])}"
    assert len(commands_of(text)) < 10


@given(st.text(max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    list(programs_of("os.system", (text,)))
    list(programs_of("subprocess.Popen", ("sh", ["sh", "-c", text], None, None)))


@given(st.sampled_from(sorted(CLIENTS)), st.lists(st.text(alphabet="-=dcfhxpU'/: $;", max_size=8), max_size=5))
def test_no_command_line_is_an_error(name: str, arguments: list[str]) -> None:
    judge_start("subprocess.Popen", (name, [name, *arguments], None, None), Terms("/"))


# --- Options


@pytest.mark.parametrize(
    ("style", "arguments", "words"),
    [
        (PSQL, ["-At", "-U", "ada", "shop"], ["shop"]),
        (PSQL, ["-AtUada", "shop"], ["shop"]),
        (PSQL, ["shop", "-c", "x", "ada"], ["shop", "ada"]),
        (PSQL, ["--", "-shop"], ["-shop"]),
        (PSQL, ["--user", "ada", "shop"], ["shop"]),
        (MYSQL, ["-p", "shop"], ["shop"]),
        (MYSQL, ["-psecret", "shop"], ["shop"]),
        (MYSQL, ["--default_character_set", "utf8", "shop"], ["shop"]),
        (SQLITE_SHELL, ["-separator", ",", "--header", "shop.db"], ["shop.db"]),
        (SQLITE_SHELL, ["-lookaside", "1", "2", "shop.db"], ["shop.db"]),
        (PSQL, ["-c"], []),
    ],
)
def test_the_value_of_an_option_is_no_database(style: Any, arguments: list[str], words: list[str]) -> None:
    assert read_options(arguments, style).words == words

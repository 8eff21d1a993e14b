"""Which programs does an audit event start, with which arguments, environment and working directory?

Reads the arguments of the event, and the text of a shell as far as that can be read without running it. It knows no
program but those that start another one, and decides nothing. What only the shell could tell stands as ``UNKNOWN`` in a
word; what cannot be read at all names no program.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["UNKNOWN", "Program", "programs_of"]

UNKNOWN = "\0"
"""Stands for what a shell would put there."""

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "su"})
STARTERS = frozenset(
    # Programs that start the one that their arguments name.
    {"command", "env", "exec", "ionice", "nice", "nohup", "runuser", "setsid", "stdbuf", "sudo", "time", "timeout"}
)
KEYWORDS = frozenset({"!", "{", "}", "if", "then", "elif", "else", "fi", "while", "until", "do", "done"})
SEPARATORS = ";&|()<>\n"
ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.DOTALL)
VARIABLE = re.compile(r"\$(?:(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})")
MOST_DEPTH = 4  # of shells that start shells


class Program(NamedTuple):
    """A program that is about to be started.

    Attributes:
        name: The base name of its file.
        file: Its file as it was named.
        arguments: What follows the name.
        environ: Its environment.
        directory: Its working directory.
        user: The user that it is started as; empty for the one of this process.
    """

    name: str
    file: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]
    directory: str
    user: str = ""


def programs_of(event: str, args: tuple[Any, ...]) -> Iterator[Program]:
    """Yield each program that an audit event starts, and those that it is told to start.

    Example:
        >>> [program.name for program in programs_of("os.system", ("cd /srv && PGUSER=ada psql shop",))]
        ['cd', 'psql']
    """
    if event == "os.system":
        yield from _of_shell(_text(args[0]), os.environ, _working_directory(), MOST_DEPTH)
        return
    if event == "subprocess.Popen":
        file, words, directory, environ = args
    else:
        (file, words, environ), directory = args[-3:], None
    words = [words] if isinstance(words, str | bytes | os.PathLike) else list(words or ())
    place = os.path.join(_working_directory(), _text(directory)) if directory else _working_directory()  # noqa: PTH118
    variables = _environ_of(environ)
    yield from _of_words([_text(file or words[0]), *map(_text, words[1:])], variables, place, MOST_DEPTH)


def _of_words(
    words: Sequence[str], environ: Mapping[str, str], directory: str, depth: int, user: str = ""
) -> Iterator[Program]:
    if not words or not depth:
        return
    name = os.path.basename(words[0])  # noqa: PTH119  # as text: it may be no path
    yield Program(name, words[0], tuple(words[1:]), environ, directory, user)
    if name in SHELLS:
        user = next((word for word in words[1:] if not word.startswith("-")), "") if name == "su" else user
        for number, word in enumerate(words[1:-1], 2):
            if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
                yield from _of_shell(words[number], environ, directory, depth - 1, user)
                return
    elif name in STARTERS:
        yield from _of_starter(words, environ, directory, depth - 1, user)


def _of_starter(
    words: Sequence[str], environ: Mapping[str, str], directory: str, depth: int, user: str
) -> Iterator[Program]:
    """Yield what each word might start: where the options of a starter end is not known, and need not be."""
    added = dict(environ)
    for number, (before, word) in enumerate(pairwise(words), 1):
        assignment = ASSIGNMENT.fullmatch(word)
        if assignment:
            added[assignment["name"]] = assignment["value"]
        elif before in {"-u", "--user"} and words[0] != "env":
            user = word
        elif word.startswith("-"):
            user = word.removeprefix("--user=") if word.startswith("--user=") else user
        else:
            yield from _of_words(words[number:], added, directory, depth, user)


def _of_shell(text: str, environ: Mapping[str, str], directory: str, depth: int, user: str = "") -> Iterator[Program]:
    for command in _commands_of(text):
        variables, words = dict(environ), list(command)
        while words and (words[0] in KEYWORDS or ASSIGNMENT.fullmatch(words[0])):
            assignment = ASSIGNMENT.fullmatch(words.pop(0))
            if assignment:
                variables[assignment["name"]] = _expand(assignment["value"], environ)
        words = [_expand(word, environ) for word in words]
        yield from _of_words(words, variables, directory, depth, user)
        if words[:1] == ["cd"] and len(words) > 1:
            directory = os.path.join(directory, words[-1])  # noqa: PTH118


def _commands_of(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell's text."""
    words: list[str] = []
    is_target = False  # of a redirection
    for word in _words_of(text):
        if word and not word.strip(SEPARATORS):
            is_target = bool(set(word) & {"<", ">"})
            if not is_target:
                yield words
                words = []
        elif is_target:
            is_target = False
        else:
            words.append(word)
    yield words


def _words_of(text: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=SEPARATORS)
    reader.whitespace = " \t\r"
    reader.whitespace_split = True
    reader.commenters = ""
    try:
        return list(reader)
    except ValueError:  # a quotation that does not end
        return [word for word in re.split(r"[ \t\r]+|(\n)", text) if word]


def _expand(word: str, environ: Mapping[str, str]) -> str:
    """Put in the variables that are known; what else a shell would put in is unknown."""

    def value_of(match: re.Match[str]) -> str:
        return environ.get(match["name"] or match["braced"], UNKNOWN)

    expanded = VARIABLE.sub(value_of, word)
    home = environ.get("HOME", UNKNOWN)
    expanded = f"{home}{expanded[1:]}" if expanded.startswith("~/") else expanded
    return re.sub(r"\$[({].*|`.*", UNKNOWN, expanded, flags=re.DOTALL)


def _environ_of(environ: object) -> Mapping[str, str]:
    if environ is None or not isinstance(environ, Mapping):
        return os.environ
    return {_text(name): _text(value) for name, value in environ.items()}


def _text(word: object) -> str:
    return os.fsdecode(word) if isinstance(word, str | bytes | os.PathLike) else str(word)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  # as text
    except OSError:
        return os.sep

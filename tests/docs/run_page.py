"""Runs a page of the documentation from top to bottom in the current directory, as a reader would who types it all.

What a fenced block means:

- its first line is a comment with a path (``# app/database.py``): the block is a file, and is written;
- ``python``: it is executed, in one namespace for the page; with ``>>>`` it is a doctest;
- ``console``: the lines after ``$`` are run by bash and print what follows, where ``...`` stands for anything; where
  nothing follows they exit 0;
- ``diff``: the lines with ``-`` stand in the file that ``---`` names and become the lines with ``+``.

``<!-- not run: the reason -->`` on the line before a block exempts it. Other blocks are for reading.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = re.compile(r"^(?P<indent> *)(?P<mark>```+|~~~+)(?P<info>.*)$")
EXEMPT = re.compile(r"^\s*<!-- not run: \S.* -->$")
FILE = re.compile(r"^# (?P<path>[\w./-]*(?:/[\w.-]+|\.(?:py|toml|ini|env|cfg)|\.env[\w.]*))$")
SECONDS = 120


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page where it starts."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks that mean something, in their order."""
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if not opening:
            number += 1
            continue
        start, mark, indent = number + 1, opening["mark"], len(opening["indent"])
        number = next(end for end in range(start, len(lines)) if lines[end].strip() == mark)
        before = next((line for line in reversed(lines[: start - 1]) if line.strip()), "")
        if not EXEMPT.match(before):
            yield Block(opening["info"].strip(), "\n".join(line[indent:] for line in lines[start:number]), start + 1)
        number += 1


class PageError(AssertionError):
    """A block does not do what the page says."""


class Page:
    """The reader's project and Python session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.namespace: dict[str, object] = {"__name__": "__main__"}

    def run(self) -> int:
        """Run all blocks and return how many there were."""
        count = 0
        for block in blocks_of(self.path.read_text()):
            count += self.run_block(block)
        return count

    def run_block(self, block: Block) -> bool:
        """Do what a block says; tell whether it said anything."""
        named = FILE.match(block.text.partition("\n")[0])
        if named:
            self.write(Path(named["path"]), block.text)
        elif block.language == "python":
            self.execute(block)
        elif block.language == "console":
            self.type_commands(block)
        elif block.language == "diff":
            self.apply(block)
        else:
            return False
        return True

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def execute(self, block: Block) -> None:
        if not block.text.startswith(">>>"):
            # Empty lines before the code make the numbers of a traceback those of the page.
            code = compile("\n" * (block.line - 1) + block.text, str(self.path), "exec")
            exec(code, self.namespace)  # noqa: S102 - the page is ours
            return
        examples = doctest.DocTestParser().get_doctest(
            block.text + "\n", self.namespace, self.path.name, str(self.path), block.line
        )
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(examples, clear_globs=False)
        self.namespace.update(examples.globs)
        if runner.failures:
            raise PageError(f"{self.path.name}:{block.line}: the session is another one")

    def type_commands(self, block: Block) -> None:
        for chunk in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = chunk.partition("\n")
            result = subprocess.run(
                ["bash", "-c", command],
                check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=SECONDS,
            )  # fmt: skip
            pattern = ".*?".join(re.escape(part) for part in expected.strip().split("..."))
            as_said = (
                re.fullmatch(pattern, result.stdout.strip(), re.DOTALL) if expected.strip() else not result.returncode
            )
            if not as_said:
                raise PageError(
                    f"{self.path.name}:{block.line}: $ {command}\nexit {result.returncode}\n{result.stdout}\n"
                    f"where the page says\n{expected}"
                )

    def apply(self, block: Block) -> None:
        lines = block.text.splitlines()
        path = Path(next(line for line in lines if line.startswith("--- ")).removeprefix("--- ").removeprefix("a/"))
        body = [line for line in lines if not line.startswith(("--- ", "+++ ", "@@"))]
        old = "\n".join(line[1:] for line in body if not line.startswith("+"))
        new = "\n".join(line[1:] for line in body if not line.startswith("-"))
        text = path.read_text()
        if text.count(old) != 1:
            raise PageError(f"{self.path.name}:{block.line}: the old lines stand {text.count(old)} times in {path}")
        path.write_text(text.replace(old, new))


def main() -> None:
    """Run the page that the command line names, and print how many blocks had something to run."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    sys.path.insert(0, str(Path.cwd()))
    sys.stdout.write(f"{Page(Path(sys.argv[1]).resolve()).run()} blocks\n")


if __name__ == "__main__":
    main()

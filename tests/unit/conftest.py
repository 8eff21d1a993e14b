"""What the unit tests share: a look at everything that a report could show of an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import engineroom

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = str(Path(engineroom.__file__).parent)


@pytest.fixture
def shown_by() -> Callable[[BaseException], str]:
    """Return a function that tells all that a report may show of an error: its chain, and the locals of our frames."""

    def show(error: BaseException) -> str:
        shown: list[str] = []
        chain: list[BaseException | None] = [error]
        while chain:
            one = chain.pop()
            if one is None:
                continue
            chain += [one.__cause__, one.__context__]
            shown += [str(one), repr(one), repr(vars(one)), repr(getattr(one, "__notes__", ""))]
            traceback = one.__traceback__
            while traceback is not None:
                if traceback.tb_frame.f_code.co_filename.startswith(SOURCE):
                    shown.append(repr(traceback.tb_frame.f_locals))
                traceback = traceback.tb_next
        return "\n".join(shown)

    return show

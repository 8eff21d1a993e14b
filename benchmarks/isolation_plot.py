"""Draws the figures of ``isolation.py`` as an SVG, without any library."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isolation import Figure

__all__ = ["draw"]

COLORS = {"engineroom": "#2a6fbb", "savepoint by hand": "#8a8a8a", "pytest-sqla": "#c58b2a", "pytest-django": "#5b9f5b"}
WIDTH, LEFT, BAR, GAP = 720, 300, 16, 10


def draw(figures: Sequence[Figure]) -> str:
    """Return a chart of bars: tests a second, longer is faster."""
    scale = (WIDTH - LEFT - 60) / max((each.tests_a_second for each in figures), default=1)
    parts, y, group = [], 24, ""
    for each in figures:
        name = f"{each.row}, {each.tables} tables"
        if name != group:
            group, y = name, y + GAP
        length = each.tests_a_second * scale
        middle = y + BAR - 4
        color = COLORS[each.peer.partition(",")[0]]
        parts += [
            f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(f"{name}: {each.peer}")}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR - 2}" fill="{color}"/>',
            f'<text x="{LEFT + length + 4:.0f}" y="{middle}">{each.tests_a_second:.0f}</text>',
        ]
        y += BAR
    size = f'width="{WIDTH}" height="{y + GAP}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    title = '<text x="8" y="16" font-size="13">Tests a second of whole pytest runs; longer is faster</text>'
    return "\n".join([head, f'<rect {size} fill="white"/>', title, *parts, "</svg>"]) + "\n"

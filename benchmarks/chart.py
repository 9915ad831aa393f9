"""The ratios as a picture: one bar a workload on a logarithmic axis, the median and the spread, the bar to reach."""

from __future__ import annotations

import math
from html import escape

WIDTH, LEFT, ROW, TOP = 860, 190, 28, 64
LOW, HIGH = 0.25, 4.0


def place(ratio: float) -> float:
    """Horizontal pixel of a ratio."""
    share = (math.log(min(max(ratio, LOW), HIGH)) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))
    return LEFT + share * (WIDTH - LEFT - 90)


def svg(title: str, rows: list[tuple[str, float, float, float, float]]) -> str:
    """`rows` are (name, lowest, median, highest, bar)."""
    height = TOP + ROW * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
        '<text x="16" y="44" fill="#555">requests a second, Perdure over redis-server, same run, same durability; '
        "the tick is the bar to reach</text>",
    ]
    for mark in (0.25, 0.5, 1.0, 2.0, 4.0):
        x = place(mark)
        stroke = "#222" if mark == 1.0 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 24}" stroke="{stroke}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle" fill="#555">{mark:g}</text>')
    for number, (name, lowest, median, highest, bar) in enumerate(rows):
        y = TOP + number * ROW
        colour = "#2a7f62" if median >= bar else "#c0562b"
        left, right = sorted((place(1.0), place(median)))
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left:.1f}" y="{y + 3}" width="{max(right - left, 1.5):.1f}" height="15" fill="{colour}"/>',
            f'<line x1="{place(lowest):.1f}" y1="{y + 10.5}" x2="{place(highest):.1f}" y2="{y + 10.5}" stroke="#111"/>',
            f'<line x1="{place(bar):.1f}" y1="{y}" x2="{place(bar):.1f}" y2="{y + 21}" stroke="#888" stroke-width="2"/>',
            f'<text x="{WIDTH - 80}" y="{y + 15}">{median:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])

"""A recording of a terminal as an SVG that moves by itself: no script, no font and no player are needed to see it."""

from __future__ import annotations

import re
import time
from html import escape

# Seconds: how long the end is shown, a key takes to type, and a pause lasts at the most.
END, KEY, LONGEST_PAUSE, AFTER_COMMAND, BEFORE_COMMAND = 6.0, 0.035, 0.8, 0.3, 1.4
CELL, LINE, MARGIN, TITLE_BAR = 8.0, 18.0, 14.0, 26.0  # pixels
COLOURS = {
    "30": "#6b7280", "31": "#f87171", "32": "#4ade80", "33": "#facc15", "34": "#60a5fa", "35": "#c084fc",
    "36": "#22d3ee", "90": "#9ca3af",
}  # fmt: skip
BUTTONS = ("#f87171", "#facc15", "#4ade80")
PLAIN, BACKGROUND, PROMPT = "#e5e7eb", "#111827", "#4ade80"
SGR = re.compile(r"\x1b\[([\d;]*)m")
OTHER_ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-ln-z]|\x1b\][^\x07]*\x07")


class Recording:
    """Lines with the moments at which they appear.

    Args:
        columns: longer lines are cut off.
        rows: what is seen at a time; older lines move up and out.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._rows = rows
        self._now = 0.5
        self._last = time.monotonic()
        self._lines: list[tuple[float, str]] = []  # when, what (as SVG)

    def command(self, text: str) -> None:
        """Type a command."""
        if self._lines:
            self._now += BEFORE_COMMAND
            self._append("")
        self._append(f'<tspan fill="{PROMPT}">$ </tspan><tspan font-weight="bold">{escape(text)}</tspan>')
        self._now += KEY * len(text) + AFTER_COMMAND
        self._last = time.monotonic()

    def output(self, line: str) -> None:
        """A line that a command has printed, at this moment; long pauses are shortened."""
        now = time.monotonic()
        self._now += min(now - self._last, LONGEST_PAUSE)
        self._last = now
        self._append(_coloured(line.rstrip("\r\n").rpartition("\r")[2].expandtabs(8), self._columns))

    def svg(self, title: str) -> str:
        """The whole as an SVG; where motion is not wanted, its end stands still."""
        duration = self._now + END
        width = self._columns * CELL + 2 * MARGIN
        height = self._rows * LINE + 2 * MARGIN + TITLE_BAR
        styles, texts = [], []
        for number, (when, text) in enumerate(self._lines):
            share = 100 * when / duration
            styles.append(f"@keyframes l{number}{{0%{{opacity:0}}{share:.2f}%,100%{{opacity:1}}}}")
            styles.append(f".l{number}{{animation-name:l{number}}}")
            y = (number + 1) * LINE - 5
            texts.append(f'<text class="l l{number}" y="{y:g}" xml:space="preserve">{text}</text>')
        styles.append(f"@keyframes up{{{self._steps(duration)}}}")
        end = max(0, len(self._lines) - self._rows) * LINE
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
                f'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13">',
                f"<title>{escape(title)}</title>",
                f"<style>.l,.up{{animation-duration:{duration:.1f}s;animation-iteration-count:infinite;"
                "animation-timing-function:step-end}.up{animation-name:up}",
                *styles,
                "@media (prefers-reduced-motion:reduce){.l,.up{animation:none}"
                f".up{{transform:translateY(-{end:g}px)}}}}",
                "</style>",
                f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{BACKGROUND}"/>',
                *(
                    f'<circle cx="{18 + 18 * n}" cy="16" r="5" fill="{c}"/>'
                    for n, c in enumerate(("#f87171", "#facc15", "#4ade80"))
                ),
                f'<svg x="{MARGIN:g}" y="{MARGIN + TITLE_BAR:g}" width="{self._columns * CELL:g}" '
                f'height="{self._rows * LINE:g}"><g class="up" fill="{PLAIN}">',
                *texts,
                "</g></svg>",
                "</svg>\n",
            ]
        )

    def _append(self, text: str) -> None:
        self._lines.append((self._now, text))

    def _steps(self, duration: float) -> str:
        """The keyframes by which lines move up when there is no room for one more."""
        steps = ["0%{transform:translateY(0)}"]
        for number, (when, _) in enumerate(self._lines):
            if (out := number + 1 - self._rows) > 0:
                steps.append(f"{100 * when / duration:.2f}%{{transform:translateY(-{out * LINE:g}px)}}")
        steps.append(f"100%{{transform:translateY(-{max(0, len(self._lines) - self._rows) * LINE:g}px)}}")
        return "".join(steps)


def _coloured(line: str, columns: int) -> str:
    """A line with the colours that its escape sequences ask for, cut off at the right."""
    parts, colour, bold, left = [], PLAIN, False, columns
    for number, part in enumerate(SGR.split(OTHER_ESCAPES.sub("", line))):
        if number % 2:
            for code in part.split(";") if part else ["0"]:
                if code in ("", "0"):
                    colour, bold = PLAIN, False
                elif code == "1":
                    bold = True
                else:
                    colour = COLOURS.get(code, PLAIN if code == "39" else colour)
        elif part:
            text, left = part[:left], left - len(part[:left])
            weight = ' font-weight="bold"' if bold else ""
            parts.append(f'<tspan fill="{colour}"{weight}>{escape(text)}</tspan>')
    return "".join(parts)

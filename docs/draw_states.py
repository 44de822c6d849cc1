"""Draw the state machines into docs/explanation/states.md: ``python docs/draw_states.py``."""

from __future__ import annotations

import re
from pathlib import Path

from limadask import states

PAGE = Path(__file__).parent / "explanation" / "states.md"
_PART = re.compile(r"(<!-- drawn: (\w+) -->\n).*?(<!-- end -->)", re.S)


def drawn(text: str) -> str:
    """Return the page with its pictures drawn anew."""
    return _PART.sub(lambda part: part[1] + _diagram(part[2]) + part[3], text)


def _diagram(machine: str) -> str:
    mermaid = f"{getattr(states, machine)():mermaid}"
    rows = [row for row in mermaid.splitlines() if "active" not in row]  # no state is current
    return "```mermaid\n" + "\n".join(rows).strip() + "\n```\n"


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))

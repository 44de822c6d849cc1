"""What a worker answers when it is asked for something."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from limadask.cluster.beside import beside
from limadask.engine.messages import dumps

logger = logging.getLogger(__name__)


async def answer_of(work: Callable[[], Any]) -> dict[str, Any]:
    """Do something in a thread; return its result, or its error as text and pickled."""
    try:
        return {"result": await beside(work)}
    except Exception as error:
        logger.debug("answering with an error", exc_info=True)
        text = f"{type(error).__name__}: {error}"
        for note in getattr(error, "__notes__", ()):
            text += f" ({note})"
        return {"error": text, "pickled": _pickled(error)}


def _pickled(error: Exception) -> bytes:
    try:
        return dumps(error.with_traceback(None))
    except Exception:  # some exceptions cannot be pickled; their text is enough
        return b""

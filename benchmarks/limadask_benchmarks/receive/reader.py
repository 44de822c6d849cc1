"""Readers of a stream, as programs.

    python -m limadask_benchmarks.receive.reader '{"kind": "drop", "stream": "v1", "address": …}'

Each line that it then reads tells of a series; it takes what comes of it, until nothing does any
more, and prints what that took.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from limadask.cluster.settings import tune_process
from limadask_benchmarks.receive import bare, ours
from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.task import Clock, Task

Read = Callable[[Task, Clock], None]
KINDS: Mapping[str, Callable[[], Read]] = {
    "drop": lambda: bare.drop,
    "write": lambda: bare.write,
    "take": lambda: ours.take,
    "blocks": ours.Blocks,
}


def main(asked: str) -> None:
    """Read series, line by line."""
    fields: dict[str, Any] = json.loads(asked)
    tune_process(1)
    read, images = KINDS[fields.pop("kind")](), Images.of(**fields.pop("images", {}))
    print("ready", flush=True)
    for line in sys.stdin:
        clock = Clock()
        read(Task(images=images, **fields, **json.loads(line)), clock)
        print(json.dumps(asdict(clock.taken())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""Logs every acknowledgement of a run as it is sent, and the ledger at its end."""

from __future__ import annotations

import json
import sys

from distributed import Client

import limadask as ld
from limadask_benchmarks.chaos.plan import NB_FRAMES


def main() -> None:
    """Follow the run told on standard input to its end."""
    address, uuid = sys.stdin.readline().split()
    with Client(address) as client:
        run = ld.attach(client, uuid)
        events = run.events(saved=True)
        print("ready", flush=True)
        for event in events:
            if isinstance(event, ld.FramesSaved):
                print("saved", event.first, event.last, flush=True)
            elif isinstance(event, ld.StateChanged):
                print("state", event.side, event.state, flush=True)
        status, codes, causes = run.record().columns(NB_FRAMES)
        fates = [(fate, causes[code]) for fate, code in zip(status.tolist(), codes, strict=True)]
        print("over", json.dumps(fates), flush=True)


if __name__ == "__main__":
    main()

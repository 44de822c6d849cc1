"""Logs every acknowledgement of a run as it is sent, and how the run ended."""

from __future__ import annotations

import json
import sys

from distributed import Client

import limadask as ld


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
        record = run.record()
        told = {
            "counts": record.counts(),
            "nameless": sum(
                one.stop - one.first
                for one in record.runs()
                if not one.status or (one.status != ld.Status.PRESENT and not one.cause)
            ),
            "nb_frames": len(record),
        }
        print("over", json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

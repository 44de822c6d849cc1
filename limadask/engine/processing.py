"""What one worker does with the blocks of one acquisition: programs, sinks, receipts."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limadask.engine import planning
from limadask.engine.assembling import Assembler
from limadask.engine.blocks import Answer
from limadask.engine.messages import Prepared, Request, receipt
from limadask.engine.recovered import Fates, fates_of, saved_by_all
from limadask.frames import Frames, Status
from limadask.pipeline import Partition, Plan, Program, Walk
from limadask.storage import compile_checks
from limadask.task import Place, RunRecord, Sink

logger = logging.getLogger(__name__)
ASSEMBLED = 3
"""Blocks of full frames whose memory is used again and again."""


@dataclass(frozen=True, slots=True)
class Closed:
    """What is left when the sinks are closed.

    Parameters
    ----------
    receipts:
        Of what sums still held.
    parts:
        What each sink's writers hand to ``join``, by node.
    trouble:
        What went wrong.
    """

    receipts: list[dict[str, Any]]
    parts: dict[str, list[dict[str, Any]]]
    trouble: list[str]


class Processing:
    """The programs of one acquisition on one worker.

    There is one for full frames, and one for each part where parts of frames are processed apart:
    each has sinks of its own. Several threads may process blocks at the same time.

    Parameters
    ----------
    request, prepared:
        The acquisition.
    planned:
        Its pipeline, planned for full frames.
    place:
        The worker among those that process.
    own:
        The only part of the frames that comes here; None where any may.

    Raises
    ------
    ConfigError
        When a sink cannot be opened, naming the node.
    """

    def __init__(
        self, request: Request, prepared: Prepared, planned: Plan, place: Place, own: int | None
    ) -> None:
        if prepared.packs:
            compile_checks()  # before frames come
        self._planned, self._place, self._own = planned, place, own
        self._nb_parts = len(prepared.parts) if prepared.is_apart else 1
        self._programs: dict[int, Program] = {}
        self._assembler: Assembler | None = None
        if prepared.is_matched:
            size = prepared.nb_frames_per_block
            self._assembler = Assembler(prepared.raw, prepared.parts, size, ASSEMBLED, place.uuid)
        divided = Partition((planned,), {})
        if prepared.is_apart:
            divided = planning.partitioned(request, prepared)
        self._mosaics = divided.mosaics
        try:
            for part in range(self._nb_parts) if own is None else [own]:
                at = self._writer(part, place.rank)
                self._programs[part] = Program(
                    divided.parts[part], request.policy, place.uuid, at.rank, at.ranks,
                    place.worker, fresh=not request.fuse, about=place.about, part=part,
                    mosaics=self._mosaics,
                )  # fmt: skip
                if prepared.packs:
                    self._programs[part].warm()
        except BaseException:
            self.release()
            raise

    def process(self, frames: Frames, taken: float = 0.0) -> dict[str, Any]:
        """Take a block through the pipeline; return its receipt. Never raises.

        Parameters
        ----------
        frames:
            The block.
        taken:
            When it had come to this worker, seconds since 1970; 0 if nobody knows.
        """
        try:
            outcome = self._programs[frames.part].run(frames)
            told = receipt(outcome, frames.born, frames.handed, taken)
            return {**told, "lacking": frames.nb_lacking}
        except Exception as error:  # nothing may reach Dask: a traceback would hold the slot
            return _failed(frames, error)

    def assemble(self, parts: Sequence[Answer]) -> Answer:
        """Put the parts of several receivers together."""
        if self._assembler is None:
            raise RuntimeError(f"{self._place.worker} assembles nothing of {self._place.uuid}")
        return self._assembler.assemble(parts)

    def walk(self, frames: Frames) -> Walk:
        """Begin to take a block through the pipeline node by node."""
        return self._programs[frames.part].walk(frames)

    def lasting(self) -> dict[str, Any]:
        """Return what outlives the run for a while, by node: some sinks, results of the run."""
        found: dict[str, Any] = {}
        for program in self._programs.values():
            found.update(program.lasting())
        return found

    def close(self) -> Closed:
        """Drain sums and close the sinks."""
        closed = Closed([], defaultdict(list), [])
        for program in self._programs.values():
            closed.receipts.extend(receipt(outcome) for outcome in program.drain())
            for node, part in program.close().items():
                closed.parts[node].append(part)
            closed.trouble.extend(program.trouble)
        return closed

    def release(self) -> None:
        """Close the sinks of a run that is over, or was never begun."""
        for program in self._programs.values():
            program.close()

    def join(
        self, parts: dict[str, list[dict[str, Any]]], run: RunRecord
    ) -> tuple[dict[str, str], list[str]]:
        """Let the sinks make one whole of all workers' parts; return files by node, and trouble."""
        files, trouble = dict[str, str](), list[str]()
        ranks = self._writer(0, 0).ranks
        for node in self._planned.nodes:
            sink = node.task
            if not isinstance(sink, Sink):
                continue
            name, mosaic = node.name, self._mosaics.get(node.name)
            place = replace(self._place, node=name, ranks=ranks, mosaic=mosaic)
            try:
                sink.join(node.given, place, parts.get(name, []), run)
                if path := sink.path():
                    files[name] = path
            except Exception as error:  # any sink's code; the others' files must be joined
                logger.exception("joining %r of acquisition %s", name, run.uuid)
                trouble.append(f"{name!r}: {type(error).__name__}: {error}")
        return files, trouble

    def found(self, ranks: list[int]) -> list[tuple[int, Fates]]:
        """Return what workers of these ranks have saved, dead ones too, by part.

        Status and cause by frame number.
        """
        return [
            (part, saved_by_all(list(self._found(part, rank))))
            for rank in ranks
            for part in (range(self._nb_parts) if self._own is None else [rank])
        ]

    def _found(self, part: int, rank: int) -> Iterator[Fates]:
        """Yield what each sink had saved, as far as it knows."""
        for node in self._planned.nodes:
            if isinstance(sink := node.task, Sink):
                place = replace(self._writer(part, rank), node=node.name)
                if (recovered := sink.recover(node.given, place, place.rank)) is not None:
                    yield fates_of(recovered, node.inputs[0])

    def _writer(self, part: int, rank: int) -> Place:
        """Return the place of a part's sinks on a worker: each is a writer of its own.

        Where every worker has but its own part, part and rank are the same number.
        """
        ranks = self._place.ranks
        if self._own is None:
            rank, ranks = part * ranks + rank, ranks * self._nb_parts
        return replace(self._place, rank=rank, ranks=ranks, part=part)


def _failed(frames: Frames, error: Exception) -> dict[str, Any]:
    """Return the receipt of a block that was lost by a fault of the engine itself."""
    numbers = frames.numbers.tolist()
    text = f"{type(error).__name__}: {error}"
    odd = [(number, int(Status.ABSENT), "task_error:limadask") for number in numbers]
    return {
        "ending": "data",
        "numbers": frames.numbers.tobytes(),
        "timestamps": frames.timestamps.tobytes(),
        "odd": odd,
        "products": {},
        "notes": {},
        "failures": [("limadask", numbers[0], numbers[-1], text, True)],
        "stages": (),
        "times": b"",
    }

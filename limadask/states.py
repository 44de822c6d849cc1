"""The two state machines of an acquisition: its detector side and its processing side.

They are independent: either may end first. The transitions stand here and nowhere else; what is
done hangs on entering a state.
"""

from __future__ import annotations

from typing import Any, ClassVar

from statemachine import State, StateMachine
from statemachine.exceptions import TransitionNotAllowed

from limadask.errors import StateError

CALLS = ("start", "trigger", "pause", "resume", "stop", "abort")
COMMANDS = {name: name for name in CALLS} | {"configure": "prepare"}
"""Events that a user asks for, and the calls that do (``prepare`` is a word of the library); the
other events tell what has happened."""


class Side(StateMachine):
    """What both machines share.

    A listener's ``on_enter_<state>`` is where things are done.
    """

    title: ClassVar[str] = ""

    def __init__(self, *listeners: object) -> None:
        super().__init__(listeners=list(listeners))

    @property
    def current(self) -> str:
        """Name of the current state."""
        return str(next(iter(self.configuration)).id)

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return bool(next(iter(self.configuration)).final)

    def allows(self, event: str) -> bool:
        """Tell whether ``event`` has a transition from the current state."""
        return event in {str(one.id) for one in self.allowed_events}

    def happen(self, event: str) -> None:
        """Take the transition of ``event``.

        Raises
        ------
        StateError
            When the current state has none; it names those that it has.
        """
        try:
            self.send(event)
        except TransitionNotAllowed:
            allowed = sorted(call for name, call in COMMANDS.items() if self.allows(name))
            raise StateError(
                f"{COMMANDS.get(event, event)!r} is not allowed while the {self.title} side is "
                f"{self.current!r}; "
                f"allowed: {', '.join(allowed) or 'nothing more: prepare a new acquisition'}"
            ) from None


class DetectorSide(Side):
    """From the parameters to the last exposure."""

    title = "detector"
    idle = State(initial=True)
    preparing = State()
    prepared = State()
    acquiring = State()
    paused = State()
    stopping = State()
    aborting = State()
    failing = State()
    acquired = State(final=True)
    aborted = State(final=True)
    failed = State(final=True)

    configure = idle.to(preparing)
    armed = preparing.to(prepared)
    start = prepared.to(acquiring)
    trigger = acquiring.to.itself(internal=True)
    pause = acquiring.to(paused)
    resume = paused.to(acquiring)
    stop = acquiring.to(stopping) | paused.to(stopping) | stopping.to.itself(internal=True)
    complete = acquiring.to(acquired) | paused.to(acquired) | stopping.to(acquired)
    abort = (
        idle.to(aborted)
        | preparing.to(aborting)
        | prepared.to(aborting)
        | acquiring.to(aborting)
        | paused.to(aborting)
        | stopping.to(aborting)
    )
    fail = (
        preparing.to(failing)
        | prepared.to(failing)
        | acquiring.to(failing)
        | paused.to(failing)
        | stopping.to(failing)
    )
    halted = aborting.to(aborted) | failing.to(failed)


class ProcessingSide(Side):
    """From opening the files to closing them."""

    title = "processing"
    idle = State(initial=True)
    preparing = State()
    ready = State()
    deferred = State()
    processing = State()
    closing = State()
    aborting = State()
    failing = State()
    processed = State(final=True)
    aborted = State(final=True)
    failed = State(final=True)

    configure = idle.to(preparing)
    opened = preparing.to(ready)
    start = ready.to(processing)
    defer = ready.to(deferred)
    process = deferred.to(processing)
    finish = processing.to(closing)
    abort = (
        idle.to(aborted)
        | preparing.to(aborting)
        | ready.to(aborting)
        | deferred.to(aborting)
        | processing.to(aborting)
    )
    fail = preparing.to(failing) | ready.to(failing) | deferred.to(failing) | processing.to(failing)
    closed = closing.to(processed) | aborting.to(aborted) | failing.to(failed)
    spoiled = closing.to(failed) | aborting.to(failed) | failing.to(failed)


def table(machine: type[Side]) -> list[tuple[str, str, str]]:
    """Return the transitions as ``(state, event, next state)``."""
    rows: list[tuple[str, str, str]] = []
    for state in machine.states:
        for transition in state.transitions:
            target: Any = transition.target
            rows += [(state.id, event, target.id) for event in transition.event.split()]
    return rows

"""Memory near the cores, or near the network card."""

from __future__ import annotations

import mmap
import os
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, model_validator

from limadask.errors import ConfigError
from limadask.memory.allocator import PageAllocator
from limadask.memory.nodes import available, node_of, nodes, nodes_of
from limadask.memory.system import bind_pages
from limadask.memory.traits import Traits


class NumaAllocator(PageAllocator):
    """Pages of some NUMA nodes alone: of those whose cores the worker may use, or of one.

    A computer with one node has all memory there.
    """

    name: ClassVar[str] = "numa"

    node: NonNegativeInt | None = None
    """Number of the node; None takes those of the cores that the worker may use."""
    interface: str | None = None
    """Network interface, such as ``eth0``, whose card's node is taken."""

    @model_validator(mode="after")
    def _one_way(self) -> NumaAllocator:
        if self.node is not None and self.interface is not None:
            raise ConfigError(
                "a node is given, and an interface whose node is to be taken",
                field="interface",
                value=self.interface,
                allowed="one of node and interface",
            )
        return self

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(nodes=self._nodes())

    def settle(self, pages: mmap.mmap, buffer: NDArray[np.uint8]) -> None:
        """Take the pages of a buffer there; a MemoryError where there are not as many."""
        chosen = self._nodes()
        if not chosen:
            raise MemoryError(self._why_not())
        left, needed = available(chosen), buffer.nbytes
        if needed > left:  # a process that asks for more is killed
            raise MemoryError(f"NUMA nodes {chosen} have {left} bytes free, {needed} are needed")
        try:
            bind_pages(buffer, chosen)
        except OSError as error:
            raise MemoryError(f"memory cannot be bound to NUMA nodes {chosen}: {error}") from error
        super().settle(pages, buffer)

    def _nodes(self) -> tuple[int, ...]:
        """Return the nodes; none where they cannot be told, or there are none such."""
        if self.interface is not None:
            try:
                node = node_of(self.interface)
            except LookupError:
                node = None
        elif self.node is not None:
            node = self.node
        else:
            return nodes_of(os.sched_getaffinity(0))
        return (node,) if node in nodes() else ()

    def _why_not(self) -> str:
        there = ", ".join(map(str, nodes())) or "none"
        if self.interface is None:
            return f"NUMA node {self.node} is not there, or has no memory; there are: {there}"
        try:
            node_of(self.interface)
        except LookupError as error:
            return str(error)
        return f"the system does not tell which NUMA node {self.interface} is attached to"

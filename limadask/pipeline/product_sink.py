"""A sink that comes after by-products, compiled for one worker."""

from __future__ import annotations

from typing import Any

from limadask.frames import Codec, Status
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.steps import SinkStep, Step
from limadask.pipeline.tile import Measured, Value
from limadask.task import Products


class ProductSinkStep(SinkStep):
    """Feeds a sink's writer with by-products."""

    def _replanned(self, node: PlannedNode) -> Step:
        return ProductSinkStep(node, self._task, self.writer)

    def run(self, *inputs: Value | Measured) -> Any:
        """Return what the writer keeps of a tile's by-products."""
        given, products = inputs[0], self.node.products
        if not isinstance(given, Measured) or not isinstance(products, Products):
            raise TypeError(f"{self.label} takes by-products")
        rows = given.rows()
        if self._skips and (vetoed := rows.status == Status.VETOED).any():
            if vetoed.all():
                return None
            rows = rows.taking(products, ~vetoed)
        return self.writer.encode(rows)

    def takes(self, codec: Codec) -> bool:
        """Tell that it takes no frames at all."""
        return False

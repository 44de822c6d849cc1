"""The record of every expected frame: what became of it, why, when, and who took it."""

from limadask.ledger.failures import Failed, Failures
from limadask.ledger.fates import Fates, FateTable, FrameRun
from limadask.ledger.ledger import STOPPED, Ledger
from limadask.ledger.stamps import Stamps

__all__ = ["STOPPED", "Failed", "Failures", "FateTable", "Fates", "FrameRun", "Ledger", "Stamps"]

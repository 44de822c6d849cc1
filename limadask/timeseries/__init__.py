"""Values that change during a run: where they come from, and what is kept of them."""

from limadask.timeseries.outbox import Outbox, Parcel
from limadask.timeseries.polling import Polls
from limadask.timeseries.recorder import Recorder
from limadask.timeseries.series import TimeSeries
from limadask.timeseries.sources import Polled, Streamed, sorted_out, units_of
from limadask.timeseries.value import checked_name, checked_value

__all__ = [
    "Outbox",
    "Parcel",
    "Polled",
    "Polls",
    "Recorder",
    "Streamed",
    "TimeSeries",
    "checked_name",
    "checked_value",
    "sorted_out",
    "units_of",
]

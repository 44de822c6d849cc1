"""Find the mistakes of a configuration without a cluster and without the detector."""

from __future__ import annotations

import psutil

from limadask.configuration import Configuration
from limadask.engine import planning
from limadask.engine.messages import Ready, Request

MOST = 1 << 30


def check(configuration: Configuration) -> Ready:
    """Plan a configuration here, and look at its files and folders here.

    Returns
    -------
    Ready
        What would be done.

    Raises
    ------
    ConfigError
        Naming node, field, value and what is allowed.
    """
    request = Request(
        "",
        configuration.detector,
        configuration.pipeline,
        configuration.acquisition,
        configuration.policy,
        configuration.buffers,
        dict(configuration.metadata),
        topology=configuration.topology,
    )
    memory = psutil.virtual_memory().total // configuration.topology.nb_workers
    return planning.check(request, min(MOST, memory // 4))

"""What a detector plugin must stand, as tests that a third party takes over.

Needs ``pytest``. Subclass :class:`DetectorConformance` in a test module of yours::

    class TestMyCamera(DetectorConformance):
        def detector(self):
            return MyCamera(host="127.0.0.1")
"""

import pytest

# before they are imported: else a failure would not say what was compared
pytest.register_assert_rewrite(
    *(
        f"limadask.testing.{name}"
        for name in ("detector", "handing_over", "misuse", "pausing", "rig")
    )
)

from limadask.testing.detector import DetectorConformance  # noqa: E402
from limadask.testing.leftovers import Leftovers  # noqa: E402
from limadask.testing.rig import Rig, Taken  # noqa: E402

__all__ = ["DetectorConformance", "Leftovers", "Rig", "Taken"]

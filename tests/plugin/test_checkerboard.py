"""The checkerboard stands what every detector must."""

from limadask_checkerboard.detector import Checkerboard

from limadask.testing import DetectorConformance


class TestCheckerboard(DetectorConformance):
    def detector(self):
        return Checkerboard()

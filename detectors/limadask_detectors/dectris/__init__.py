"""DECTRIS detectors that speak SIMPLON: EIGER2, PILATUS4, SELUN."""

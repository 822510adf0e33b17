"""Measurements of the factory, beside those of a peer on the same base and the same packages: ``make bench``."""

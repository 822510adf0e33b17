"""The image factory: a recipe becomes a tested virtual-machine image that a cloud imports without surprises.

Start reading in :mod:`factory.build`.
"""

__version__ = "0.1.0"

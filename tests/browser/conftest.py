"""What the pages of the acceptance list need: estates of the other tests' making, under one roof."""

from tests.assets.conftest import world
from tests.comparing.conftest import two, worked_out_anew

__all__ = ["two", "worked_out_anew", "world"]

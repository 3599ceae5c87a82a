"""Two small Supersets with everything that goes with assets, and a job queue that runs at once."""

from tests.migrations_app.conftest import gate, scene
from tests.migrations_app.test_carrying import furnished

__all__ = ["furnished", "gate", "scene"]

"""What commands that fetch need: a misbehaving web server and a cache of their own, as in tests/checkpoints."""

from tests.checkpoints.conftest import own_cache, web

__all__ = ["own_cache", "web"]

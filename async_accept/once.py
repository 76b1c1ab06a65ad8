"""``@once``: a check that is made when a request is accepted, and not again in the worker."""

from .jobs.once import once

__all__ = ["once"]

"""Answer slow requests with 202, and keep the promise."""

__version__ = "0.1.0"

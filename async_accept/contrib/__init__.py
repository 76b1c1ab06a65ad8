"""Adapters to third-party packages. Each module is named after its package, and the core does not need it."""

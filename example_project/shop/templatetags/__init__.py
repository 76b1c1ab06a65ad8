"""Template filters of the shop."""

"""Drills: jobs that go wrong on purpose, for fault tests. Their URL exists only with DRILLS=1."""

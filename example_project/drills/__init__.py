"""Drills: jobs that misbehave on purpose, to see that the promise holds. Their URL exists with DRILLS=1 only."""

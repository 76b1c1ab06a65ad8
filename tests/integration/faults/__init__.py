"""Kill and freeze real processes. Each accepted job must end once, and have its effect exactly once if it succeeds."""

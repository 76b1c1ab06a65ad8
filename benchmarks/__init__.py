"""The speed figures, runnable by anybody: each module is a command, `python -m benchmarks.<module>`."""

"""Call functions in a process of one of the projects: ``Steps("ours").call("fill", count=100)``.

The benchmarks themselves have no Django, because a process has the settings of one project only. The functions are
those of ``benchmarks/<project>/steps.py``. As a program, this module is the other end.
"""

import importlib
import json
import subprocess
import sys
from typing import Any

from .processes import Process, settings_of


class Steps(Process):
    """A process of *project* that calls what it is told to, one thing at a time."""

    def __init__(self, project: str, environment: dict[str, str] | None = None) -> None:
        super().__init__(
            ["benchmarks.steps", project],
            {**settings_of(project), **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.project = project

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Call a function and return what it returns, both by way of JSON.

        Raises:
            SystemExit: it has failed; the process has printed why.
        """
        pipes: Any = self.popen
        pipes.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
        pipes.stdin.flush()
        answer = pipes.stdout.readline()
        if not answer:
            raise SystemExit(f"{name}() of {self.project} has failed.")
        return json.loads(answer)


def main() -> None:
    import django

    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever else is printed
    django.setup()
    functions = importlib.import_module(f"benchmarks.{sys.argv[1]}.steps")
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answers.write(json.dumps(getattr(functions, name)(**arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

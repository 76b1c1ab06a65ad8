"""Tell the exceptions that end this process from those that end a job only."""

import signal
import threading
from traceback import walk_tb

from billiard import common
from celery.exceptions import WorkerShutdown, WorkerTerminate

__all__ = ["is_shutdown"]

#: Whether a signal has told this process of the prefork pool to end. Only newer versions of billiard have a function.
shutting_down: list[bool] = getattr(common, "_should_have_exited", [False])


def is_shutdown(error: BaseException) -> bool:
    """Tell whether *error* means that this process, or its greenlet, is told to end.

    It must go on then, and the job is given up with the process. Everything else that the work raises ends the job:
    ``sys.exit()`` in a task as well.
    """
    if isinstance(error, Exception):
        return False
    if isinstance(error, WorkerShutdown | WorkerTerminate) or type(error).__name__ == "GreenletExit":
        return True
    if shutting_down[0]:
        return True
    return threading.current_thread() is threading.main_thread() and _is_from_signal(error)


def _is_from_signal(error: BaseException) -> bool:
    """Tell whether *error* was raised by a handler of a signal, which Python calls in the main thread."""
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return True  # it leaves no frame of its own
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in walk_tb(error.__traceback__))

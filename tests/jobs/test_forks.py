"""What begins anew in a forked process."""

from async_accept.jobs.forks import call_after_fork
from tests.forks import in_child


class Counter:
    def __init__(self):
        self.forks = 0
        call_after_fork(self.count)

    def count(self):
        self.forks += 1


def test_a_method_is_called_in_the_child_and_not_in_the_parent():
    counter = Counter()
    assert in_child(lambda: counter.forks == 1)
    assert counter.forks == 0


def test_a_child_of_a_child_is_one_too():
    counter = Counter()
    assert in_child(lambda: in_child(lambda: counter.forks == 2))


def test_an_object_that_is_gone_is_not_kept():
    seen = []

    class Told(Counter):
        def count(self):
            seen.append("told")

    Told()
    assert in_child(lambda: not seen)

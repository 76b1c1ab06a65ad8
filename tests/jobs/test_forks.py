"""What begins anew in a forked process."""

import os

from async_accept.jobs.forks import call_after_fork
from async_accept.models import new_id
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


def test_children_make_ids_of_their_own():
    """As those of a web server that loads the project before it forks."""
    new_id()
    read, write = os.pipe()
    for _ in range(2):
        assert in_child(lambda: os.write(write, new_id().bytes))
    first, second = os.read(read, 16), os.read(read, 16)
    assert first != second
    os.close(read)
    os.close(write)

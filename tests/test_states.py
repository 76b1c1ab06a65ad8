"""Six states: three active, three final, one spelling everywhere."""

from django.utils.translation import override

from async_accept.models import Job
from async_accept.states import ACTIVE, FINAL, LEASED, State


def test_every_state_is_either_active_or_final():
    assert set(ACTIVE) | set(FINAL) == set(State)
    assert not set(ACTIVE) & set(FINAL)


def test_leased_states_are_active():
    assert set(LEASED) < set(ACTIVE)


def test_a_state_is_spelt_as_on_the_wire():
    with override("en"):
        for state in State:
            assert state.value == state.name.lower() == str(state) == str(state.label)


def test_the_column_holds_every_state():
    assert Job._meta.get_field("state").max_length >= max(map(len, State.values))

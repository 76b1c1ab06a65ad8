"""What is kept in a job's row comes back equal and of the same type, or is refused."""

import datetime as dt
import json
from collections import Counter, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from struct import pack
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import TextChoices
from django.http import QueryDict
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.functional import Promise, lazy
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from async_accept import encoding
from async_accept.exceptions import Unencodable
from async_accept.jobs import values
from async_accept.redaction import redact
from tests.testapp.models import Note


class Color(Enum):
    RED = ("r", 1)


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Rights(Flag):
    READ = 1
    WRITE = 2


class Size(TextChoices):
    SMALL = "s", "Small"


class Text(str):
    """Has attributes of its own."""


class India(dt.tzinfo):
    def utcoffset(self, when):
        return dt.timedelta(hours=5, minutes=30)

    def dst(self, when):
        return dt.timedelta(0)

    def tzname(self, when):
        return "India"


class Moment(dt.datetime):
    pass


class Anywhere(India):
    def __init__(self, hours=0):
        self.hours = hours


@dataclass
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass(eq=False)
class Bare:
    amount: Decimal


@dataclass
class Counted:
    amount: int
    double: int = field(init=False)

    def __post_init__(self):
        self.amount += 1
        self.double = 2 * self.amount


Point = namedtuple("Point", "x y")
BERLIN = ZoneInfo("Europe/Berlin")
NOON = dt.datetime(2026, 10, 25, 2, 30, 0, 123456)  # noqa: DTZ001 naive

KEPT = [
    *(
        None,
        True,
        False,
        0,
        -1,
        10**60,
        1.5,
        -0.0,
        1e300,
        "",
        "ä\u2028",
        [],
        {},
        [1, [None]],
        {"a": {"b": []}},
    ),
    *(Decimal("12345678901234567.89"), Decimal("1.10"), Decimal("-0"), Decimal("Infinity"), Fraction(1, 3)),
    *(b"", b"\x00\xff", bytearray(b"\x00"), "a=b", mark_safe("<b>"), UUID(int=7), Path("/a/b")),
    *(NOON, NOON.replace(fold=1), NOON.replace(tzinfo=dt.UTC), NOON.replace(tzinfo=BERLIN, fold=1)),
    *(NOON.replace(tzinfo=timezone.get_fixed_timezone(330)), NOON.replace(tzinfo=India()), dt.date(1, 1, 1)),
    *(dt.time(1, 2, 3, 4), dt.time(1, tzinfo=dt.UTC), dt.timedelta(-1, 5, 7), dt.timedelta.max),
    *(India(), dt.timezone(dt.timedelta(hours=1)), dt.timezone(dt.timedelta(seconds=-1), "odd"), BERLIN),
    *((), (1, (2,)), {1, 2}, {"a", "b"}, frozenset({b"x"}), {(1, 2)}),
    *({1: "a", None: "b", False: 2}, {("a", 1): [2]}, OrderedDict(b=1, a=2), Counter("aab")),
    *(QueryDict("a=1&a=2&b="), QueryDict("a=1", mutable=True), QueryDict("a=%E4", encoding="latin-1")),
    *(MultiValueDict({"a": [1, "2"], "b": []}), {"deep": [{"in": (Decimal(1),)}]}),
    *(Color.RED, Level.HIGH, Word.YES, Size.SMALL, Rights.READ | Rights.WRITE, {"a": Level.HIGH}),
    *(Money(Decimal("1.20")), Point(1, Decimal(2)), [Money(Decimal(3), "x")], ip_address("::1")),
    *({"async_accept.type": "decimal", "value": "1"}, {"async_accept.upload": "../x"}, {"async_accept.x": 1}),
    *({"async_accept.type": {"async_accept.type": "set"}},),
]


def passed_on(value):
    return values.restore(json.loads(encoding.dumps(values.keep(value))))


def kinds(value):
    """Return the types in *value*, in containers too."""
    if isinstance(value, dict):
        return [type(value), *([kinds(key), kinds(value[key])] for key in value)]
    return [type(value), *(map(kinds, value) if isinstance(value, list | tuple) else ())]


@pytest.mark.parametrize("value", KEPT, ids=lambda value: type(value).__name__)
def test_values_come_back_equal_and_of_the_same_type(value):
    again = passed_on(value)
    assert kinds(again) == kinds(value)
    assert vars(again) == vars(value) if isinstance(value, India) else again == value
    assert repr(again) == repr(value) or isinstance(value, set | frozenset | dt.tzinfo | dt.datetime)


def test_a_moment_keeps_its_zone():
    for noon in (NOON, Moment.fromisoformat(NOON.isoformat())):
        for zone in (BERLIN, dt.UTC, timezone.get_fixed_timezone(-90), India()):
            value = noon.replace(tzinfo=zone, fold=1)
            again = passed_on(value)
            assert (type(again), type(again.tzinfo)) == (type(value), type(zone))
            assert (again.utcoffset(), again.fold) == (value.utcoffset(), 1)


def test_a_form_keeps_what_belongs_to_it():
    again = passed_on(QueryDict("a=1", mutable=True, encoding="latin-1"))
    assert (again._mutable, again.encoding) == (True, "latin-1")
    again = passed_on(QueryDict("a=1"))
    assert (again._mutable, again.encoding) == (False, "utf-8")


def test_lazy_text_stays_lazy():
    again = passed_on(gettext_lazy("Monday"))
    assert isinstance(again, Promise)
    assert again == "Monday"


def test_a_dataclass_without_equality_is_compared_by_its_fields():
    assert passed_on(Bare(Decimal("1.1"))).amount == Decimal("1.1")


@pytest.mark.django_db
def test_a_row_is_loaded_again(django_assert_num_queries):
    note = Note.objects.create(slug="a", title="A")
    Note.objects.update(title="B")
    with django_assert_num_queries(0):
        kept = values.keep({"note": note})
    assert values.restore(kept)["note"].title == "B"
    note.delete()
    with pytest.raises(Note.DoesNotExist):
        values.restore(kept)


def local():
    class Local(str):
        pass

    return Local("a")


def marked():
    text = Text("a")
    text.note = "b"
    return text


def zone_without_key():
    """Return a zone that was read from a file (RFC 8536): half past five hours east."""
    counts = pack(">6l", 0, 0, 0, 0, 1, 4)
    return ZoneInfo.from_file(BytesIO(b"TZif" + bytes(16) + counts + pack(">lbb", 19_800, 0, 0) + b"IST\0"))


REFUSED = {
    "an object": object,
    "a generator": lambda: (each for each in "ab"),
    "a class": lambda: Note,
    "a function": lambda: local,
    "a class in a function": local,
    "a default dict": lambda: defaultdict(list, a=[1]),
    "a text with an attribute": marked,
    "a dataclass that changes what it gets": lambda: Counted(1),
    "a zone with an argument": lambda: Anywhere(3),
    "a zone of a file": lambda: zone_without_key(),
    "a row that is not stored": lambda: Note(pk=7),
    "a row without a key": Note,
    "a query set": Note.objects.all,
    "a memory view": lambda: memoryview(b"a"),
    "a lazy number": lambda: lazy(int, int)(5),
    "one in a list": lambda: {"a": [object()]},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_come_back_as_something_else_is_refused(kind):
    with pytest.raises(ImproperlyConfigured, match="cannot be kept for the worker"):
        values.keep(REFUSED[kind]())


def test_a_zone_without_a_key_is_refused():
    with pytest.raises(ImproperlyConfigured, match=r"A zoneinfo\.ZoneInfo cannot be kept"):
        values.keep(NOON.replace(tzinfo=zone_without_key()))


def test_what_contains_itself_is_refused():
    for circle in ([], {}):
        circle.append(circle) if circle == [] else circle.update(a=circle)
        with pytest.raises(Unencodable):
            values.keep(circle)


@pytest.mark.parametrize("path", ["subprocess:Popen", "os:system", "tests.testapp.models:Note"])
def test_only_simple_classes_are_called(path):
    with pytest.raises(ImproperlyConfigured, match="not restored"):
        values.restore({"async_accept.type": path, "value": "true"})


def test_plain_json_is_stored_as_it_is():
    """So rows of an earlier release, and of a later one, are read by both."""
    plain = {"a": [1, 1.5, None, True, {"b": "c"}], "async": "accept"}
    assert values.keep(plain) == plain
    assert values.restore(plain) == plain


def test_secrets_are_hidden_in_every_form():
    secret = {
        "password": b"hunter2",
        "odd": {1: "a", "password": "hunter2"},
        "card": Point("a", {"api_key": "hunter2"}),
        "form": QueryDict("password=hunter2"),
    }
    assert "hunter2" not in str(redact(values.keep(secret)))

"""What is global while a request is handled, and what its META has: the same for the view now and in the worker."""

import datetime as dt
import json
import sys
from types import ModuleType
from zoneinfo import ZoneInfo

import pytest
import requests
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.http import QueryDict
from django.test import AsyncClient, Client
from django.test.utils import override_script_prefix
from django.urls import (
    get_script_prefix,
    get_urlconf,
    include,
    path,
    register_converter,
    reverse,
    set_urlconf,
)
from django.utils import timezone, translation
from rest_framework.response import Response
from rest_framework.views import APIView

from async_accept.jobs.circumstances import circumstances
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import run_accepted_jobs
from tests.jobs.test_values import Anywhere, India, zone_without_key

pytestmark = pytest.mark.django_db

#: What the view has found, once for each call; and what a middleware does before it.
found: list[object] = []
before: list[object] = []


class Middleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        for act in before:
            act(request)
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()
            translation.activate("en")

    def process_view(self, request, view, args, kwargs):
        for act in of_view:
            act(kwargs)


of_view: list[object] = []


class Ask(AcceptMixin, APIView):
    """Notes what a test asks for."""

    authentication_classes = ()
    permission_classes = ()
    accept_mode = "prefer"
    ask = None

    def post(self, request, **kwargs):
        found.append(type(self).ask(request))
        return Response("ok")

    put = post


class Weekday:
    regex = "mon|tue"

    def to_python(self, value):
        return Day(value)

    def to_url(self, value):
        return value.name


class Day:
    """What a converter makes, and nobody can keep."""

    def __init__(self, name):
        self.name = name

    def __eq__(self, other):
        return isinstance(other, Day) and other.name == self.name

    __hash__ = None


register_converter(Weekday, "weekday")

urlpatterns = [
    path("ask/", Ask.as_view(), name="ask"),
    path("ask/<int:number>/<uuid:id>/<weekday:day>/<path:rest>", Ask.as_view(), {"extra": (1,)}),
    path("api/jobs/", include("async_accept.urls")),
]


class Urls:
    urlpatterns = [path("other/", Ask.as_view(), name="ask"), *urlpatterns]


urls_module = ModuleType("tests.jobs.made_up_urls")
urls_module.urlpatterns = Urls.urlpatterns


@pytest.fixture(autouse=True)
def _project(settings, monkeypatch):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.Middleware"]
    settings.ALLOWED_HOSTS = ["*"]
    monkeypatch.setitem(sys.modules, urls_module.__name__, urls_module)
    for each in (found, before, of_view):
        each.clear()


def twins(ask, url="/ask/", client=None, method="post", content_type="application/json", data="{}", **given):
    """Return what the view finds now, and what it finds in the worker."""
    found.clear()
    Ask.ask = staticmethod(ask)
    headers = given.pop("headers", {})
    send = getattr(client or Client(), method)
    now = send(url, data, content_type=content_type, headers=headers, **given)
    assert now.status_code == 200, now.content
    later = send(
        url, data, content_type=content_type, headers={**headers, "prefer": "respond-async"}, **given
    )
    assert later.status_code == 202, later.content
    run_accepted_jobs()
    return found


# --- Time zone, language, URLs -------------------------------------------------------------------------------------

ZONES = {
    "none": lambda: timezone.deactivate(),
    "a key": lambda: timezone.activate("Asia/Tokyo"),
    "a zone": lambda: timezone.activate(ZoneInfo("Asia/Kolkata")),
    "UTC": lambda: timezone.activate(dt.UTC),
    "UTC by its key": lambda: timezone.activate(ZoneInfo("UTC")),
    "an offset": lambda: timezone.activate(timezone.get_fixed_timezone(330)),
    "a negative offset": lambda: timezone.activate(timezone.get_fixed_timezone(-90)),
    "an offset with a name": lambda: timezone.activate(dt.timezone(dt.timedelta(hours=1), "shop")),
    "an offset in seconds": lambda: timezone.activate(dt.timezone(dt.timedelta(seconds=5))),
    "a class of its own": lambda: timezone.activate(India()),
    "one and then none": lambda: (timezone.activate("Asia/Tokyo"), timezone.deactivate()),
    "none by override": lambda: timezone.override(None).__enter__(),
}


@pytest.mark.parametrize("kind", ZONES)
def test_the_time_zone_is_the_same(kind):
    before.append(lambda request: ZONES[kind]())

    def ask(request):
        zone = timezone.get_current_timezone()
        moment = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
        is_active = zone is not timezone.get_default_timezone()
        return (
            is_active,
            type(zone),
            timezone.get_current_timezone_name(),
            timezone.localtime(moment).isoformat(),
        )

    now, later = twins(ask)
    assert later == now


@pytest.mark.parametrize("zone", [Anywhere(3), zone_without_key()], ids=["argument", "no key"])
def test_a_time_zone_that_cannot_be_kept_is_refused_at_once(zone):
    before.append(lambda request: timezone.activate(zone))
    with pytest.raises(ImproperlyConfigured, match="cannot be kept for the worker"):
        twins(lambda request: None)
    assert not Job.objects.exists()


def test_a_time_zone_of_an_earlier_release_is_its_name(settings):
    Ask.ask = staticmethod(lambda request: timezone.get_current_timezone_name())
    Client().post("/ask/", headers={"prefer": "respond-async"})
    job = Job.objects.get()
    kept = ("method", "path", "path_info", "scheme", "script_prefix", "urlconf", "language", "atomic")
    meta = {name: job.request["meta"][name] for name in ("SERVER_NAME", "SERVER_PORT")}
    job.request = {name: job.request[name] for name in kept} | {"time_zone": "Asia/Tokyo", "meta": meta}
    job.save()
    run_accepted_jobs()
    assert found == ["Asia/Tokyo"]


@pytest.mark.parametrize("language", ["de", "de-at", None])
def test_the_language_is_the_same(language):
    before.append(
        lambda request: translation.activate(language) if language else translation.deactivate_all()
    )
    now, later = twins(lambda request: [translation.get_language(), translation.gettext("Monday")])
    assert later == now


URLCONFS = {
    "the project's own": lambda request: None,
    "none": lambda request: setattr(request, "urlconf", None),
    "a name": lambda request: setattr(request, "urlconf", urls_module.__name__),
    "a module": lambda request: setattr(request, "urlconf", urls_module),
    "a class": lambda request: setattr(request, "urlconf", Urls),
    "for reversing only": lambda request: set_urlconf(Urls),
}


@pytest.mark.parametrize("kind", URLCONFS)
def test_urls_are_resolved_and_reversed_alike(kind):
    before.append(URLCONFS[kind])

    def ask(request):
        return [
            getattr(request, "urlconf", "absent"),
            get_urlconf() or __name__,
            reverse("ask"),
            request.resolver_match.route,
        ]

    now, later = twins(ask)
    assert later[2:] == now[2:]
    assert later[0] == now[0]
    assert later[1] == now[1] or kind in ("none", "the project's own")


@pytest.mark.parametrize("urlconf", [tuple(urlpatterns), Urls(), type("Made", (Urls,), {})])
def test_a_urlconf_that_cannot_be_found_again_is_refused_at_once(urlconf):
    before.append(lambda request: setattr(request, "urlconf", urlconf))
    with pytest.raises(ImproperlyConfigured, match="URLconf"):
        twins(lambda request: None)
    assert not Job.objects.exists()


def test_the_script_prefix_is_the_same():
    def ask(request):
        return [reverse("ask"), request.path, request.path_info, request.build_absolute_uri()]

    with override_script_prefix("/shop/"):
        now, later = twins(ask, SCRIPT_NAME="/shop")
    assert now[0] == "/shop/ask/"
    assert later == now


def test_a_urlconf_that_is_gone_changes_nothing_for_the_next_job():
    stored = {
        "script_prefix": "/gone/",
        "urlconf": {"module": "gone.urls"},
        "time_zone": None,
        "language": "en",
    }
    with pytest.raises(ImportError), circumstances(stored):
        pass
    assert (get_script_prefix(), get_urlconf()) == ("/", None)


# --- META ------------------------------------------------------------------------------------------------------------

#: Set by each server as it likes, and about its own process.
OWN = {"wsgi.input", "wsgi.errors", "wsgi.version", "wsgi.file_wrapper", "HTTP_PREFER"}
#: Headers that are not kept.
NOT_KEPT = {"HTTP_X_OTHER", "HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_ACCEPT_ENCODING", "HTTP_CONNECTION"}
SENT = {
    "X-Other": "1",
    "Cookie": "a=b",
    "Authorization": "hunter2",
    "Accept": "text/csv;q=0.1,*/*",
    "Origin": "http://a",
}


def meta_of(request):
    return {name: value for name, value in request.META.items() if name not in OWN}


def compare(now, later):
    lost = {name for name in now if name not in later} - NOT_KEPT
    assert {
        name for name in lost if name.isupper() and name.startswith(("HTTP_", "SERVER", "REMOTE", "CONTENT"))
    } == set()
    shared = now.keys() & later.keys()
    assert {name: later[name] for name in shared} == {name: now[name] for name in shared}
    assert {name: type(later[name]) for name in shared} == {name: type(now[name]) for name in shared}
    assert not NOT_KEPT & later.keys()
    always = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT")
    for name in (*always, "SERVER_PROTOCOL", "wsgi.url_scheme", "wsgi.multithread", "wsgi.run_once"):
        assert name in later


WSGI = {
    "as usual": {},
    "with a query": {"QUERY_STRING": "a=%C3%BC&b="},
    "behind a socket": {"REMOTE_ADDR": "", "SERVER_PORT": "", "HTTP_HOST": "shop.example"},
    "with a name": {
        "REMOTE_USER": "alice",
        "REMOTE_HOST": "",
        "REMOTE_PORT": "4711",
        "GATEWAY_INTERFACE": "CGI/1.1",
    },
    "by HTTP/2": {"SERVER_PROTOCOL": "HTTP/2.0", "wsgi.url_scheme": "https"},
}


@pytest.mark.parametrize("kind", WSGI)
def test_the_meta_is_the_same_on_wsgi(kind):
    compare(*twins(meta_of, headers=SENT, **WSGI[kind]))


def test_the_meta_is_the_same_on_asgi():
    now, later = twins(meta_of, "/ask/?q=1", client=Asynchronous(), headers=SENT)
    compare(now, later)
    assert (later["REMOTE_HOST"], later["REMOTE_PORT"]) == ("127.0.0.1", now["REMOTE_PORT"])


class Asynchronous:
    """Django's client for ASGI, called from here."""

    def post(self, url, data, **given):
        return async_to_sync(AsyncClient().post)(url, data, **given)


@pytest.mark.django_db(transaction=True)
def test_the_meta_is_the_same_behind_a_server(live_server, settings):
    Ask.ask = staticmethod(meta_of)
    headers = {**SENT, "Content-Type": "application/json"}
    for wish in ("respond-sync", "respond-async"):
        answer = requests.post(
            f"{live_server.url}/ask/?q=1", data="{}", headers={**headers, "Prefer": wish}, timeout=9
        )
        assert answer.status_code in (200, 202), answer.text
    run_accepted_jobs()
    now, later = found
    compare(now, later)
    assert "PATH" in now  # wsgiref mixes its environment in
    assert "PATH" not in later


# --- What else a view reads of its request ---------------------------------------------------------------------------

ASKS = {
    "method": lambda request: [request.method, request._request.method, request.META["REQUEST_METHOD"]],
    "host": lambda request: [request.get_host(), request.get_port(), request.is_secure(), request.scheme],
    "uri": lambda request: [request.build_absolute_uri(), request.get_full_path(), request.path, request.path_info],
    "content": lambda request: [request.content_type, request._request.content_type, request._request.content_params],
    "encoding": lambda request: [request.encoding, request._request.encoding],
    "GET": lambda request: [request.GET, type(request.GET), request.query_params],
    "POST": lambda request: [request.POST, type(request.POST), request._request.POST],
    "data": lambda request: [request.data, type(request.data), getattr(request.data, "_mutable", None)],
    "accepts": lambda request: [request.accepts("text/html"), list(map(str, request._request.accepted_types))],
    "headers": lambda request: [request.headers["hOST"], request.headers.get("x-requested-with")],
    "user": lambda request: [type(request.user), request.user.is_anonymous, request.auth],
    "renderer": lambda request: [type(request.accepted_renderer), request.accepted_media_type],
    "version": lambda request: [request.version, request.versioning_scheme],
    "context": lambda request: [sorted(request.parser_context), request.parser_context["kwargs"]],
    "match": lambda request: [
        request.resolver_match.kwargs, request.resolver_match.captured_kwargs, request.resolver_match.view_name
    ],
}  # fmt: skip
SHAPES = {
    "JSON": {"data": '{"a": 1}'},
    "a form": {"data": "a=1&a=2", "content_type": "application/x-www-form-urlencoded"},
    "a form in latin": {
        "data": b"a=%E4",
        "content_type": "application/x-www-form-urlencoded; charset=latin-1",
    },
    "nothing": {"data": ""},
    "an empty form": {"data": "", "content_type": "application/x-www-form-urlencoded"},
}
URL = "/ask/7/00000000-0000-0000-0000-000000000007/mon/a/b?q=1&q=%C3%BC"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_view_reads_the_same(shape):
    def ask(request):
        return {name: each(request) for name, each in ASKS.items()}

    headers = {
        "Accept": "application/json, text/html;q=0.3",
        "X-Requested-With": "XMLHttpRequest",
        "Host": "shop.example:81",
    }
    now, later = twins(ask, URL, headers=headers, **SHAPES[shape])
    assert later == now
    assert type(later["match"][0]["day"]) is Day


CHANGES = {
    "the method": (lambda request: setattr(request, "method", "PUT"), ASKS["method"]),
    "the encoding": (lambda request: setattr(request, "encoding", "latin-1"), ASKS["encoding"]),
    "the scheme": (lambda request: request.META.update({"HTTP_X_SCHEME": "https"}), ASKS["host"]),
    "the path": (
        lambda request: setattr(request, "path_info", "/ask/"),
        lambda request: [request.path, request.path_info, request.META["SCRIPT_NAME"], request.META["PATH_INFO"]],
    ),
    "the query": (lambda request: request.META.update({"QUERY_STRING": "q=2"}), ASKS["GET"]),
    "the address": (
        lambda request: request.META.update({"REMOTE_ADDR": "203.0.113.7"}),
        lambda request: request.META["REMOTE_ADDR"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_what_middleware_has_changed_stays_changed(kind, settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_SCHEME", "https")
    change, ask = CHANGES[kind]
    before.append(change)
    now, later = twins(ask, "/de/ask/?q=1" if kind == "the path" else "/ask/?q=1")
    assert later == now


def test_arguments_that_middleware_takes_or_gives_stay_so():
    of_view.append(lambda kwargs: (kwargs.pop("number"), kwargs.update(tenant=(1, "acme"), rest="changed")))
    now, later = twins(lambda request: request.parser_context["kwargs"], URL)
    assert later == now
    assert later["tenant"] == (1, "acme")


# --- Forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "application/json"])
def test_the_token_of_a_form_is_not_stored(content_type):
    """It is no part of the payload either: each time it is another."""

    def send(token):
        fields = QueryDict(mutable=True)
        fields.update({"csrfmiddlewaretoken": token, "a": "1"})
        data = (
            fields.urlencode()
            if "form" in content_type
            else json.dumps({"csrfmiddlewaretoken": token, "a": "1"})
        )
        headers = {"prefer": "respond-async", "Idempotency-Key": "k1"}
        return Client().post("/ask/", data, content_type=content_type, headers=headers)

    Ask.ask = staticmethod(
        lambda request: [type(request.data), "".join(request.data["a"]), len(request.data)]
    )
    first, second = send("hunter2"), send("hunter3")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first["Location"] == second["Location"]
    assert "hunter" not in str(Job.objects.values().get())
    run_accepted_jobs()
    assert found == [[QueryDict if "form" in content_type else dict, "1", 1]]

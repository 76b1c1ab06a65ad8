"""A rerun is a request: the view that accepted decides again. Contract 2, 7, 9, 15."""

from datetime import date
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.cache import cache
from django.db import connection
from django.db.models import Q
from django.http import Http404
from django.test import override_settings
from django.urls import include, path
from rest_framework.decorators import api_view, permission_classes, throttle_classes
from rest_framework.exceptions import ErrorDetail
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response
from rest_framework.serializers import CharField, PrimaryKeyRelatedField, Serializer, ValidationError
from rest_framework.test import APIClient
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from async_accept.decorators import accepts, accepts_task
from async_accept.http.views import JobViewSet
from async_accept.mixins import AcceptMixin
from async_accept.models import Job
from async_accept.testing import make_job
from tests.contract.cases import CASES, SUM, every_view, every_view_with_input
from tests.testapp import tasks
from tests.testapp.models import Note
from tests.urls import urlpatterns as usual

pytestmark = pytest.mark.django_db

#: What a test changes: which words are good, what a handler does, and what it was asked.
world = SimpleNamespace()


class Members(BasePermission):
    def has_permission(self, request, view):
        return request.user.groups.exists()


class Guests(BasePermission):
    """Reads what a middleware has put on the request."""

    def has_permission(self, request, view):
        return request.tenant == "acme"


class Twice(UserRateThrottle):
    scope = "twice"
    THROTTLE_RATES = {"twice": "2/day"}


class WordSerializer(Serializer):
    word = CharField()

    def validate_word(self, word):
        if word in world.bad:
            raise ValidationError("No such word any more.")
        return word


class Words:
    """What the views of this file have in common."""

    permission_classes = (IsAuthenticated, Members)
    throttle_classes = (Twice,)
    serializer_class = WordSerializer


class ReplayView(AcceptMixin, Words, APIView):
    accept_max_active = 2

    def post(self, request):
        world.worked += 1
        return Response(request.data)


class TaskView(AcceptMixin, Words, APIView):
    accept_max_active = 2
    accept_task = tasks.echo


@api_view(["POST"])
@permission_classes([IsAuthenticated, Members])
@throttle_classes([Twice])
@accepts(serializer_class=WordSerializer, max_active=2)
def function(request):
    world.worked += 1
    return Response(request.data)


@api_view(["POST"])
@permission_classes([IsAuthenticated, Members])
@throttle_classes([Twice])
@accepts_task(tasks.echo, max_active=2)
def handler(request):
    serializer = WordSerializer(data=request.data)
    serializer.is_valid(raise_exception=True)
    Note.objects.create(slug=f"asked-{Note.objects.count()}")
    if world.at_once is not None:
        return world.at_once
    return serializer.validated_data


class GuestView(AcceptMixin, APIView):
    permission_classes = (Guests,)
    accept_task = tasks.echo


class OnceView(AcceptMixin, APIView):
    accept_active_key = staticmethod(lambda request, validated: world.key)

    def post(self, request):
        return Response()


class RowSerializer(Serializer):
    note = PrimaryKeyRelatedField(queryset=Note.objects.all())


class RowView(AcceptMixin, APIView):
    serializer_class = RowSerializer
    accept_task = tasks.echo

    def get_accept_input(self, request, validated):
        return {"note": validated["note"]}


class DatedParser(JSONParser):
    """Makes dates, as parsers of YAML do."""

    def parse(self, *args, **kwargs):
        data = super().parse(*args, **kwargs)
        return data | {"day": date.fromisoformat(data["day"])} if "day" in data else data


class DatedView(AcceptMixin, APIView):
    parser_classes = (DatedParser,)

    def validate_accept(self, request, instance):
        world.seen = [*world.seen, request.data]

    def post(self, request):
        return Response()


urlpatterns = [
    *usual,
    path("row/", RowView.as_view()),
    path("dated/", DatedView.as_view()),
    path("replay/", ReplayView.as_view()),
    path("task/", TaskView.as_view()),
    path("function/", function),
    path("handler/", handler),
    path("guests/", GuestView.as_view()),
    path("once/", OnceView.as_view()),
    path("plain/", type("Plain", (Words, APIView), {"post": ReplayView.post}).as_view()),
]
every_kind = pytest.mark.parametrize("kind", ["replay", "task", "function", "handler"])


@pytest.fixture(autouse=True)
def here(settings):
    settings.ROOT_URLCONF = __name__
    vars(world).update(bad=(), worked=0, at_once=None, key=None, seen=[])
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def member(alice):
    alice.groups.add(Group.objects.create(name="members"))
    return alice


def canceled(response):
    """Return the job that was accepted, after its end."""
    assert response.status_code == 202, response.content
    job = Job.objects.get(pk=response.json()["id"])
    job.cancel()
    return job


def rerun(client, job, **options):
    return client.post(f"/api/jobs/{job.pk}/rerun/", **options)


def refused(response, status, code):
    """Assert that *response* is a refusal in our format, and that no job was stored."""
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response["Content-Type"] == "application/problem+json"
    assert Job.objects.filter(rerun_of__isnull=False).count() == 0
    return response.json()


# --- Every kind of view, with its input and its object ----------------------------------------------------------


@every_view
def test_its_permissions_and_throttles_decide(alices, case):
    job = canceled(alices.generic(case.method, case.url(), _json(case.data), "application/json"))
    refused(rerun(alices, job, headers={"X-Forbid": "1"}), 403, "permission-denied")
    throttled = rerun(alices, job, headers={"X-Throttle": "1"})
    refused(throttled, 429, "throttled")
    assert int(throttled["Retry-After"]) == 4
    again = rerun(alices, job)
    assert again.status_code == 202
    new = Job.objects.get(pk=again.json()["id"])
    assert (new.input, new.request, new.owner_id) == (job.input, job.request, job.owner_id)


@every_view_with_input
def test_input_that_is_bad_by_now_is_refused_at_once(alices, case):
    job = canceled(alices.generic(case.method, case.url(), _json(case.data), "application/json"))
    bad = {**case.data, **case.bad}
    Job.objects.update(input={"data": bad} if job.task == "async_accept.replay" else bad)
    assert refused(rerun(alices, job), 400, "invalid")["errors"]


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.needs_note])
def test_an_object_that_is_gone_is_404(alices, case):
    job = canceled(alices.generic(case.method, case.url(), _json(case.data), "application/json"))
    Note.objects.all().delete()
    assert refused(rerun(alices, job), 404, "not-found")["detail"].startswith("What the job is about")


@pytest.mark.parametrize("policy", ["prefer", "decide", "keyed"])
@pytest.mark.parametrize("name", ["class", "class-task", "function-task"])
def test_the_mode_and_the_key_of_the_view_do_not_matter(alices, policy, name):
    case = CASES[name]
    headers = {"Prefer": "respond-async", "Idempotency-Key": "k"}
    job = canceled(alices.post(case.url(policy), case.data, headers=headers))
    assert rerun(alices, job, headers={"X-Small": "1"}).status_code == 202


def _json(data):
    from json import dumps

    return "" if data is None else dumps(data)


# --- The caller of today ------------------------------------------------------------------------------------------


@every_kind
def test_who_has_lost_the_right_may_not_run_it_again(alices, member, kind):
    job = canceled(alices.post(f"/{kind}/", {"word": "a"}))
    member.groups.clear()
    assert alices.post(f"/{kind}/", {"word": "a"}).status_code == 403
    refused(rerun(alices, job), 403, "permission-denied")


@every_kind
def test_reruns_and_posts_are_counted_together(alices, member, kind):
    job = canceled(alices.post(f"/{kind}/", {"word": "a"}))
    assert rerun(alices, job).status_code == 202
    for again in (rerun(alices, job), alices.post(f"/{kind}/", {"word": "a"})):
        assert (again.status_code, int(again["Retry-After"]) > 3600) == (429, True)
    assert Job.objects.count() == 2


@every_kind
def test_the_caps_of_the_view_hold(alices, member, kind, monkeypatch):
    monkeypatch.setattr(Twice, "allow_request", lambda *args: True)
    job = canceled(alices.post(f"/{kind}/", {"word": "a"}))
    assert [rerun(alices, job).status_code for _ in range(3)] == [202, 202, 429]
    assert rerun(alices, job).json()["code"] == "too-many-jobs"
    assert world.worked == 0


@every_kind
def test_what_the_view_finds_wrong_by_now_is_400(alices, member, kind):
    job = canceled(alices.post(f"/{kind}/", {"word": "a"}))
    world.bad = ("a",)
    told = refused(rerun(alices, job), 400, "invalid")
    assert told["errors"] == {"word": ["No such word any more."]}


def test_a_login_that_the_view_demands_by_now(alices, monkeypatch):
    monkeypatch.setattr(OnceView, "permission_classes", ())
    job = canceled(APIClient().post("/once/", {}))
    monkeypatch.setattr(OnceView, "permission_classes", (IsAuthenticated,))
    refused(rerun(APIClient(), job), 401, "not-authenticated")
    assert rerun(alices, job).status_code == 202
    assert Job.objects.get(rerun_of=job.pk).anonymous


def test_staff_go_by_their_permission(alices, member, django_user_model):
    job = canceled(alices.post("/replay/", {"word": "a"}))
    boss = django_user_model.objects.create(username="boss", is_staff=True)
    boss.user_permissions.set(Permission.objects.filter(codename__in=["view_job", "rerun_job"]))
    client = APIClient()
    client.force_authenticate(boss)
    assert rerun(client, job).status_code == 202
    boss.is_staff = False
    job.owner = boss
    job.save()
    refused_now = rerun(client, job)  # their own job: as any other caller
    assert (refused_now.status_code, Job.objects.filter(rerun_of=job.pk).count()) == (403, 1)


class TeamJobViewSet(JobViewSet):
    def also_visible(self):
        return Q(operation="replay.create")

    def may_change(self, job, permission):
        return True


def test_a_member_of_the_team_is_who_asks(alices, member, django_user_model):
    job = canceled(alices.post("/replay/", {"word": "a"}))
    bob = django_user_model.objects.create(username="bob")
    client = APIClient()
    client.force_authenticate(bob)
    views = {"detail": {"get": "retrieve"}, "rerun": {"post": "rerun"}, "result": {"get": "result"}}
    views |= {"cancel": {"post": "cancel"}, "events": {"get": "events"}}
    urls = [
        path(
            f"jobs/<str:pk>/{'' if name == 'detail' else name + '/'}",
            TeamJobViewSet.as_view(how),
            name=f"job-{name}",
        )
        for name, how in views.items()
    ]
    patterns = [path("replay/", ReplayView.as_view()), path("", include((urls, "async_accept")))]
    with override_settings(ROOT_URLCONF=tuple(patterns)):
        assert client.post(f"/jobs/{job.pk}/rerun/").status_code == 403
        bob.groups.add(member.groups.get())
        assert client.post(f"/jobs/{job.pk}/rerun/").status_code == 202
    assert Job.objects.get(rerun_of=job.pk).owner_id == member.pk


def test_what_middleware_puts_on_the_request_is_there(alices, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.tenants"]
    job = canceled(alices.post("/guests/", {}))
    assert rerun(alices, job).status_code == 202
    Job.objects.filter(rerun_of=job.pk).delete()
    refused(rerun(alices, job, headers={"X-Tenant": "other"}), 403, "permission-denied")
    refused(rerun(alices, job, headers={"X-Tenant": "none"}), 410, "input-gone")


def tenants(get_response):
    def put(request):
        if request.headers.get("X-Tenant") != "none":
            request.tenant = request.headers.get("X-Tenant", "acme")
        return get_response(request)

    return put


# --- The view of today --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/gone/", "/plain/", "/admin/"], ids=["gone", "accepts no more", "no view of ours"]
)
def test_a_view_that_is_gone_is_410(alices, member, path):
    job = canceled(alices.post("/replay/", {"word": "a"}))
    Job.objects.update(request={**job.request, "path": path, "path_info": path})
    refused(rerun(alices, job), 410, "view-gone")
    assert world.worked == 0


@pytest.mark.parametrize("urlconf", ["gone.urls", {"class": "tests.urls:Gone"}], ids=["module", "class"])
def test_a_urlconf_that_is_gone_is_410(alices, member, urlconf):
    job = canceled(alices.post("/replay/", {"word": "a"}))
    Job.objects.update(request={**job.request, "urlconf": urlconf})
    refused(rerun(alices, job), 410, "view-gone")


def test_a_row_in_the_input_that_is_gone_is_404(alices):
    note = Note.objects.create(slug="a", title="A")
    job = canceled(alices.post("/row/", {"note": note.pk}))
    key = {"Idempotency-Key": "k"}
    first = rerun(alices, job, headers=key)
    note.delete()
    assert rerun(alices, job, headers=key).json()["id"] == first.json()["id"]
    Job.objects.filter(rerun_of=job.pk).delete()
    assert refused(rerun(alices, job), 404, "not-found")["detail"].startswith("What the job is about")


@pytest.mark.parametrize("body", [{"async_accept.type": "decimal", "value": "1"}, {"day": "2026-05-04"}])
def test_a_view_gets_the_data_that_it_got_before(alices, body):
    """Also what JSON has no form for, and what looks like one of ours."""
    job = canceled(alices.post("/dated/", body))
    seen = world.seen
    assert rerun(alices, job).status_code == 202
    assert (world.seen, len(world.seen)) == (2 * seen, 2)


def test_a_method_that_is_gone_is_410(alices, member):
    job = canceled(alices.post("/replay/", {"word": "a"}))
    Job.objects.update(request={**job.request, "method": "PATCH"})
    refused(rerun(alices, job), 410, "view-gone")


def test_a_job_that_code_has_accepted_has_no_view(alices, alice):
    job = make_job(tasks.add, state="failed", input={"x": 1, "y": 2}, owner=alice)
    assert rerun(alices, job).status_code == 202


def test_the_active_key_of_today_holds(alices):
    job = canceled(alices.post("/once/", {}))
    world.key = "one"
    first, second = rerun(alices, job), rerun(alices, job)
    assert first.json()["id"] == second.json()["id"] == alices.post("/once/", {}).json()["id"]


def test_a_view_that_insists_on_the_broker_is_503(alices, monkeypatch):
    from async_accept.exceptions import Unavailable
    from async_accept.jobs import publish

    monkeypatch.setattr(publish, "check_broker", lambda: None)
    job = canceled(alices.post(CASES["class"].url("insisting"), SUM))

    def refuse():
        raise Unavailable

    monkeypatch.setattr(publish, "check_broker", refuse)
    refused(rerun(alices, job), 503, "unavailable")


# --- What the handler of a task does ----------


def test_what_the_handler_has_stored_goes_again(alices, member):
    job = canceled(alices.post("/handler/", {"word": "a"}))
    assert rerun(alices, job).status_code == 202
    assert Note.objects.count() == 1


def test_a_view_that_would_answer_at_once_gets_a_job_all_the_same(alices, member):
    """Contract 9: a rerun is always 202."""
    job = canceled(alices.post("/handler/", {"word": "a"}))
    world.at_once = Response({"known": True})
    assert rerun(alices, job).status_code == 202
    assert (Note.objects.count(), Job.objects.get(rerun_of=job.pk).input) == (1, {"word": "a"})


@pytest.mark.parametrize("said", [{"no": "stock"}, [ErrorDetail("no stock")], "no stock"])
def test_a_refusal_that_the_view_returns_is_a_problem_too(alices, member, said):
    job = canceled(alices.post("/handler/", {"word": "a"}))
    world.at_once = Response(said, status=422)
    told = refused(rerun(alices, job), 422, "error")
    assert told["status"] == 422


def test_input_that_is_not_what_was_sent_is_not_validated_again(alices, member, monkeypatch):
    """The task's input is what the validation made: it has other names."""
    monkeypatch.setattr(
        TaskView, "get_accept_input", lambda self, request, validated: {"text": validated["word"]}
    )
    job = canceled(alices.post("/task/", {"word": "a"}))
    assert rerun(alices, job).status_code == 202
    member.groups.clear()
    assert rerun(alices, job).status_code == 403


def test_the_view_gets_a_copy_of_the_input(alices, member, monkeypatch):
    job = canceled(alices.post("/replay/", {"word": "a"}))
    monkeypatch.setattr(
        ReplayView, "validate_accept", lambda self, request, instance=None: request.data.clear()
    )
    assert rerun(alices, job).status_code == 202
    assert Job.objects.get(rerun_of=job.pk).input == {"data": {"word": "a"}}


# --- Keys, versions, transactions ----------------------------------------------------------------------------------


def test_a_repeat_is_not_refused_for_what_the_first_one_changed(alices, member):
    job = canceled(alices.post("/replay/", {"word": "a"}))
    key = {"Idempotency-Key": "k"}
    first = rerun(alices, job, headers=key)
    world.bad = ("a",)
    cache.clear()
    again = rerun(alices, job, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert rerun(alices, job, headers={"Idempotency-Key": "l"}).status_code == 400


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["replay", "function"])
def test_nothing_stays_open_with_atomic_requests(alices, member, kind, monkeypatch):
    job = canceled(alices.post(f"/{kind}/", {"word": "a"}))
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert rerun(alices, job, headers={"If-Match": "*"}).status_code == 202
    world.bad = ("a",)
    cache.clear()
    assert rerun(alices, job).status_code == 400
    assert Job.objects.count() == 2


def test_the_handlers_404_is_told_as_such(alices, member, monkeypatch):
    def missing(self, request, instance=None):
        raise Http404

    job = canceled(alices.post("/replay/", {"word": "a"}))
    monkeypatch.setattr(ReplayView, "validate_accept", missing)
    refused(rerun(alices, job), 404, "not-found")


def test_a_poll_costs_no_more_than_before(alices, member, django_assert_num_queries):
    """``can_rerun`` says whether the input is kept; what the view will say is not asked."""
    job = canceled(alices.post("/replay/", {"word": "a"}))
    with django_assert_num_queries(1):
        assert alices.get(f"/api/jobs/{job.pk}/").json()["can_rerun"] is True

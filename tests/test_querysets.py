"""Questions about jobs: who sees what, and what is due."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, Permission
from django.test import override_settings
from django.utils import timezone

from async_accept.jobs import results
from async_accept.models import Job
from async_accept.querysets import HEAVY, may_see
from async_accept.states import ACTIVE, FINAL, State
from async_accept.testing import make_job
from async_accept.worker.message import job_of_message
from tests.testapp import tasks
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db

AGO = timedelta(hours=1)


@pytest.fixture
def people(django_user_model):
    """Everybody who may ask for jobs."""
    make = django_user_model.objects.create
    allowed = Permission.objects.get(codename="view_job", content_type__app_label="async_accept")
    people = {
        "owner": make(username="owner"),
        "other": make(username="other"),
        "staff": make(username="staff", is_staff=True),
        "staff with permission": make(username="auditor", is_staff=True),
        "permission without staff": make(username="helper"),
        "superuser": make(username="root", is_staff=True, is_superuser=True),
        "inactive owner": make(username="gone", is_active=False),
        "inactive superuser": make(username="fired", is_staff=True, is_superuser=True, is_active=False),
        "anonymous": AnonymousUser(),
        "nobody": None,
    }
    for name in ("staff with permission", "permission without staff"):
        people[name].user_permissions.add(allowed)
    return people


@pytest.fixture
def jobs(people, django_user_model):
    """One job of everybody, by whose it is."""
    deleted = django_user_model.objects.create(username="deleted")
    jobs = {
        "the owner's": make_job(owner=people["owner"]),
        "another's": make_job(owner=people["other"]),
        "an inactive owner's": make_job(owner=people["inactive owner"]),
        "a deleted owner's": make_job(owner=deleted),
        "an anonymous caller's": make_job(owner=None),
        "forgotten": make_job(owner=people["owner"], forgotten=True),
        "forgotten, anonymous": make_job(owner=None, forgotten=True),
    }
    deleted.delete()
    return jobs


EVERYTHING = {
    "the owner's",
    "another's",
    "an inactive owner's",
    "a deleted owner's",
    "an anonymous caller's",
}


def by_query(user):
    return set(Job.objects.visible_to(user))


def by_row(user):
    return {job for job in Job.objects.all() if may_see(user, job)}


#: The question to the database, and the same one about a row that is there already.
BOTH = pytest.mark.parametrize("visible", [by_query, by_row])


@BOTH
@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("owner", {"the owner's", "an anonymous caller's"}),
        ("other", {"another's", "an anonymous caller's"}),
        ("staff", {"an anonymous caller's"}),
        ("staff with permission", EVERYTHING),
        ("permission without staff", {"an anonymous caller's"}),
        ("superuser", EVERYTHING),
        ("inactive owner", {"an anonymous caller's"}),
        ("inactive superuser", {"an anonymous caller's"}),
        ("anonymous", {"an anonymous caller's"}),
        ("nobody", {"an anonymous caller's"}),
    ],
)
def test_who_sees_which_jobs(people, jobs, who, sees, visible):
    found = visible(people[who])
    assert {name for name, job in jobs.items() if job in found} == sees


@BOTH
def test_a_user_whose_key_comes_as_text_sees_their_jobs(people, jobs, visible):
    """Authentication may make a user of what a token says."""
    owner = type(people["owner"])(pk=str(people["owner"].pk))
    assert visible(owner) == visible(people["owner"])


@BOTH
@pytest.mark.parametrize("whose", [None, "owner", "superuser"])
def test_a_caller_without_an_account_gets_nobodys_jobs(people, jobs, whose, visible):
    """Neither those of deleted owners, nor those of a user who happens to have the same key."""

    class Service:
        """A caller that authentication made up from a token."""

        is_authenticated = is_active = is_staff = True
        pk = whose and people[whose].pk

        def has_perm(self, name):
            return True

    assert visible(Service()) == {jobs["an anonymous caller's"]}
    assert not Job.objects.owned_by(Service()).exists()


@pytest.mark.parametrize(
    ("who", "owns"),
    [("owner", 2), ("superuser", 0), ("inactive owner", 0), ("anonymous", 0), ("nobody", 0)],
)
def test_anonymous_jobs_have_no_list(people, jobs, who, owns):
    assert Job.objects.owned_by(people[who]).count() == owns


def test_jobs_about_an_object():
    note = Note.objects.create(slug="a", title="A")
    job = make_job(content_object=note)
    make_job(object_id=str(note.pk))
    assert list(Job.objects.for_object(note)) == [job]


def test_active_and_ended_are_everything():
    jobs = {state: make_job(state=state) for state in State.values}
    assert {job.state for job in Job.objects.active()} == set(ACTIVE)
    assert {job.state for job in Job.objects.ended()} == set(FINAL)
    assert len(jobs) == Job.objects.active().count() + Job.objects.ended().count()


def test_due_is_accepted_and_past_its_time():
    late = make_job(dispatch_at=timezone.now() - AGO)
    make_job(dispatch_at=timezone.now() + AGO)
    make_job(state="running")
    assert list(Job.objects.due()) == [late]


def test_lease_lost_is_running_or_canceling_and_past_its_lease():
    lost = {make_job(state=state, lease_until=timezone.now() - AGO) for state in ("running", "canceling")}
    make_job(state="running", lease_until=timezone.now() + AGO)
    make_job(state="succeeded")
    assert set(Job.objects.lease_lost()) == lost


def test_to_sweep_is_ended_and_past_its_time():
    old = make_job(state="succeeded", sweep_at=timezone.now() - AGO)
    make_job(state="succeeded")
    make_job()
    assert list(Job.objects.to_sweep()) == [old]


def test_jobs_are_never_read_from_a_replica():
    class Router:
        def db_for_read(self, model, **hints):
            return "replica"

        def db_for_write(self, model, **hints):
            return "default"

    job = make_job(tasks.add)
    with override_settings(DATABASE_ROUTERS=[Router()]):
        assert Job.objects.using("elsewhere").db == "elsewhere"
        assert job_of_message(str(job.pk)) == job
        assert job.claim("worker@host", 1)
        assert results.succeed(job, results.encode(1))
        job.refresh_from_db()
        assert (job.state, results.read(job)) == ("succeeded", "1")
        assert list(Job.objects.ended()) == [job]


@pytest.mark.parametrize("kept", [True, False])
def test_light_knows_whether_there_is_an_input_without_reading_it(kept, django_assert_num_queries):
    make_job(state="failed", input={"x": 1} if kept else None)
    with django_assert_num_queries(1):
        assert Job.objects.light().get().can_rerun is kept


def test_light_leaves_out_what_can_be_large():
    make_job(input={"x": 1})
    job = Job.objects.light().get()
    assert set(HEAVY) <= job.get_deferred_fields()

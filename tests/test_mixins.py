"""Accepting in views: validate now, 202, and later the answer of the same view without accepting."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import resolve
from rest_framework import decorators
from rest_framework.test import APIRequestFactory, force_authenticate

from async_accept.decorators import accepts_task
from async_accept.models import Job
from async_accept.testing import follow, run_accepted_jobs
from tests.testapp import own_handlers, tasks
from tests.testapp.models import Note, Shelf

pytestmark = pytest.mark.django_db


def test_create_answers_later_what_the_plain_view_answers_now(alices):
    data = {"slug": "a", "title": "A", "price": "1.50"}
    plain = alices.post("/api/plain-notes/", data | {"slug": "b"})
    accepted = alices.post("/api/notes/", data)
    assert accepted.status_code == 202
    assert not Note.objects.filter(slug="a").exists()

    run_accepted_jobs()
    result = alices.get(accepted["Location"])

    assert result.status_code == plain.status_code == 201
    note = Note.objects.get(slug="a")
    volatile = {"id", "slug", "created_at"}
    assert {k: v for k, v in result.data.items() if k not in volatile} == {
        k: v for k, v in plain.data.items() if k not in volatile
    }
    assert list(result.data) == list(plain.data)
    assert result["Location"] == f"http://testserver/api/notes/{note.pk}/"


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_what_validation_does_to_the_data_reaches_the_work(alices, monkeypatch, headers):
    url = "/api/policies/always/class/"

    def validate(self, request, instance=None):
        request.data["looked_up"] = 7

    monkeypatch.setattr(resolve(url).func.cls, "validate_accept", validate)
    accepted = alices.post(url, {"x": 1, "y": 2}, headers=headers)
    assert Job.objects.get(pk=accepted.data["id"]).input["data"] == {"x": 1, "y": 2, "looked_up": 7}


def test_many_objects_are_created_in_one_job(alices):
    accepted = alices.post("/api/notes/", [{"slug": "a", "title": "A"}, {"slug": "b", "title": "B"}])
    run_accepted_jobs()
    assert [note["slug"] for note in alices.get(accepted["Location"]).data] == ["a", "b"]


def test_update_partial_update_and_destroy(alices):
    note = Note.objects.create(slug="a", title="A")
    put = alices.put(f"/api/notes/{note.pk}/", {"slug": "a", "title": "B"})
    run_accepted_jobs()
    assert alices.get(put["Location"]).data["title"] == "B"
    patch = alices.patch(f"/api/notes/{note.pk}/", {"title": "C"})
    assert Job.objects.get(pk=patch.data["id"]).content_object == note
    run_accepted_jobs()
    assert alices.get(patch["Location"]).data["title"] == "C"
    delete = alices.delete(f"/api/notes/{note.pk}/")
    run_accepted_jobs()
    assert alices.get(delete["Location"]).status_code == 204
    assert not Note.objects.exists()


def test_nested_route(alices):
    shelf = Shelf.objects.create(name="top")
    accepted = alices.post(f"/api/shelves/{shelf.pk}/notes/", {"slug": "a", "title": "A"})
    run_accepted_jobs()
    assert alices.get(accepted["Location"]).data["shelf"] == str(shelf.pk)


def test_hyperlinks_version_suffix_and_lookup_field(alices):
    accepted = alices.post("/api/v1/linked-notes.json", {"slug": "a", "title": "A"})
    run_accepted_jobs()
    result = alices.get(accepted["Location"])
    assert result.status_code == 201, result.data
    assert result.data["url"] == "http://testserver/api/v1/linked-notes/a.json"
    patch = alices.patch("/api/v1/linked-notes/a", {"title": "B"})
    run_accepted_jobs()
    assert alices.get(patch["Location"]).data["title"] == "B"


def test_form_data_is_replayed_with_repeated_fields(alices):
    accepted = alices.post("/api/shout/hi/", {"a": ["1", "2"]}, format="multipart")
    run_accepted_jobs()
    result = alices.get(accepted["Location"])
    assert result.status_code == 201
    assert result.data["word"] == "HI"


def test_an_action_may_have_a_task(alices):
    accepted = alices.post("/api/notes/total/", {"x": 1, "y": 2})
    assert accepted.status_code == 202
    assert follow(alices, accepted).data == 3
    assert alices.post("/api/notes/total/", {"x": -1}).status_code == 400


def test_a_handler_answers_reads_at_once_and_without_a_key(alices):
    """Contract 5, 17."""
    assert alices.get("/api/listed/").data == {"method": "GET"}
    assert alices.post("/api/listed/").status_code == 400
    assert alices.post("/api/listed/", headers={"idempotency-key": "k"}).status_code == 202


def test_a_handler_can_answer_at_once(alices):
    response = alices.post("/api/add/", {"x": 0, "y": 2})
    assert (response.status_code, response.data) == (200, 2)
    assert not Job.objects.exists()


def test_action_on_an_object(alices):
    note = Note.objects.create(slug="a", title="quiet")
    accepted = alices.post(f"/api/notes/{note.pk}/shout/")
    assert accepted.data["operation"] == "notes.shout"
    run_accepted_jobs()
    assert alices.get(accepted["Location"]).data == {"title": "QUIET"}


def test_a_late_conflict_is_the_views_own_400(alices):
    accepted = alices.post("/api/notes/", {"slug": "a", "title": "A"})
    Note.objects.create(slug="a", title="faster")
    run_accepted_jobs()
    result = alices.get(accepted["Location"])
    assert result.status_code == 400
    assert list(result.json()) == ["slug"]
    assert alices.get(accepted["Operation-Location"]).data["status"] == "failed"


class Unread:
    """A body that nobody may read."""

    def read(self, *size):
        raise AssertionError("The body was read.")

    readline = read


@pytest.mark.parametrize("url", ["class/", "notes/", "method/", "function/", "function-whole/"])
@pytest.mark.parametrize("form", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_a_form_above_the_limit_is_refused_before_it_is_read(django_user_model, url, form):
    """A form of the browsable API holds the key of its request, and is not read for that either."""
    url = f"/api/policies/small/{url}"
    request = APIRequestFactory().post(url, "x" * 300, content_type=form, headers={"accept": "text/html"})
    force_authenticate(request, django_user_model.objects.create(username="alice"))
    request._stream = Unread()
    response = resolve(url).func(request)
    assert response.status_code == 413
    assert not Job.objects.exists()


def test_zero_is_a_limit_and_not_the_setting(alices, settings, monkeypatch):
    settings.ASYNC_ACCEPT = {"MAX_ACTIVE_PER_OPERATION": 5, "MAX_ACTIVE_PER_OWNER": 5}
    url, data = "/api/policies/always/class/", {"x": 1, "y": 2}
    view = resolve(url).func.cls
    monkeypatch.setattr(tasks.add, "retry_after", 9, raising=False)
    for name, status in [("max_active", 429), ("max_active_per_owner", 429), ("max_bytes", 413)]:
        with monkeypatch.context() as patch:
            patch.setattr(view, f"accept_{name}", 0)
            assert alices.post(url, data).status_code == status, name
    monkeypatch.setattr(view, "accept_task", tasks.add)
    monkeypatch.setattr(view, "accept_retry_after", 0)
    assert alices.post(url, data)["Retry-After"] == "1"  # never 0


def test_a_number_that_no_column_holds_is_the_largest_one(alices, monkeypatch):
    url, data = "/api/policies/always/class/", {"x": 1, "y": 2}
    view = resolve(url).func.cls
    for name in ("max_active", "max_active_per_owner", "retry_after"):
        monkeypatch.setattr(view, f"accept_{name}", 2**70)
    answer = alices.post(url, data)
    assert (answer.status_code, answer["Retry-After"]) == (202, str(2**31 - 1))
    monkeypatch.setattr(view, "accept_retry_after", float("inf"))
    assert alices.post(url, data)["Retry-After"] == str(2**31 - 1)


@pytest.mark.parametrize("operation", ["o" * 101, "o\0"])
def test_an_operation_that_cannot_be_stored_names_the_view(alices, monkeypatch, operation):
    url = "/api/policies/always/class/"
    view = resolve(url).func.cls
    monkeypatch.setattr(view, "accept_operation", operation)
    with pytest.raises(ImproperlyConfigured, match=f"{view.__name__} has an operation"):
        alices.post(url, {"x": 1, "y": 2})


def test_options_tells_how_long_a_key_stands_for_its_job(alices, settings):
    """Contract 5: the lifetime of keys is published."""
    settings.ASYNC_ACCEPT = {"IDEMPOTENCY_KEY_LIFETIME": timedelta(hours=2)}
    (terms,) = alices.options("/api/policies/keyed/class/").data["accepts"].values()
    assert (terms["idempotency_key"], terms["idempotency_key_seconds"]) == ("required", 7200)
    (terms,) = alices.options("/api/policies/unkeyed/class/").data["accepts"].values()
    assert "idempotency_key_seconds" not in terms


@pytest.mark.parametrize("mode", ["always", "prefer", "never", lambda request: "always"])
def test_a_mode_beside_a_task_is_refused(mode):
    with pytest.raises(ImproperlyConfigured, match="returning a Response"):
        accepts_task(tasks.add, mode=mode)


#: Older releases of REST framework let no function name the metadata class of its view.
of_functions = pytest.mark.skipif(
    not hasattr(decorators, "metadata_class"), reason="needs @metadata_class of REST framework"
)


@pytest.mark.parametrize("url", [pytest.param("/api/add/", marks=of_functions), "/api/notes/total/"])
def test_options_tells_that_a_handler_with_a_task_decides(alices, url):
    assert alices.options(url).data["accepts"]["POST"]["mode"] == "depends"


# --- AcceptMixin over generic views ------------------------------------------------------------------------


def test_the_serializer_is_the_one_that_the_view_would_use(alices):
    for url in ("/api/generic/choosing/7/", "/api/generic/choosing-plain/"):
        assert alices.post(url, {"x": -1}).status_code == 400
        assert alices.post(url, {"x": 1, "y": 2}).status_code == 202
    assert Job.objects.count() == 2


def test_without_a_serializer_everything_is_valid(alices):
    assert follow(alices, alices.post("/api/generic/bare/", {"x": -1})).data == {"x": -1}


def test_fields_find_the_request(alices, django_user_model):
    note = Note.objects.create(slug="a", title="A")
    accepted = alices.post("/api/generic/context/", {"note": f"http://testserver/api/notes/{note.pk}/"})
    assert accepted.status_code == 202
    assert follow(alices, accepted).data == {"user": django_user_model.objects.get().pk, "note": note.pk}
    assert alices.post("/api/generic/context/", {"note": "/api/notes/777/"}).status_code == 400


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_object_of_a_generic_view_is_looked_up_at_once(alices, method, django_user_model):
    ask = getattr(alices, method)
    data = {"slug": "a", "title": "A"}
    assert ask("/api/generic/notes/777/", data).status_code == 404
    theirs = Note.objects.create(slug="b", owner=django_user_model.objects.create(username="bob"))
    assert ask(f"/api/generic/notes/{theirs.pk}/", data).status_code == 403
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("method", "data", "status"),
    [
        ("post", {"slug": "b", "title": "B"}, 200),
        ("put", {"slug": "a", "title": "the same slug"}, 200),
        ("patch", {}, 200),
        ("delete", {}, 204),
    ],
)
def test_the_job_of_a_generic_view_is_about_its_object(alices, method, data, status):
    note = Note.objects.create(slug="a", title="A")
    accepted = getattr(alices, method)(f"/api/generic/notes/{note.pk}/", data)
    assert accepted.status_code == 202, accepted.content
    assert Job.objects.get().content_object == note
    assert follow(alices, accepted).status_code == status


def test_an_object_that_no_url_names_is_found_too(alices):
    note = Note.objects.create(slug="a", title="A")
    accepted = alices.put("/api/generic/newest-note/", {"slug": "a", "title": "B"})
    assert Job.objects.get().content_object == note
    assert follow(alices, accepted).data["title"] == "B"


def test_what_is_created_is_not_looked_up_but_found_afterwards(alices):
    shelf = Shelf.objects.create(name="top")
    accepted = alices.post(f"/api/generic/shelves/{shelf.pk}/notes/", {"slug": "a", "title": "A"})
    assert accepted.status_code == 202, accepted.content
    assert Job.objects.get().content_object is None
    assert follow(alices, accepted).data["shelf"] == shelf.pk
    assert Job.objects.for_object(Note.objects.get()).get() == Job.objects.get()


def test_what_cannot_be_created_is_nobodys_object(alices):
    Note.objects.create(slug="a", title="A")
    shelf = Shelf.objects.create(name="top")
    accepted = alices.post(f"/api/generic/shelves/{shelf.pk}/notes/", {"slug": "b", "title": "B"})
    Note.objects.create(slug="b", title="was faster")
    assert follow(alices, accepted).status_code >= 400
    assert Job.objects.get().content_object is None


def test_a_creation_that_runs_again_is_not_about_what_was_created_before(alices):
    shelf = Shelf.objects.create(name="top")
    accepted = alices.post(f"/api/generic/shelves/{shelf.pk}/notes/", {"slug": "a", "title": "A"})
    follow(alices, accepted)
    Note.objects.all().delete()
    again = alices.post(f"{accepted.headers['Operation-Location']}rerun/")
    assert Job.objects.order_by("id").last().content_object is None
    assert follow(alices, again).status_code == 201
    assert Job.objects.order_by("id").last().content_object == Note.objects.get()


def test_a_view_can_say_what_its_object_is(alices):
    data = {"slug": "a", "title": "A"}
    for status in (201, 200):
        assert follow(alices, alices.put("/api/generic/upserts/a/", data)).status_code == status
    assert [job.content_object for job in Job.objects.order_by("id")] == [None, Note.objects.get()]


# --- PUT and PATCH -------------------------------------------------------------------------------------------


def test_patch_is_validated_partially_and_put_in_full(alices):
    assert alices.patch("/api/generic/sum-changes/", {"x": 1}).status_code == 202
    assert alices.patch("/api/generic/sum-changes/", {"x": -1}).status_code == 400


def test_an_action_validates_against_its_object(alices):
    """The slug is the object's own: only a serializer that knows the object finds it free."""
    note = Note.objects.create(slug="a", title="A")
    Note.objects.create(slug="b", title="B")
    url = f"/api/generic/actions/{note.pk}/"
    assert alices.put(url, {"title": "C"}).status_code == 400
    assert alices.patch(url, {"slug": "b", "title": "C"}).status_code == 400
    assert alices.patch("/api/generic/actions/777/", {}).status_code == 404
    assert not Job.objects.exists()
    assert follow(alices, alices.put(url, {"slug": "a", "title": "C"})).data == {"title": "C"}
    assert follow(alices, alices.patch(url, {"title": "D"})).data == {"title": "D"}


# --- Handlers of the view's own ----------------------------------------------------------------------------

#: The marks that the handlers of each view leave.
MARKS = {
    "written": "!",
    "inherited": "!",
    "accepted": None,
    "extended": "!",
    "twice": "!!",
    "beside": "!",
    "last": None,
    "decorated": "!",
    "alone": "!",
}
WRITERS = [name for name in MARKS if name not in ("decorated", "alone")]


def test_every_view_with_own_handlers_is_tested():
    assert set(MARKS) == set(own_handlers.VIEWS)


def works_later(alices, accepted):
    """The mark of the answer that a worker gives; nothing is accepted a second time."""
    assert accepted.status_code == 202, accepted.content
    assert "X-Own" not in accepted
    answer = follow(alices, accepted)
    assert answer.status_code < 300, answer.content
    assert not Job.objects.exclude(pk=accepted.data["id"]).exists()
    Job.objects.all().delete()
    return answer.get("X-Own")


@pytest.mark.parametrize("name", MARKS)
def test_an_own_create_runs_in_the_worker(alices, name):
    accepted = alices.post(f"/api/own/{name}/", {"slug": "a", "title": "A"})
    assert not Note.objects.exists()
    assert works_later(alices, accepted) == MARKS[name]
    assert Note.objects.exists() is (name != "alone")


@pytest.mark.parametrize("name", WRITERS)
def test_own_handlers_run_in_the_worker(alices, name):
    note = Note.objects.create(slug="a", title="A")
    url, mark = f"/api/own/{name}/{note.pk}/", MARKS[name] and "!"
    put = alices.put(url, {"slug": "a", "title": "B"})
    assert Job.objects.get().content_object == note
    assert works_later(alices, put) == mark
    assert works_later(alices, alices.patch(url, {"title": "C"})) == mark
    assert Note.objects.get().title == "C"
    assert works_later(alices, alices.delete(url)) == mark
    assert not Note.objects.exists()


@pytest.mark.parametrize("name", MARKS)
def test_an_own_create_answers_at_once_where_nobody_asks(alices, name):
    url, data = f"/api/own/asking-{name}/", {"slug": "a", "title": "A"}
    answer = alices.post(url, data)
    assert (answer.status_code, answer.get("X-Own")) == (201, MARKS[name])
    assert not Job.objects.exists()
    data["slug"] = "b"
    assert works_later(alices, alices.post(url, data, headers={"prefer": "respond-async"})) == MARKS[name]


@pytest.mark.parametrize("name", [name for name in MARKS if name != "alone"])
def test_before_an_own_handler_the_input_is_validated(alices, name):
    assert alices.post(f"/api/own/{name}/", {"slug": "not a slug"}).status_code == 400
    assert not Job.objects.exists()


@pytest.mark.parametrize("name", WRITERS)
def test_before_an_own_handler_the_object_is_looked_up(alices, name):
    for method in (alices.put, alices.patch, alices.delete):
        assert method(f"/api/own/{name}/777/", {"slug": "a", "title": "A"}).status_code == 404
    assert not Job.objects.exists()


def test_an_action_may_hand_over_to_a_handler_that_accepts(alices):
    accepted = alices.post("/api/own/written/copy/", {"slug": "a", "title": "A"})
    assert works_later(alices, accepted) == "!"


def test_a_decorated_handler_keeps_its_own_terms(alices):
    assert alices.post("/api/own/decorated/", {"slug": "a", "title": "A"}).data["operation"] == "notes.write"


def test_a_view_set_without_a_verb_gets_no_route_for_it(alices):
    assert alices.put("/api/own/alone/7/", {}).status_code == 404
    assert alices.get("/api/own/alone/").status_code == 405

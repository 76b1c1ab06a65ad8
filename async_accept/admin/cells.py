"""Parts of a job as HTML. They are made from the row alone: a list of a hundred jobs needs no further queries.

Text that others wrote (messages, operations, names) is always escaped by ``format_html``, and put into elements that
isolate its direction of writing (``bdi``).
"""

import re
from datetime import datetime, timedelta

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from ..db.clock import aware, local
from ..models import Job, database_now
from ..states import State
from .formatting import LOOKS, ago, duration, exactly, percent, progress_of, progress_words
from .pages import model_url

__all__ = [
    "NOTHING",
    "badge",
    "bar",
    "elapsed",
    "message",
    "moment",
    "moment_in_full",
    "object_link",
    "soft",
    "state_cell",
]

#: Shown for a missing value.
NOTHING = "–"
#: A word of more characters than this may be broken into pieces of this length.
LONG_WORD, PIECE = 16, 10


def soft(name: object) -> SafeString:
    """Return a name that a narrow column may break: after dots, slashes and the like, and inside of a long word."""
    words = re.findall(r"[^ .@/_-]*[ .@/_-]+|[^ .@/_-]+", str(name))
    pieces = [
        piece
        for word in words
        for piece in (re.findall(f".{{1,{PIECE}}}", word, re.DOTALL) if len(word) > LONG_WORD else [word])
    ]
    return format_html("<bdi>{}</bdi>", format_html_join(SafeString("<wbr>"), "{}", ((p,) for p in pieces)))


def badge(state: str) -> SafeString:
    """Return a state as an icon, its label and a colour."""
    look = LOOKS[state]
    return format_html(
        '<span class="aa-badge aa-{}"><span class="aa-icon" aria-hidden="true">{}</span>{}</span>',
        look.tone,
        look.icon,
        State(state).label,
    )


def bar(job: Job, now: datetime | None = None) -> SafeString:
    """Return the progress bar of a running job with its figures; empty if the job does not run or has no progress."""
    if job.state not in (State.RUNNING, State.CANCELING) or not progress_of(job):
        return SafeString("")
    words = progress_words(job, now)
    done = percent(job)
    # Without a value, the browser shows that something goes on.
    value = SafeString("") if done is None else format_html(' value="{}"', f"{done:.1f}")
    return format_html(
        '<span class="aa-progress"><progress max="100"{} aria-label="{}"></progress>'
        '<span class="aa-figures">{}</span></span>',
        value,
        gettext("Progress"),
        # The line may break after the slash.
        format_html_join(SafeString("/<wbr>"), "{}", ((part,) for part in words.split("/"))),
    )


def moment(when: datetime | None, now: datetime | None = None) -> SafeString:
    """Return a time as people say it, such as "5 min ago", with the exact time (ISO 8601) in the title."""
    return SafeString(NOTHING) if when is None else _time(when, ago(when, now))


def moment_in_full(when: datetime | None, now: datetime | None = None) -> SafeString:
    """Return a time as people say it, followed by the exact time."""
    if when is None:
        return SafeString(NOTHING)
    if abs((now or database_now()) - when) >= timedelta(days=7):  # people say the date
        return _time(when, exactly(when))
    return format_html("{} · <bdi>{}</bdi>", moment(when, now), exactly(when))


def _time(when: datetime, said: str) -> SafeString:
    iso = local(when).isoformat(sep=" ", timespec="seconds")
    return format_html(
        '<time dir="auto" datetime="{}" title="{}">{}</time>', aware(when).isoformat(), iso, said
    )


def elapsed(job: Job, now: datetime | None = None) -> SafeString:
    """Return how long the last attempt took, or has taken so far; a dash if the job has not started."""
    end = job.finished_at or (now or database_now())
    if job.started_at is None or job.state == State.ACCEPTED:
        return SafeString(NOTHING)
    return format_html("<bdi>{}</bdi>", duration(end - job.started_at))


def object_link(job: Job, site: admin.AdminSite, request: HttpRequest | None) -> SafeString:
    """Return the object that the job is about, with a link to its admin page if the user may view it. No query."""
    kind = job.object_type
    if kind is None or not job.object_id:
        return SafeString(NOTHING)
    model = kind.model_class()
    name = f"{model._meta.verbose_name if model else kind.model} {job.object_id}"
    if model is None or request is None or not site.is_registered(model):
        return soft(name)
    if not site.get_model_admin(model).has_view_permission(request):
        return soft(name)
    try:
        url = model_url(site, model._meta, "change", job.object_id)
    except NoReverseMatch:
        return soft(name)
    return format_html('<a href="{}">{}</a>', url, soft(name))


def message(job: Job) -> SafeString:
    """Return the stage and the message of the last progress report."""
    progress = progress_of(job)
    said = SafeString("")
    if progress.get("stage"):
        said += format_html("<strong><bdi>{}</bdi></strong> ", progress["stage"])
    if progress.get("message"):
        said += format_html("<bdi>{}</bdi>", progress["message"])
    return said


def state_cell(job: Job, now: datetime | None = None) -> SafeString:
    """Return the state, whether the owner has deleted the job, and the progress of a running one."""
    return SafeString(badge(job.state) + _deleted(job) + bar(job, now))


def _deleted(job: Job) -> SafeString:
    if not job.forgotten:
        return SafeString("")
    return format_html(' <span class="aa-aside">{}</span>', gettext("deleted by its owner"))

"""How the admin of jobs looks: on a laptop and on a phone, by day and by night, with whatever jobs hold."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from django_celery_results.models import TaskResult

from async_accept.admin.formatting import LOOKS
from async_accept.models import Job
from async_accept.problems import problem
from async_accept.states import State
from async_accept.testing import make_job
from example_project.shop.models import Order

LIST = "/admin/async_accept/job/"
DASHBOARD = f"{LIST}dashboard/"
LOOK = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/orders/tasks.py", line 62, in bulk_orders
    charge(order)
  File "/srv/shop/payments/gateway.py", line 118, in charge
    raise GatewayError(f"unexpected answer {answer!r} of {url} while order {order.pk} was charged for the second time")
GatewayError: unexpected answer b'<html>502 Bad Gateway</html>'
"""


def at(job):
    return f"{LIST}{job.pk}/change/"


def newest(state):
    return Job.objects.filter(state=state).order_by("-created_at")[0]


@pytest.fixture
def alice(transactional_db, django_user_model):
    """One of the staff."""
    return django_user_model.objects.create_superuser("alice", password="alice")


@pytest.fixture
def sights(day, django_user_model):
    """The pages to be looked at, by name."""
    now = timezone.now()
    emma = django_user_model.objects.get(username="emma")

    def attempt(number, began, ended, reason):
        minutes = {"started_at": began, "ended_at": ended}
        times = {name: (now - timedelta(minutes=at)).isoformat() for name, at in minutes.items()}
        return {
            "attempt": number,
            "worker": f"celery@worker-{number}.shop.example",
            "reason": reason,
            **times,
        }

    common = {
        "owner": emma,
        "operation": "orders.bulk",
        "queue": "celery",
        "worker": "celery@worker-3.shop.example",
        "worker_pid": 4711,
        "max_attempts": 5,
        "input": {"rows": 500, "card": {"token": "s3cret"}, "discounts": ["WELCOME", "TEA-10"]},
        "request": {
            "method": "POST",
            "path": "/api/orders/bulk/",
            "meta": {"CONTENT_TYPE": "application/json"},
        },
        "object_type": ContentType.objects.get_for_model(Order),
        "object_id": "1207",
    }
    progress = {"current": 312, "total": 500, "unit": "orders", "percent": 62.4, "stage": "Taking payments",
                "message": "Order A-312: the gateway took 2.10 €"}  # fmt: skip
    running = make_job(
        "async_accept.replay",
        state="running",
        attempt=2,
        created_at=now - timedelta(minutes=5, seconds=3),
        started_at=now - timedelta(seconds=95),
        history=[attempt(1, 5, 2, "lease")],
        progress=progress,
        log="\n".join(
            f"{now - timedelta(seconds=313 - n):%Y-%m-%d %H:%M:%S} A-{n} paid" for n in range(1, 313)
        ),
        idempotency_key="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        **common,
    )
    waiting = make_job(
        "async_accept.replay",
        attempt=3,
        created_at=now - timedelta(minutes=30),
        dispatch_at=now + timedelta(minutes=4),
        history=[
            attempt(1, 29.9, 24, "lease"),
            attempt(2, 23.9, 20, "database: OperationalError"),
            attempt(3, 19, 5, "retry: GatewayTimeout"),
        ],
        **common,
    )
    failed = make_job(
        "async_accept.replay",
        state="failed",
        attempt=1,
        created_at=now - timedelta(minutes=12),
        started_at=now - timedelta(minutes=11),
        finished_at=now - timedelta(minutes=10),
        problem=problem("failed", reference="7529be792933"),
        **common,
    )
    TaskResult.objects.filter(task_id=str(failed.pk)).update(traceback=TRACEBACK)
    rows = [{"order": f"A-{n}", "state": "paid", "total": "12.50", "note": "x" * 40} for n in range(1000)]
    huge = make_job(
        "async_accept.replay",
        state="succeeded",
        result={"orders": rows},
        response={"status": 201, "headers": {"Location": "/api/orders/1207/"}},
        created_at=now - timedelta(minutes=14),
        **common,
    )
    return {
        "list": LIST,
        "list-failed": f"{LIST}?state=failed&columns=all",
        "list-empty": f"{LIST}?q=nobody",
        "running": at(running),
        "waiting": at(waiting),
        "failed": at(failed),
        "huge": at(huge),
        "succeeded": at(newest("succeeded")),
        "confirm": f"{LIST}{running.pk}/cancel/",
        "dashboard": DASHBOARD,
        "app": "/admin/async_accept/",
    }


# --- On every screen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), LOOK)
def test_every_page_fits_and_axe_finds_no_fault(browser, sights, axe, width, scheme):
    browser.look(width, scheme, prefers_reduced_motion="reduce")
    for name, url in sights.items():
        browser.visit(url)
        if name in ("dashboard", "failed"):
            browser.press("summary")
        browser.shoot(f"admin-{name}-{width}-{scheme}")
        assert browser.complaints() == [], name
        assert browser.overflow() <= 0, name
        # The crumbs of Django's own index of an app are links told by their colour alone.
        assert browser.axe(axe, "#content" if name == "app" else "body") == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_state_and_operation_are_seen_on_a_phone(browser, day, scheme):
    browser.look(390, scheme)
    browser.visit(LIST)
    for column in ("state", "operation"):
        for found in browser.find_all(f"#result_list .field-{column}_column"):
            assert found.is_displayed()
            assert found.rect["x"] >= 0
            assert found.rect["x"] + found.rect["width"] <= 390, found.text


def test_the_chart_is_read_on_a_phone(browser, day):
    """Its axis is in sight, and its words are as large as others."""
    browser.look(390)
    browser.visit(DASHBOARD)
    labels = browser.run(
        "return Array.from(document.querySelectorAll('.aa-values span, .aa-hours span'))"
        "  .filter(e => e.textContent.trim() && getComputedStyle(e).visibility === 'visible')"
        "  .map(e => { const range = document.createRange(); range.selectNodeContents(e);"
        "    const box = range.getBoundingClientRect();"
        "    return [e.textContent, box.left, box.right, parseFloat(getComputedStyle(e).fontSize)] })"
    )
    assert len(labels) == 3 + 4
    for text, left, right, size in labels:
        assert left >= 0, text
        assert right <= 390, text
        assert size >= 12, text
    hours = sorted((left, right) for text, left, right, _ in labels if ":" in text)
    assert all(before[1] < after[0] for before, after in pairwise(hours)), "They run together"
    chart = browser.find(".aa-chart").rect
    assert chart["x"] >= 0
    assert chart["x"] + chart["width"] <= 390


@pytest.mark.parametrize("language", ["en", "de", "es", "fr", "ja", "pt-br", "zh-hans"])
def test_the_seven_columns_fit_on_a_laptop_in_every_language(browser, day, language):
    browser.speak(language)
    browser.look(1280)
    for query in ("", "?state=failed", "?state=canceling"):
        browser.visit(LIST + query)
        assert browser.find("html").get_attribute("lang") == language
        assert browser.run(
            "const list = document.querySelector('.results'); return list.scrollWidth <= list.clientWidth"
        ), query
        counter = browser.find(".action-counter").rect
        assert counter["height"] < 25, "It takes a second line"


# --- Whatever jobs hold ------------------------------------------------------------------------------------

ENDLESS = "abcdefghij" * 30


@pytest.fixture
def endless(alice, django_user_model):
    """Jobs with names, units and reasons that nothing breaks, and with large numbers."""
    owner = django_user_model.objects.create_user(ENDLESS[:150])
    now = timezone.now()
    columns = {
        "operation": ENDLESS[:100],
        "owner": owner,
        "worker": ENDLESS[:255],
        "queue": ENDLESS[:100],
        "object_type": ContentType.objects.get_for_model(Order),
        "object_id": ENDLESS[:255],
        "input": {ENDLESS: ENDLESS},
        "request": {"method": "POST", "path": f"/{ENDLESS}", "meta": {"CONTENT_TYPE": ENDLESS}},
        "log": ENDLESS,
        "idempotency_key": None,
        "created_at": now - timedelta(minutes=6),
        "history": [{"attempt": 1, "worker": ENDLESS, "started_at": now.isoformat(), "ended_at": now.isoformat(),
                     "reason": ENDLESS}],
        "progress": {"current": 1_234_567, "total": 98_765_432, "unit": ENDLESS[:50], "percent": 1.2,
                     "message": ENDLESS, "stage": ENDLESS},
    }  # fmt: skip
    document = problem("rejected", ENDLESS, title=ENDLESS, errors={ENDLESS: [ENDLESS]})
    jobs = {
        "running": make_job(ENDLESS[:255], state="running", **columns),
        "waiting": make_job(ENDLESS[:255], attempt=1, **columns),
        "failed": make_job(ENDLESS[:255], state="failed", problem=document, **columns),
        "succeeded": make_job(
            ENDLESS[:255],
            state="succeeded",
            result=ENDLESS,
            response={"status": 201, "headers": {"Location": f"/{ENDLESS}"}},
            **columns,
        ),
    }
    make_job(state="running", progress=columns["progress"] | {"unit": ""}, owner=alice)
    return jobs


@pytest.mark.parametrize("width", [390, 1280])
def test_long_texts_keep_to_their_place(browser, endless, width):
    browser.look(width)
    pages = {name: at(job) for name, job in endless.items()} | {
        "confirm": f"{LIST}{endless['running'].pk}/cancel/",
        "dashboard": DASHBOARD,
        "list": LIST,
        "list-all": f"{LIST}?columns=all",
    }
    for name, url in pages.items():
        browser.visit(url)
        browser.shoot(f"admin-endless-{name}-{width}")
        assert browser.overflow() <= 0, name
        assert out_of_place(browser) == [], name


def out_of_place(browser):
    """What reaches out of its own cell or box, or out of the page where nothing scrolls."""
    return browser.run(
        "const bad = [];"
        "for (const box of document.querySelectorAll('#result_list td, #result_list th, .aa-facts dd, .aa-timeline li,"
        " .aa-header > *, .aa-panel td, .aa-panel th, h1, ol.breadcrumbs li, .aa-question')) {"
        "  const own = box.getBoundingClientRect();"
        "  for (const text of box.querySelectorAll('*')) {"
        "    const at = text.getBoundingClientRect();"
        "    if (at.width && getComputedStyle(text).position !== 'absolute'"
        "        && (at.right > own.right + 1 || at.left < own.left - 1))"
        "      bad.push([box.className || box.localName, text.className || text.localName, at.right - own.right]);"
        "  }"
        "  if (box.scrollWidth > box.clientWidth + 1) bad.push([box.className || box.localName, box.scrollWidth]);"
        "} return bad"
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_a_long_operation_pushes_no_column_out_of_sight(browser, endless, width):
    browser.look(width)
    browser.visit(LIST)
    names = ("state", "operation", "owner", "object", "created", "duration", "attempts")
    box = browser.find(".results").rect
    for column in names[:2] if width == 390 else names:
        for found in browser.find_all(f"#result_list tbody .field-{column}_column"):
            assert found.rect["x"] + found.rect["width"] <= box["x"] + box["width"] + 1, column


# --- Colours --------------------------------------------------------------------------------------------------

CONTRAST = """
function rgb(color) {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data).slice(0, 3);
}
function light(color) {
    const parts = rgb(color).map(part => part / 255).map(p => p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
}
function contrast(a, b) {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
}
"""


def styles(browser, css, *properties, pseudo=None):
    """The computed styles of the first element that *css* finds."""
    return browser.run(
        "const style = getComputedStyle(document.querySelector(arguments[0]), arguments[2]);"
        "return arguments[1].map(name => style.getPropertyValue(name))",
        css,
        properties,
        pseudo,
    )


def drawn(browser, tone):
    """The edge and the fill of a tone in the chart."""
    return styles(browser, f".aa-chart .aa-fill.aa-{tone}", "stroke", "fill")


@pytest.fixture
def each_state(alice):
    return {
        state: make_job(state=state, result=1, input={}, started_at=timezone.now(), attempt=1)
        for state in State
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_state_has_one_colour_everywhere_and_it_stands_out(browser, each_state, scheme):
    browser.look(1280, scheme)
    browser.visit(DASHBOARD)
    colours = {}
    (ground,) = styles(browser, "body", "background-color")
    for state in State:
        tone = LOOKS[state].tone
        edge, fill = styles(browser, f".aa-swatch.aa-{tone}", "border-top-color", "background-color")
        assert drawn(browser, tone) == [edge, fill], state
        assert browser.run(f"{CONTRAST} return contrast(arguments[0], arguments[1])", edge, ground) >= 3, (
            state
        )
        colours[state] = edge, fill
    assert len(set(colours.values())) == len(State)

    browser.visit(LIST)
    for state, (edge, _fill) in colours.items():
        badge = styles(browser, f".aa-badge.aa-{LOOKS[state].tone}", "border-top-color")
        assert badge == [edge], state

    for state in (State.SUCCEEDED, State.FAILED, State.CANCELED):
        browser.visit(at(each_state[state]))
        step = f".aa-timeline li.aa-{LOOKS[state].tone}"
        assert (
            tuple(styles(browser, step, "border-top-color", "background-color", pseudo="::before"))
            == colours[state]
        )
    began = styles(
        browser, ".aa-timeline li.aa-busy", "border-top-color", "background-color", pseudo="::before"
    )
    assert tuple(began) == colours[State.RUNNING]


def test_forced_colors_keep_badges_and_chart_apart_from_the_ground(browser, each_state):
    browser.look(1280, "dark", forced_colors="active")
    browser.visit(LIST)
    browser.shoot("admin-list-forced-colors")
    assert browser.run("return matchMedia('(forced-colors: active)').matches")
    for state in State:
        text, edge, ground = styles(
            browser, f".aa-badge.aa-{LOOKS[state].tone}", "color", "border-top-color", "background-color"
        )
        assert browser.run(f"{CONTRAST} return contrast(arguments[0], arguments[1])", text, ground) >= 4.5, (
            state
        )
        assert browser.run(f"{CONTRAST} return contrast(arguments[0], arguments[1])", edge, ground) >= 3, (
            state
        )
    assert browser.complaints() == []

    browser.visit(DASHBOARD)
    browser.shoot("admin-dashboard-forced-colors")
    text = browser.run(
        "const probe = document.createElement('p'); document.body.append(probe); probe.className = 'aa-chart';"
        "return getComputedStyle(probe).color"
    )
    fills = set()
    for state in State:
        tone = LOOKS[state].tone
        edge, fill = drawn(browser, tone)
        assert edge == text, "Each piece is outlined as text is"
        assert styles(browser, f".aa-swatch.aa-{tone}", "background-color") == [fill], (
            "The legend shows the same"
        )
        fills.add(fill)
    assert len(fills) == len(State)
    assert browser.complaints() == []


# --- From right to left -----------------------------------------------------------------------------------------


def scrambled(browser, css):
    """Lines without a letter of Arabic whose characters do not stand in the order in which they are read."""
    return browser.run(
        "const bad = [], range = document.createRange();"
        "for (const element of document.querySelectorAll(arguments[0])) {"
        "  const lines = new Map(), walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);"
        "  for (let node = walker.nextNode(); node; node = walker.nextNode())"
        "    for (let at = 0; at < node.data.length; at++) {"
        "      if (!node.data[at].trim()) continue;"
        "      range.setStart(node, at); range.setEnd(node, at + 1);"
        "      const box = range.getBoundingClientRect(), line = Math.round(box.bottom / 8);"
        "      if (box.width) lines.set(line, [...(lines.get(line) || []), [box.left, node.data[at]]]);"
        "    }"
        "  for (const line of lines.values()) {"
        "    const text = line.map(each => each[1]).join('');"
        "    if (/[\\u0590-\\u06ff]/.test(text)) continue;"
        "    if (line.some((each, n) => n && each[0] < line[n - 1][0])) bad.push(text);"
        "  }"
        "} return bad",
        css,
    )


#: What stands in lines; a badge is an icon beside a word, in the direction of the page.
READ = (
    "h1, time, .aa-figures, .aa-message, .aa-facts dt, .aa-facts dd, .aa-timeline li, .aa-panel p, .aa-panel td, "
    ".aa-panel th, .aa-card-value, #result_list td:not(.field-state_column), #result_list tbody th"
)


@pytest.mark.parametrize("width", [390, 1280])
def test_right_to_left(browser, sights, axe, width):
    browser.speak("ar")
    browser.look(width)
    for name in ("list", "running", "waiting", "failed", "huge", "confirm", "dashboard"):
        browser.visit(sights[name])
        assert browser.find("html").get_attribute("dir") == "rtl"
        browser.shoot(f"admin-{name}-{width}-rtl")
        assert browser.overflow() <= 0, name
        assert browser.complaints() == [], name
        assert browser.axe(axe, "#content") == [], name
        assert scrambled(browser, READ) == [], name
        # What is written from the left stands at the right side all the same.
        for found in browser.find_all(".aa-facts dd"):
            right = browser.run(
                "const range = document.createRange(); range.selectNodeContents(arguments[0]);"
                "return arguments[0].getBoundingClientRect().right - range.getBoundingClientRect().right",
                found,
            )
            assert abs(right) <= 2, found.text


# --- For the docs ------------------------------------------------------------------------------------------------

DOCS = Path(__file__).resolve().parents[2] / "docs/screenshots"
#: The page, the width of the screen, and how much of it.
PICTURES = {
    "admin-list": ("list", 1280, 860),
    "admin-job": ("running", 1280, 1010),
    "admin-dashboard": ("dashboard", 1280, 840),
    "admin-phone-job": ("running", 390, 850),
    "admin-phone-dashboard": ("dashboard", 390, 850),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_of_the_docs_can_be_taken_again(browser, sights, scheme):
    """Into ``screenshots/docs/``; from there they are copied to ``docs/screenshots/`` when they are to be renewed."""
    browser.visit(LIST)
    browser.press("#toggle-nav-sidebar")  # The admin's own menu stays closed at this server.
    for name, (page, width, height) in PICTURES.items():
        browser.look(width, scheme, prefers_reduced_motion="reduce")
        browser.visit(sights[page])
        browser.shoot(f"docs/{name}-{scheme}", height)
    assert {path.stem for path in DOCS.glob(f"admin-*-{scheme}.png")} == {
        f"{name}-{scheme}" for name in PICTURES
    }

"""A page of another origin follows a job by the scripts and the settings of the docs, with a token."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer
from rest_framework.authtoken.models import Token

from async_accept.checks.cors import ALLOWED, EXPOSED
from async_accept.jobs import retention
from async_accept.models import Job
from async_accept.testing import make_job, run_accepted_jobs
from tests import servers

from .chrome import Browser
from .cors import MIDDLEWARE, lines_of_the_docs
from .processes import running
from .test_job_page import PROGRESS, finish, report

pytest.importorskip("corsheaders", reason="needs django-cors-headers (extra: test)")

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
#: Preact runs hooks as React does, and a browser can load it without a build.
PREACT = "preact@10.29.8"
IMPORTS = {
    "react": "/npm/preact/compat/dist/compat.mjs",
    "preact": "/npm/preact/dist/preact.mjs",
    "preact/hooks": "/npm/preact/hooks/dist/hooks.mjs",
}
PAGE = f"""<!doctype html><html lang="en"><head><title>App</title><link rel="icon" href="data:,">
<script type="importmap">{json.dumps({"imports": IMPORTS})}</script></head><body></body></html>"""
SUMS = "/api/policies/always/class/"


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for packages of npm."""
    return tmp_path_factory.mktemp("npm")


@pytest.fixture
def preact(npm: Path) -> None:
    program = shutil.which("npm")
    if program is None:
        servers.do_without("needs npm, to fetch Preact")
    command = [
        program,
        "install",
        "--prefix",
        str(npm),
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        PREACT,
    ]
    got = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if got.returncode:
        servers.do_without(f"npm cannot fetch Preact: {got.stderr[-500:]}")


@pytest.fixture(scope="session")
def app(npm: Path) -> Iterator[str]:
    """The origin of a page that has the scripts of the docs; a port of its own makes it another one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            package = name.removeprefix("npm/")
            file = EXAMPLES / name if name == package else npm / "node_modules" / package
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if name else "text/html")
            self.end_headers()
            self.wfile.write(file.read_bytes() if name else PAGE.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Page:
    """The page of the app, logged in by a token at an API of another origin."""

    def __init__(self, browser: Browser, app: str, api: str, token: str) -> None:
        self.browser = browser
        self.api = api
        self.token = token
        browser.reset()
        browser.visit(app)

    def begin(self, script: str, *arguments: Any) -> None:
        """Start *script* in an async function; ``api`` and ``headers`` are at hand, ``arguments`` as ``given``."""
        self.browser.run(
            "const [api, token, ...given] = arguments; const headers = {Authorization: token}; window.done = null;"
            "window.told = [];"
            f"(async () => {{ {script} }})()"
            ".then((value) => { done = {value} }, (error) => { done = {error: String(error)} });",
            self.api,
            f"Token {self.token}",
            *arguments,
        )

    def end(self) -> Any:
        done = self.browser.wait(lambda: self.browser.run("return window.done"), "The script should end", 30)
        assert "error" not in done, done
        return done["value"]

    def error(self) -> str:
        done = self.browser.wait(lambda: self.browser.run("return window.done"), "The script should fail", 30)
        return str(done["error"])

    def run(self, script: str, *arguments: Any) -> Any:
        self.begin(script, *arguments)
        return self.end()


@pytest.fixture
def wsgi(transactional_db: None, settings: Any, app: str) -> Iterator[str]:
    settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    for name, value in lines_of_the_docs(app).items():
        setattr(settings, name, value)
    live = LiveServer("localhost")
    yield str(live.url)
    live.stop()


@pytest.fixture
def asgi(child_environment: dict[str, str], app: str) -> Iterator[str]:
    pytest.importorskip("uvicorn")
    command = [sys.executable, "-m", "uvicorn", "tests.e2e.cors:application", "--port", "0"]
    environment = child_environment | {"ORIGIN": app}
    with running([*command, "--lifespan", "off"], environment, "running on ") as address:
        yield address


@pytest.fixture(params=["wsgi", "asgi"])
def page(request: pytest.FixtureRequest, driver: Any, app: str, alice: Any) -> Iterator[Page]:
    api = request.getfixturevalue(request.param)
    yield Page(Browser(driver, api), app, api, Token.objects.create(user=alice).key)
    driver.get("about:blank")


def made_job(alice: Any) -> Job:
    return make_job(
        "async_accept.replay", state="running", owner=alice, operation="orders.bulk", progress=PROGRESS
    )


SEND = """
const send = (key, data) => fetch(api + "/api/policies/always/class/", {
  method: "POST",
  headers: {...headers, "Content-Type": "application/json", "Idempotency-Key": key, Prefer: "respond-async"},
  body: JSON.stringify(data),
});
"""


def test_follows_to_the_result(page: Page) -> None:
    """Contract 1, 3, 5, 13: token and key go there, and everything that leads to the result is read."""
    page.begin(
        SEND
        + """
        const { follow } = await import("/follow.js");
        const accepted = await send("once", {x: 3, y: 4});
        const names = Object.fromEntries(accepted.headers);
        const again = await send("once", {x: 3, y: 4});
        const other = await send("once", {x: 3, y: 5});
        const answer = await follow(accepted, { headers });
        return {
          names, status: answer.status, body: await answer.json(), sunset: answer.headers.get("Sunset"),
          again: [again.status, again.headers.get("Location")], other: [other.status, await other.json()],
        };
        """
    )
    page.browser.wait(Job.objects.exists, "A job should be accepted")
    time.sleep(0.3)  # the page asks again meanwhile
    run_accepted_jobs()
    told = page.end()

    [job] = Job.objects.all()
    shown = {name for name in EXPOSED if name not in ("ETag", "Sunset")}
    assert {name.lower() for name in shown} <= told["names"].keys()
    assert told["names"]["preference-applied"] == "respond-async"
    assert (told["status"], told["body"]) == (201, {"sum": 7})
    assert told["sunset"]
    assert told["again"] == [202, told["names"]["location"]]
    assert (told["other"][0], told["other"][1]["code"]) == (422, "idempotency-key-reused")
    assert str(job.pk) in told["names"]["location"]


def test_conditional_requests(page: Page, alice: Any) -> None:
    """Contract 11, 12: the script reads the tag, and sends it back in both ways."""
    job = made_job(alice)
    told = page.run(
        """
        const url = given[0];
        const tag = (await fetch(api + url, { headers })).headers.get("ETag");
        const known = await fetch(api + url, { headers: { ...headers, "If-None-Match": tag } });
        const cancel = (tag) =>
          fetch(`${api + url}cancel/`, { method: "POST", headers: { ...headers, "If-Match": tag } });
        const [late, right] = [await cancel('"old"'), await cancel(tag)];
        return [known.status, known.headers.get("Retry-After"), late.status, right.status];
        """,
        f"/api/jobs/{job.pk}/",
    )
    assert told == [304, "1", 412, 202]


WATCH = """
const { watch } = await import("/watch.js");
const job = await (await fetch(api + given[0], { headers })).json();
const statuses = [];
const fetched = window.fetch;
window.fetch = async (...it) => {
  const answer = await fetched(...it);
  statuses.push(answer.status);
  return answer;
};
try {
  const last = await watch(job, { headers: () => headers, onStatus: (job) => told.push(job.progress?.percent) });
  return { status: last.status, statuses };
} finally {
  window.fetch = fetched;
}
"""


def test_watches_by_events_or_polls(page: Page, alice: Any, request: pytest.FixtureRequest) -> None:
    """Contract 11, 14: by events with a token; where the server has none, by conditional polls."""
    job = made_job(alice)
    page.begin(WATCH, f"/api/jobs/{job.pk}/")
    for percent in (40, 50):
        report(job, percent)
        page.browser.wait(lambda p=percent: p in page.browser.run("return told"), f"{percent} should be told")
    time.sleep(1.5)  # polls find nothing new
    finish(job)
    told = page.end()

    assert told["status"] == "succeeded"
    if request.node.callspec.params["page"] == "asgi":
        assert told["statuses"] == [200]  # one stream
    else:
        assert told["statuses"][:2] == [406, 200]
        assert set(told["statuses"][2:]) == {200, 304}


def test_stream_continues_after_a_broken_connection(driver: Any, app: str, asgi: str, alice: Any) -> None:
    """Contract 14: with ``Last-Event-ID``, so nothing is told twice."""
    page = Page(Browser(driver, asgi), app, asgi, Token.objects.create(user=alice).key)
    job = made_job(alice)
    page.browser.run(
        """
        window.asked = [];
        const fetched = window.fetch;
        window.fetch = async (url, options) => {
          const id = options?.headers?.["Last-Event-ID"];
          asked.push(id ?? null);
          const answer = await fetched(url, options);
          if (!url.endsWith("/events/") || id) return answer;
          const reader = answer.body.getReader();
          const text = () => new TextDecoder().decode(chunks.at(-1));
          const chunks = [];
          do chunks.push((await reader.read()).value); while (!text().includes("data: "));
          const pull = async (c) => {
            if (chunks.length) return c.enqueue(chunks.shift());
            while (!told.length) await new Promise((resolve) => setTimeout(resolve, 20));
            c.error(new Error("broken"));
          };
          return new Response(new ReadableStream({ pull }), { status: 200 });
        };
        """
    )
    script = WATCH.replace("window.fetch = fetched;", "")
    page.begin(script, f"/api/jobs/{job.pk}/")
    page.browser.wait(lambda: page.browser.run("return asked.filter(Boolean).length"), "It should ask again")
    finish(job)
    assert page.end()["status"] == "succeeded"
    told = page.browser.run("return told")
    assert len(told) <= 2  # the first event, and the end
    driver.get("about:blank")


HOOK = """
const { createElement, render } = await import("react");
const { useJob } = await import("/use-job.js");
function Report({ accepted }) {
  const { job, error } = useJob(accepted, { ...headers });               // a new object at each rendering
  return createElement("p", null, error ? error.message : job ? `${job.status} ${job.progress?.percent}` : "none");
}
const show = (accepted) => render(accepted === undefined ? null : createElement(Report, { accepted }), document.body);
window.show = show;
show(null);
const shown = document.body.textContent;
show(await (await fetch(api + given[0], { headers })).json());
return shown;
"""


@pytest.mark.usefixtures("preact")
def test_hook_shows_the_job(page: Page, alice: Any) -> None:
    """The hook of the page "Show a job in React": nothing, then each status, then nothing more is asked."""
    job = made_job(alice)
    text = "return document.body.textContent"
    assert page.run(HOOK, f"/api/jobs/{job.pk}/") == "none"
    report(job, 40)
    page.browser.wait(lambda: page.browser.run(text) == "running 40", "The progress should be shown")
    finish(job)
    page.browser.wait(lambda: page.browser.run(text).startswith("succeeded"), "The end should be shown")

    stopped = made_job(alice)
    assert page.run(HOOK, f"/api/jobs/{stopped.pk}/") is not None
    page.browser.wait(lambda: page.browser.run(text).startswith("running"), "The other job should be shown")
    page.browser.run("show(undefined)")  # unmounted
    asked = "return performance.getEntriesByType('resource').length"
    time.sleep(0.3)
    before = page.browser.run(asked)
    time.sleep(2.2)
    assert page.browser.run(asked) == before


@pytest.mark.usefixtures("preact")
def test_hook_shows_an_error(page: Page, alice: Any) -> None:
    """A job that was deleted meanwhile is 404."""
    job = made_job(alice)
    page.run(HOOK, f"/api/jobs/{job.pk}/")
    retention.forget(job)
    text = "return document.body.textContent"
    page.browser.wait(lambda: "answers 404" in page.browser.run(text), "The error should be shown")


def test_fails_loudly_without_the_lines(driver: Any, app: str, wsgi: str, alice: Any, settings: Any) -> None:
    """Contract 1: what is hidden is told as an error, and names the header that would show it."""
    page = Page(Browser(driver, wsgi), app, wsgi, Token.objects.create(user=alice).key)
    lines = lines_of_the_docs(app)
    del settings.CORS_ALLOW_HEADERS
    page.begin(SEND + 'await send("other", {x: 1, y: 2});')
    assert "Failed to fetch" in page.error()
    assert not Job.objects.exists()

    settings.CORS_ALLOW_HEADERS = lines["CORS_ALLOW_HEADERS"]
    del settings.CORS_EXPOSE_HEADERS
    page.begin(
        SEND + 'const { follow } = await import("/follow.js"); await follow(await send("k", {x: 1, y: 2}));'
    )
    assert "Access-Control-Expose-Headers" in page.error()
    driver.get("about:blank")


def test_the_docs_and_the_check_name_the_same(app: str) -> None:
    told = lines_of_the_docs(app)
    assert tuple(told["CORS_EXPOSE_HEADERS"]) == EXPOSED
    assert set(ALLOWED) < set(told["CORS_ALLOW_HEADERS"])
    assert json.dumps(told["CORS_ALLOWED_ORIGINS"]) == f'["{app}"]'

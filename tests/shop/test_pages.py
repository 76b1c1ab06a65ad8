import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client

from async_accept.models import Job
from async_accept.testing import accepted_jobs, run_accepted_jobs
from example_project.shop import api_client, pages
from example_project.shop.models import Order, PriceList
from example_project.shop.seed import seed

pytestmark = [pytest.mark.django_db, pytest.mark.urls("example_project.urls")]

CARDS = ["bulk", "report", "import", "order", "trouble"]


@pytest.fixture(autouse=True)
def shop(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    settings.LOGIN_URL = "rest_framework:login"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "example_project.shop.csp.protect_job_pages"]
    seed()


@pytest.fixture
def framed(settings: Any) -> None:
    """The shop's templates before the package's, as in the shop's settings."""
    templates = Path(pages.__file__).parent / "templates"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [templates]}]


@pytest.fixture
def browser() -> Client:
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def alices(browser: Client) -> Client:
    browser.force_login(User.objects.get(username="alice"))
    return browser


def log_in_as(browser: Client, username: str):
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)', browser.get("/").content.decode())
    data = {"username": username, "csrfmiddlewaretoken": token.group(1) if token else ""}
    return browser.post("/demo-login/", data)


def submit(browser: Client, card: str, key: str = "", **fields: Any):
    """Post a card's form as a browser without JavaScript does."""
    section = card_of(browser, card)
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)', section))
    return browser.post(f"/send/{card}/", {**hidden, **({"key": key} if key else {}), **fields})


def card_of(browser: Client, card: str) -> str:
    page = browser.get("/").content.decode()
    return page.split(f'data-card="{card}"')[1].split("</section>")[0]


def shown(html: str) -> list[str]:
    """What is told of an exchange: the request, the answer, a line for the shell."""
    return [
        unescape(re.search(f'data-show="{name}">(.*?)</pre>', html, re.DOTALL).group(1))
        for name in ("request", "response", "curl")
    ]


# --- logging in -------------------------------------------------------------------------------------------


def test_one_click_logs_in(browser):
    assert log_in_as(browser, "alice").status_code == 302
    assert "Logged in as <strong>alice</strong>" in browser.get("/").content.decode()


@pytest.mark.parametrize("username", ["admin", "nobody", ""])
def test_one_click_is_for_customers_only(browser, username):
    assert log_in_as(browser, username).status_code == 404


def test_one_click_needs_its_csrf_token(browser):
    assert browser.post("/demo-login/", {"username": "alice"}).status_code == 403


def test_outside_the_demo_there_is_no_click_and_no_token(alices, settings):
    settings.DEMO_LOGIN = False
    page = alices.get("/").content.decode()
    assert "Be bob" not in page
    assert 'data-token=""' in page
    assert Client().post("/demo-login/", {"username": "alice"}).status_code == 404


def test_locked_account_stays_out(browser):
    User.objects.filter(username="alice").update(is_active=False)
    assert log_in_as(browser, "alice").status_code == 404


# --- the page ---------------------------------------------------------------------------------------------


def test_home_has_a_card_for_each_case(browser):
    assert re.findall(r'data-card="(\w+)"', browser.get("/").content.decode()) == CARDS


def test_outside_the_demo_there_is_no_troublemaker(browser, settings):
    settings.TROUBLEMAKER = False
    assert re.findall(r'data-card="(\w+)"', browser.get("/").content.decode()) == CARDS[:-1]


def test_page_has_no_inline_script_or_style(alices):
    response = alices.get("/")
    page = response.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert response["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")


def test_status_page_has_the_same_policy_and_the_browsable_api_none(alices, browser):
    submit(alices, "report", rows="100", days="3")
    (job,) = accepted_jobs()
    page = f"/api/jobs/{job.pk}/"
    html = {"accept": "text/html"}
    policy = alices.get("/")["Content-Security-Policy"]
    assert alices.get(page, headers=html)["Content-Security-Policy"] == policy
    assert "Content-Security-Policy" not in alices.get(f"{page}?format=api", headers=html)
    under_asgi = AsyncClient()
    under_asgi.cookies = alices.cookies
    answer = async_to_sync(under_asgi.get)(page, headers=html)
    assert answer["Content-Security-Policy"] == policy


def test_each_card_shows_its_code(browser):
    assert "@accepts_task(fulfil_orders" in card_of(browser, "bulk")
    assert "track(_lines(file)" in card_of(browser, "import")


# --- without JavaScript -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "fields"),
    [
        ("order", {"lines[0]sku": "TEA-ASSAM", "lines[0]quantity": "2", "code": ""}),
        ("bulk", {"csv": "reference,sku,quantity\nA-1,TEA-ASSAM,2\n"}),
        ("report", {"rows": "100", "days": "3"}),
        ("trouble", {"kind": "fail"}),
    ],
)
def test_form_leads_to_the_status_page(alices, card, fields):
    response = submit(alices, card, **fields)
    (job,) = accepted_jobs()
    assert (response.status_code, response["Location"]) == (303, f"http://testserver/api/jobs/{job.pk}/")
    page = alices.get(response["Location"], headers={"accept": "text/html"})
    assert job.operation in page.content.decode()
    assert "csrfmiddlewaretoken" not in str(job.input)


def test_file_can_be_uploaded(alices):
    file = SimpleUploadedFile("prices.csv", b"sku,name,price\nTEA-ASSAM,Tea,1\n")
    assert submit(alices, "import", file=file).status_code == 303
    run_accepted_jobs()
    assert PriceList.objects.get().lines == 1
    assert "Download the stored file" in card_of(alices, "import")


def test_form_sent_twice_makes_one_job(alices):
    first, second = (submit(alices, "report", key="k", rows="100", days="3") for _ in range(2))
    assert first["Location"] == second["Location"]
    assert Job.objects.count() == 1


def test_orders_form_makes_the_order(alices):
    submit(alices, "order", **{"lines[0]sku": "TEA-ASSAM", "lines[0]quantity": "2", "code": "WELCOME10"})
    (job,) = run_accepted_jobs()
    assert job.state == "succeeded"
    assert Order.objects.get().reference in card_of(alices, "order")


@pytest.mark.parametrize(
    ("card", "fields", "words"),
    [
        ("order", {"lines[0]sku": "NOPE", "lines[0]quantity": "2"}, "sku"),
        ("bulk", {}, "Choose a CSV file."),
        ("bulk", {"csv": "reference,sku,quantity\nA-1,TEA-ASSAM,0\n"}, "Row 1, quantity"),
        ("import", {}, "No file was submitted."),
        ("report", {"rows": "0", "days": "3"}, "rows: "),
        ("trouble", {"kind": "other"}, "not a valid choice"),
    ],
)
def test_refused_form_says_why_in_its_card(alices, card, fields, words):
    response = submit(alices, card, **fields)
    assert response.status_code == 400
    section = response.content.decode().split(f'data-card="{card}"')[1].split("</section>")[0]
    problem = re.search(r"data-problem>(.*?)</p>", section)
    assert words in problem.group(1)
    assert not Job.objects.exists()


def test_refused_form_keeps_what_was_typed(alices):
    page = submit(alices, "bulk", csv="nonsense").content.decode()
    assert ">nonsense</textarea>" in page


def test_wait_is_asked_of_the_api(alices, monkeypatch):
    asked = []

    def call_api(*args, headers=None, **kwargs):
        asked.append(headers)
        return api_client.call_api(*args, headers=headers, **kwargs)

    monkeypatch.setattr(pages, "call_api", call_api)
    submit(alices, "report", key="k", rows="100", days="3", wait="5")
    assert asked == [{"Idempotency-Key": '"k"', "Prefer": "wait=5"}]


def test_form_needs_its_csrf_token(alices):
    assert alices.post("/send/report/", {"rows": "1", "days": "1"}).status_code == 403


@pytest.mark.usefixtures("framed")
def test_what_happened_is_told_on_the_status_page_and_in_the_card(alices):
    monitor = submit(alices, "bulk", key="k", csv="reference,sku,quantity\nA-1,TEA-ASSAM,2\n")["Location"]
    status_page = alices.get(monitor, headers={"accept": "text/html"}).content.decode()
    for html in (status_page, card_of(alices, "bulk")):
        request, response, line = shown(html)
        assert request.startswith('POST /api/orders/bulk/\nAccept: application/json\nIdempotency-Key: "k"\n')
        assert "csv=reference,sku,quantity\nA-1,TEA-ASSAM,2" in request
        assert response.startswith(
            f"202 Accepted\nLocation: {monitor}result/\nOperation-Location: {monitor}\n"
        )
        assert '"status": "accepted"' in response
        assert line.startswith("curl -i http://testserver/api/orders/bulk/ \\\n")
        assert "csrfmiddlewaretoken" not in request + line
    assert "data-happened hidden>" in card_of(alices, "report")


def test_what_happened_is_the_visitors_own(alices):
    submit(alices, "report", rows="100", days="3")
    other = Client()
    other.force_login(User.objects.get(username="bob"))
    assert "POST /api/reports/" not in other.get("/").content.decode()


def test_line_for_the_shell_sends_what_the_form_sent(alices):
    """Whatever a shell makes of its quotes."""
    file = SimpleUploadedFile("it's.csv", b"reference,sku,quantity\nA-1,TEA-ASSAM,2\n")
    for fields in ({"csv": "reference,sku,quantity\nA-'1\",TEA-ASSAM,2\n"}, {"csv": "", "file": file}):
        submit(alices, "bulk", **fields)
        line = shown(card_of(alices, "bulk"))[2]
        words = shlex.split(line.replace("\\\n", ""), comments=True)
        options = list(zip(words[3::2], words[4::2], strict=True))
        # Nor what was left empty.
        assert (("--form-string", f"csv={fields['csv']}") in options) == bool(fields["csv"])
        assert ("-F", "file=@it's.csv") in options or "file" not in fields


def test_line_ends_of_a_browser_are_those_of_everybody_else(alices):
    submit(alices, "bulk", csv="reference,sku,quantity\r\nA-1,TEA-ASSAM,2\r\n")
    assert "\r" not in alices.session["exchanges"]["bulk"]["curl"]


def test_long_text_is_not_kept(alices):
    rows = "".join(f"A-{number},TEA-ASSAM,2\n" for number in range(1_000))
    submit(alices, "bulk", csv="reference,sku,quantity,code\n" + rows * 2)
    line = shown(card_of(alices, "bulk"))[2]
    assert "# csv.txt: the text of the field, saved as a file" in line
    assert len(str(alices.session["exchanges"])) < 5_000


def test_refusal_is_told_as_well(alices):
    page = submit(alices, "report", rows="0", days="3").content.decode()
    section = page.split('data-card="report"')[1].split("</section>")[0]
    assert shown(section)[1].startswith("400 Bad Request\n")


def test_only_the_latest_exchange_is_open(alices):
    submit(alices, "report", rows="100", days="3")
    submit(alices, "order", **{"lines[0]sku": "TEA-ASSAM", "lines[0]quantity": "2", "code": ""})
    assert "data-happened open>" in card_of(alices, "order")
    assert "data-happened>" in card_of(alices, "report")


def test_unknown_card_does_not_exist(alices):
    token = card_of(alices, "report")
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)', token))
    assert alices.post("/send/other/", hidden).status_code == 404


def test_visitor_is_asked_to_log_in(browser):
    response = submit(browser, "report", rows="1", days="1")
    assert (response.status_code, response["Location"]) == (302, "/api-auth/login/?next=/")
    assert not Job.objects.exists()


# --- coming back ------------------------------------------------------------------------------------------


def test_card_finds_its_job_again(alices):
    submit(alices, "report", rows="100", days="3")
    (job,) = accepted_jobs()
    assert f'url="/api/jobs/{job.pk}/"' in card_of(alices, "report")
    assert "<async-job" not in card_of(alices, "bulk")


def test_ended_job_shows_what_came_out(alices):
    submit(alices, "bulk", csv="reference,sku,quantity\nA-1,TEA-ASSAM,2\nA-2,LAMP-DESK,900\n")
    (job,) = run_accepted_jobs()
    assert 'data-outcome-of="out_of_stock">out of stock<' in card_of(alices, "bulk")
    page = alices.get(f"/results/{job.pk}/").content.decode()
    assert 'data-outcome-of="out_of_stock">out of stock<' in page
    file = alices.get(f"/results/{job.pk}/not-paid.csv")
    assert file["Content-Type"].startswith("text/csv")
    assert "A-2,LAMP-DESK,900,out_of_stock" in file.content.decode()


def test_order_that_was_not_paid_comes_first_with_its_reason(alices):
    rows = "reference,sku,quantity\n" + "".join(f"A-{number},TEA-ASSAM,2\n" for number in range(9))
    submit(alices, "bulk", csv=rows + "A-L,LAMP-DESK,900\n")
    run_accepted_jobs()
    html = card_of(alices, "bulk")
    outcomes = re.findall(r'data-outcome-of="(\w+)"', html)
    unpaid = [outcome for outcome in outcomes if outcome != "paid"]
    assert unpaid
    assert outcomes == unpaid + ["paid"] * (10 - len(unpaid))
    assert re.search(r'data-outcome-of="out_of_stock">out of stock</span> <span class="reason">Too few', html)


def test_numbers_are_grouped_and_english_for_everybody(alices):
    submit(alices, "bulk", csv="reference,sku,quantity\nA-1,TEA-ASSAM,900\nA-2,LAMP-DESK,1\n")
    run_accepted_jobs()
    page = alices.get("/", headers={"accept-language": "de"}).content.decode()
    assert re.search(r"paid in all</dt><dd>5,\d{3}\.\d\d<", page)
    assert "Rye bread, 3.40<" in page
    assert '<html lang="en"' in page
    assert 'lang="de" dir="ltr" data-state="succeeded"' in page, "The panel speaks to its reader"


@pytest.mark.usefixtures("framed")
def test_status_page_says_in_which_language_it_is(alices):
    submit(alices, "report", rows="100", days="3")
    (job,) = accepted_jobs()
    headers = {"accept": "text/html", "accept-language": "ar"}
    page = alices.get(f"/api/jobs/{job.pk}/", headers=headers).content.decode()
    assert '<html lang="ar" dir="rtl">' in page
    assert '<header class="bar" lang="en" dir="ltr">' in page


def test_report_shows_what_came_out(alices):
    submit(alices, "report", rows="100", days="3")
    run_accepted_jobs()
    assert "Sales per day" in card_of(alices, "report")


def test_another_customers_job_is_shown_nowhere(alices):
    submit(alices, "bulk", csv="reference,sku,quantity\nA-1,LAMP-DESK,900\n")
    (job,) = run_accepted_jobs()
    other = Client()
    other.force_login(User.objects.get(username="bob"))
    assert "<async-job" not in other.get("/").content.decode()
    for path in (f"/results/{job.pk}/", f"/results/{job.pk}/not-paid.csv"):
        assert other.get(path).status_code == 404


def test_report_has_no_list_of_unpaid_orders(alices):
    submit(alices, "report", rows="100", days="3")
    (job,) = run_accepted_jobs()
    assert alices.get(f"/results/{job.pk}/not-paid.csv").status_code == 404

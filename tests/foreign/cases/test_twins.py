"""The answer of the accepting view is the answer of the plain one, byte for byte, and so is what it did."""

import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.foreign.company.models import Customer, Grant, Order
from tests.foreign.company.works import answers, asks, refusals, writes

from .twins import Case, accepting, plain

GERMAN, FRENCH = {"Accept-Language": "de"}, {"Accept-Language": "fr"}
INDIA = {"X-Time-Zone": "Asia/Kolkata"}
ORDERS, BULK = "/v1/customers/1/orders/", "/v1/customers/1/bulk/"
ORDER = {
    "reference": "B-1",
    "placedAt": "2025-11-03T09:30",
    "unitTotal": "12.50",
    "lines": [{"sku": "TEA", "quantity": 2}],
}
FORM = "application/x-www-form-urlencoded"


def upload(name: str, data: bytes, kind: str) -> Callable[[], Any]:
    """Return what makes a file to be sent, each time anew."""

    def make() -> io.BytesIO:
        file = io.BytesIO(data)
        file.name = name
        file.content_type = kind  # type: ignore[attr-defined]
        return file

    return make


def order(number: int, **columns: Any) -> Callable[[], Any]:
    return lambda: Order.objects.filter(pk=number).update(**columns)


VIEW_SETS = [
    Case("create", ORDERS, json=ORDER),
    Case("create in version 2", "/v2/customers/1/orders/", json=ORDER),
    Case("create nested many", ORDERS, json={**ORDER, "lines": [{"sku": f"S-{n}", "quantity": n} for n in range(50)]}),
    Case("create in bulk", ORDERS, json=[{**ORDER, "reference": f"B-{number}"} for number in range(20)]),
    Case("create from a form", ORDERS, body=b"reference=B-1&unit_total=3", content_type=FORM),
    Case("create in a time zone", ORDERS, json=ORDER, headers={"X-Time-Zone": "Asia/Kolkata"}),
    Case("create customer", "/v1/customers/", json={"name": "New"}),
    Case("create invalid", ORDERS, json={"unitTotal": "much"}, refused=True),
    Case("create invalid in German", ORDERS, json={}, headers=GERMAN, refused=True),
    Case("create invalid in bulk", ORDERS, json=[ORDER, {}], refused=True),
    Case("create malformed", ORDERS, body=b"{", refused=True),
    Case("create unknown media type", ORDERS, body=b"x", content_type="text/x-none", refused=True),
    Case("create for nobody's customer", "/v1/customers/999/orders/", json=ORDER),
    Case("create for another tenant's customer", "/v1/customers/2/orders/", json=ORDER),
    Case("create what was created meanwhile", ORDERS, json=ORDER,
         meanwhile=lambda: Order.objects.create(reference="B-1", customer_id=1)),
    Case("create what was created meanwhile in German", "/v1/customers/", json={"name": "New"}, headers=GERMAN,
         meanwhile=lambda: Customer.objects.create(name="New")),
    Case("put", ORDERS + "1/", "PUT", json=ORDER),
    Case("patch", ORDERS + "1/", "PATCH", json={"unitTotal": "3"}),
    Case("patch as one of the team", ORDERS + "1/", "PATCH", json={}, caller="carol by token", refused=True),
    Case("patch as one who was granted it", ORDERS + "1/", "PATCH", json={"unitTotal": "3"}, caller="bob by token"),
    Case("patch of a version", ORDERS + "1/", "PATCH", json={"unitTotal": "3"}, headers={"If-Match": '"1"'}),
    Case("patch of an old version", ORDERS + "2/", "PATCH", json={"unitTotal": "3"}, headers={"If-Match": '"1"'}),
    Case("patch of what has changed meanwhile", ORDERS + "1/", "PATCH", json={"unitTotal": "3"},
         headers={"If-Match": '"1"'}, meanwhile=order(1, version=9)),
    Case("patch invalid", ORDERS + "1/", "PATCH", json={"unitTotal": "much"}, refused=True),
    Case("patch missing", ORDERS + "99/", "PATCH", json={}, refused=True),
    Case("patch what is gone meanwhile", ORDERS + "1/", "PATCH", json={},
         meanwhile=lambda: Order.objects.filter(pk=1).delete()),
    Case("patch once revoked", ORDERS + "1/", "PATCH", json={}, caller="bob by token",
         meanwhile=lambda: Grant.objects.update(permission="view_order")),
    Case("patch once out of sight", ORDERS + "1/", "PATCH", json={}, caller="bob by token",
         meanwhile=lambda: Grant.objects.all().delete()),
    Case("delete", ORDERS + "1/", "DELETE"),
    Case("delete as one of the team", ORDERS + "1/", "DELETE", caller="carol by token", refused=True),
    Case("delete missing", ORDERS + "99/", "DELETE", refused=True),
    Case("patch in bulk", BULK, "PATCH", json={"newState": "held"}, headers={"X-Bulk": "yes"}),
    Case("patch in bulk by mistake", BULK, "PATCH", json={"newState": "held"}, refused=True),
    Case("delete in bulk", BULK + "?state=closed", "DELETE", headers={"X-Bulk": "yes"}),
    Case("patch one's own", "/v1/me/", "PATCH", json={"team": "buying"}),
    Case("import many by the serializer of one", "/v1/import/", json=[{"sku": "A", "quantity": 1}] * 3),
    Case("get", ORDERS + "1/", "GET", refused=True),
    Case("list", ORDERS, "GET", refused=True),
    Case("method not allowed", "/v1/report", "DELETE", refused=True),
]  # fmt: skip

ACTIONS = [
    Case("approve", ORDERS + "1/approve/", json={}),
    Case("approve in conflict", ORDERS + "2/approve/", json={}),
    Case("approve once in conflict", ORDERS + "1/approve/", json={}, meanwhile=order(1, state="closed")),
    Case("approve as one who was granted it", ORDERS + "1/approve/", json={}, caller="bob by token"),
    Case("approve as one of the team", ORDERS + "1/approve/", json={}, caller="carol by token", refused=True),
    Case("close with a redirect", ORDERS + "1/close/", json={}),
    Case("close in conflict", ORDERS + "3/close/", json={}),
    Case("pay from both databases", ORDERS + "1/pay/", json={"paidCents": 1440}),
    Case("pay too little after writing", ORDERS + "1/pay/", json={"paidCents": 1}),
    Case("invoice as a file", ORDERS + "1/invoice/", json={}),
    Case("packing as a stream", ORDERS + "1/packing/", json={}),
    Case("lines deleted", ORDERS + "1/lines/", "DELETE"),
    Case("quote from a function", "/v1/quote/", json={"units": 3}),
    Case("quote from a form", "/v1/quote/", body=b"units=3", content_type=FORM),
    Case("quote refused", "/v1/quote/", json={"units": 300}),
    Case("quote refused as XML", "/v1/quote/", json={"units": 300}, headers={"Accept": "application/xml"}),
    Case("table from a task", "/v1/table/", json={}),
]  # fmt: skip

UPLOADS = [
    Case("upload", ORDERS + "1/documents/",
         form={"title": "Brief", "file": upload("brief.txt", b"Sehr geehrte", "text/plain")}),
    Case("upload bytes", ORDERS + "1/documents/",
         form={"file": upload("ünïcode.bin", bytes(range(256)) * 400, "application/octet-stream")}),
    Case("upload raw", ORDERS + "1/documents/", body=b"raw bytes \x00\xff", content_type="image/png",
         headers={"Content-Disposition": "attachment; filename=photo.png"}),
    Case("upload without a file", ORDERS + "1/documents/", form={"title": "Brief"}, refused=True),
    Case("upload to a missing order", ORDERS + "99/documents/",
         form={"file": upload("brief.txt", b"Sehr geehrte", "text/plain")}),
]  # fmt: skip

CSV, XML = {"Accept": "text/csv"}, {"Accept": "application/xml"}
XLSX = {"Accept": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
ANY, JSON, HTML = {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "text/html"}
INDENTED = {"Accept": "application/json; indent=2"}
NEVER = {"month": "never"}

RENDERERS = [
    Case("report by default", "/v1/report", json={}),
    Case("report as JSON", "/v1/report", json={}, headers=JSON),
    Case("report as CSV", "/v1/report", json={}, headers=CSV),
    Case("report as XML", "/v1/report", json={}, headers=XML),
    Case("report as XLSX", "/v1/report", json={}, headers=XLSX),
    Case("report as CSV by weight", "/v1/report", json={}, headers={"Accept": "text/csv, application/json;q=0.5"}),
    Case("report by format", "/v1/report?format=csv", json={}),
    Case("report by suffix", "/v1/report.xml", json={}),
    Case("report by unknown format", "/v1/report?format=doc", json={}, refused=True),
    Case("report not acceptable", "/v1/report", json={}, headers={"Accept": "image/png"}, refused=True),
    Case("report as CSV read by anybody", "/v1/report", json={}, headers=CSV, reader=ANY),
    Case("report as CSV read as JSON", "/v1/report", json={}, headers=CSV, reader=JSON),
    Case("report as CSV read as HTML", "/v1/report", json={}, headers=CSV, reader=HTML),
    Case("report as JSON read as CSV", "/v1/report", json={}, headers=JSON, reader=CSV),
    Case("report as XLSX read by anybody", "/v1/report", json={}, headers=XLSX, reader=ANY),
    Case("report by format read as JSON", "/v1/report?format=csv", json={}, reader=JSON),
    Case("report without a month", "/v1/report", json=NEVER),
    Case("report without a month as CSV", "/v1/report", json=NEVER, headers=CSV),
    Case("report without a month as XML", "/v1/report", json=NEVER, headers=XML),
    Case("report without a month as XLSX", "/v1/report", json=NEVER, headers=XLSX),
    Case("report without a month as CSV read as JSON", "/v1/report", json=NEVER, headers=CSV, reader=JSON),
    Case("office in its own charset", "/v1/office/", json={}),
    Case("office in its own charset as asked", "/v1/office/", json={}, headers=CSV),
    Case("fixed to CSV", "/v1/fixed/", json={}, headers=JSON),
    Case("fixed to CSV without a month", "/v1/fixed/", json=NEVER, headers=JSON),
    Case("sheet by default", "/v1/sheet/", json={}),
    Case("sheet as asked", "/v1/sheet/", json={}, headers=XLSX),
    Case("sheet without a month", "/v1/sheet/", json=NEVER),
    Case("letter by default", "/v1/letter/", json={"subject": "Grüße"}),
    Case("letter as asked", "/v1/letter/", json={"subject": "Grüße"}, headers={"Accept": "application/pdf"}),
    Case("letter without a subject", "/v1/letter/", json={}),
    Case("camel case without envelope", "/v1/legacy/", json={}),
    Case("camel case error", "/v1/legacy/", json=NEVER),
    Case("bare JSON", "/v1/bare/", json={}),
    Case("bare JSON indented", "/v1/bare/", json={}, headers=INDENTED),
    Case("bare JSON indented read by anybody", "/v1/bare/", json={}, headers=INDENTED, reader=ANY),
    Case("bare JSON error", "/v1/bare/", json=NEVER),
    Case("answer read in another language", "/v1/work/ask_language/", json={}, headers=GERMAN, reader=FRENCH),
    Case("error read in another language", "/v1/work/raise_missing/", json={}, headers=GERMAN, reader=FRENCH),
]  # fmt: skip

TASKS = [
    Case("stock from a task", "/v1/stock", json={}),
    Case("stock from a task in version 2", "/v2/stock", json={}),
    Case("stock from a task as CSV", "/v1/stock", json={}, headers=CSV),
    Case("stock from a task as XML by format", "/v1/stock?format=xml", json={}, reader=JSON),
    Case("stock from a task by suffix", "/v1/stock.csv", json={}),
    Case("stock from a task as XLSX in German", "/v1/stock", json={}, headers=XLSX | GERMAN, reader=FRENCH),
    Case("restock by a task", "/v1/restock", json={}),
    Case("restock by a task as CSV", "/v1/restock", json={}, headers=CSV, reader=ANY),
    Case("restock refused by a task", "/v1/restock", json={"refused": True}),
    Case("restock refused by a task as XML", "/v1/restock", json={"refused": True}, headers=XML, reader=JSON),
    Case("table from a task in German", "/v1/table/", json={}, headers=GERMAN, reader=FRENCH),
]  # fmt: skip

LANGUAGES = [
    Case(
        f"{name.replace('_', ' ')} in German",
        f"/v1/work/{name}/",
        json={},
        headers=GERMAN | INDIA,
        reader=FRENCH,
    )
    for name in (
        "lazy",
        "own_language",
        "django_template",
        "django_text",
        "return_page_error",
        "raise_invalid_fields",
    )
]

ANSWERS = [
    Case(name.replace("_", " "), f"/v1/work/{name}/", json={}) for name in answers.WORKS | refusals.WORKS
]

CALLERS = [
    Case("by token", "/v1/whoami/token/", json={}),
    Case("by scoped token", "/v1/whoami/scoped/", json={}),
    Case(
        "by token of another scope", "/v1/whoami/scoped/", json={}, claims={"scope": "reports"}, refused=True
    ),
    Case("by password", "/v1/whoami/basic/", json={}, caller="alice by password"),
    Case("by key", "/v1/whoami/key/", json={}, caller="alice by key"),
    Case("by session", "/v1/whoami/session/", json={}, caller="alice by session"),
    Case("by key for a permission", "/v1/whoami/gate/", json={}, caller="alice by key"),
    Case("by nobody for a permission", "/v1/whoami/gate/", json={}, caller="nobody", refused=True),
    Case("by anybody", "/v1/whoami/anybody/", json={}, caller="nobody"),
    Case("by anybody with a token", "/v1/whoami/anybody/", json={}),
    Case("by nobody", "/v1/whoami/token/", json={}, caller="nobody", refused=True),
    Case(
        "by password where a token is wanted",
        "/v1/whoami/token/",
        json={},
        caller="alice by password",
        refused=True,
    ),
    Case("by nobody where a key is wanted", "/v1/whoami/key/", json={}, caller="nobody", refused=True),
]

SAID = {
    "X-Tenant": "acme",
    "X-Trace": "t-1",
    "X-Time-Zone": "Europe/Berlin",
    "X-Language": "de",
    "User-Agent": "till/7",
    "Accept": "application/json, */*;q=0.1",
}
#: What must be kept to be told; without that it is missed, see ``test_request.py``.
KEPT = {"claims", "tenant", "tenant_or_public", "current_tenant", "trace", "trace_or_none"}
#: What these are about needs another body, or cannot be kept.
OTHERS = {"numbers", "form", "post", "raw", "session", "cookies", "body"}

ASKED = [
    Case(f"asks {name.replace('_', ' ')}", f"/v1/{'asked' if name in KEPT else 'work'}/ask_{name}/?q=1&q=%C3%BC",
         json={"someNumber": 1.5, "list": [1, None]}, headers=SAID)
    for name in asks.ASKS if name not in OTHERS
] + [
    Case("asks form", "/v1/work/ask_form/", body=b"a=1&a=2&b=%C3%BC", content_type=FORM),
    Case("asks POST of a form", "/v1/work/ask_post/", body=b"a=1&a=2&b=%C3%BC", content_type=FORM),
    Case("asks raw text", "/v1/work/ask_raw/", body=b"0123", content_type="application/x-raw"),
    Case("asks raw bytes", "/v1/work/ask_raw/", body=bytes(range(256)), content_type="application/x-raw"),
    Case("asks numbers", "/v1/work/ask_numbers/", json={"a": 1.5, "b": 10**20, "c": True, "d": None}),
    Case("asks exact numbers", "/v1/exact/ask_numbers/", body=b'{"a": 1.10, "b": 10000000000.000000000001}'),
    Case("asks query string without one", "/v1/work/ask_query_string/", json={}),
    Case("asks data in a form", "/v1/work/ask_data_kind/", body=b"a=1", content_type=FORM),
    Case("asks data in an empty body", "/v1/work/ask_data/"),
    Case("asks data that is null", "/v1/work/ask_data/", body=b"null"),
    Case("asks data that is a list", "/v1/work/ask_data/", json=[1, [2]]),
    Case("creates for a tenant", "/v1/asked/new_customer/", json={"name": "New"}, headers={"X-Tenant": "acme"}),
    Case("creates by a view set for a tenant", "/v1/customers/", json={"name": "New"}, headers={"X-Tenant": "acme"}),
    Case("changes for a tenant", "/v1/customers/2/", "PATCH", json={"name": "New"}, headers={"X-Tenant": "acme"}),
]  # fmt: skip

TRANSACTIONS = [
    Case(f"{prefix}{name.replace('_', ' ')}", f"/v1/{path}/{name}/", json={})
    for prefix, path, names in (
        ("", "work", writes.WORKS.keys() - writes.LOOSE),
        ("loose ", "loose", writes.WORKS.keys() - writes.BOUND),
        # Its callbacks wait for the end of the job, so what they do cannot be in the answer.
        ("untied ", "untied", writes.WORKS.keys() - writes.BOUND - {"write_after_commit"}),
    )
    for name in writes.WORKS
    if name in names
]

CASES = [
    *VIEW_SETS, *ACTIONS, *UPLOADS, *RENDERERS, *TASKS, *LANGUAGES, *ANSWERS, *CALLERS, *ASKED, *TRANSACTIONS,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_twin(case: Case) -> None:
    expected = plain(case)
    assert expected.status < 500, expected

    assert accepting(case).differs(expected) == {}

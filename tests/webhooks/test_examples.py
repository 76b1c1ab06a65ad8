"""The receivers of the documentation take what we send, once, and nothing else."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from django.db import IntegrityError
from django.test import RequestFactory

from async_accept.webhooks import signing
from tests import servers

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
BODY = json.dumps({"type": "job.succeeded", "data": {"word": "ä"}}, ensure_ascii=False)


@pytest.fixture
def secret():
    return signing.new_secret()


def altered(headers):
    """Headers that must be refused."""
    yield {**headers, "webhook-id": "msg_2"}
    yield {**headers, "webhook-timestamp": "1"}
    yield {**headers, "webhook-timestamp": "soon"}
    for signature in ("", "v1,", "v1,!", "nonsense", headers["webhook-signature"].replace("v1,", "v2,")):
        yield {**headers, "webhook-signature": signature}


@pytest.mark.django_db
def test_in_python(secret):
    space = {}
    exec((EXAMPLES / "receive.py").read_text(), space)  # noqa: S102 our own documentation
    remembered = []

    def remember(pk, notice):
        if pk in remembered:
            raise IntegrityError
        remembered.append(pk)

    space.update(SECRETS=[signing.new_secret(), secret], remember=remember)

    def post(headers):
        request = RequestFactory().post("/", BODY, content_type="application/json", headers=headers)
        return space["hook"](request).status_code

    headers = signing.headers("msg_1", BODY, [secret])
    assert [post(headers), post(headers)] == [204, 204]
    assert remembered == ["msg_1"]
    assert {post(wrong) for wrong in altered(headers)} == {401}


@pytest.mark.programs
def test_in_node(secret, tmp_path):
    if shutil.which("node") is None:
        servers.do_without("needs Node")
    headers = signing.headers("msg_1", BODY, [signing.new_secret(), secret])
    cases = [headers, *altered(headers), {}]
    (tmp_path / "receive.mjs").write_text((EXAMPLES / "receive.js").read_text())
    (tmp_path / "run.mjs").write_text(
        'import { verified } from "./receive.mjs";\n'
        "const [body, secret, cases] = JSON.parse(process.argv[2]);\n"
        "console.log(JSON.stringify(cases.map((each) => verified(Buffer.from(body), each, [secret]))));\n"
    )
    done = subprocess.run(
        ["node", "run.mjs", json.dumps([BODY, secret, cases])], cwd=tmp_path, capture_output=True, check=True
    )
    first, *others = json.loads(done.stdout)
    assert first == json.loads(BODY)
    assert set(map(str, others)) == {"None"}

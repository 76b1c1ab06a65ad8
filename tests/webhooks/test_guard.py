"""Contract 21: where a notice may go, at registration and at delivery."""

import re
import time
from ipaddress import ip_address

import pytest

from async_accept.webhooks import guard
from async_accept.webhooks.guard import Blocked, Unresolved, check_url, is_public, parse, resolve

#: Not public, in every spelling that a look-up may give: loopback, private, link-local with the services of clouds,
#: shared, multicast, reserved, documentation; and the same inside of IPv6.
CLOSED = re.split(
    r"\s+",
    """0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1
    172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1
    203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
    :: ::1 ::127.0.0.1 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:7f00:1 ::ffff:0:808:808
    64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::a00:1 64:ff9b:1::808:808 100::1 1::1
    2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808::
    2600::5efe:7f00:1 2600::200:5efe:a00:1 2620:4f:8000::1 3ffe::1 3fff::1 4000::1 5f00::1 8000::1
    fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%eth0 2600::1%1 fec0::1 ff02::1 ff0e::1
""".strip(),
)
OPEN = re.split(
    r"\s+",
    """8.8.8.8 1.1.1.1 93.184.215.14 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 168.63.129.17
    2606:4700:4700::1111 2a00:1450:4001:81b::200e 2001:4860:4860::8888 2600::1 2600::5efe:808:808
    64:ff9b::808:808
""".strip(),
)


def test_public_and_other_addresses():
    assert [text for text in CLOSED if is_public(ip_address(text))] == []
    assert [text for text in OPEN if not is_public(ip_address(text))] == []


def refused(url) -> bool:
    try:
        check_url(url)
    except Blocked:
        return True
    return False


HOSTILE = [
    "", "x", "hooks.example", "//hooks.example/", "ftp://hooks.example/", "file:///etc/passwd", "gopher://hooks.example/",
    "javascript:alert(1)", "http://hooks.example/", "https://", "https:///x", "https://:443/", "https:hooks.example",
    "https://user:pass@hooks.example/", "https://user@hooks.example/", "https://@hooks.example/",
    "https://hooks.example\\@127.0.0.1/", "https://127.0.0.1\\.hooks.example/", "https://127.0.0.1#@hooks.example/",
    "https://hooks.example/#x", "https://hooks.example#", "https://hooks.example/ x", "https://hooks.example/\n",
    "https://hooks.example/\tx", "https://ho\toks.example/", "https://hooks.example/\x00", " https://hooks.example/",
    "https://hooks.example/" + "x" * 2000, "https://hooks.example:22/", "https://hooks.example:0/",
    "https://hooks.example:6379/", "https://hooks.example:99999/", "https://hooks.example:x/", "https://hooks.example:-1/",
    "https://localhost/", "https://localhost./", "https://intranet/", "https://hooks.example./", "https://.example/",
    "https://hooks..example/", "https://-/", "https://hooks.example%2ecom/", "https://ⓛocalhost/", "https://münchen.example/",
    "https://①②⑦.0.0.1/", "https://127。0。0。1/",
    "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/",
    "https://0177.0.0.1/", "https://017700000001/", "https://127.0.0.01/", "https://127.0.0.0x1/", "https://0/", "https://0x/",
    "https://127.0.0.1./", "https://1.2.3.4.5/", "https://hooks.1/", "https://hooks.0x7f/",
    *(f"https://[{text}]/" if ":" in text else f"https://{text}/" for text in CLOSED),
    "https://[::1/", "https://::1/", "https://[127.0.0.1]/", "https://[v1.x]/", "https://[fe80::1%25eth0]/",
]  # fmt: skip


def test_hostile_urls_are_refused(resolver):
    others = [None, 7, b"https://hooks.example/", ["https://hooks.example/"]]
    assert [url for url in [*HOSTILE, *others] if not refused(url)] == []


@pytest.mark.parametrize(
    "url",
    ["https://hooks.example/", "https://hooks.example:8443/x?a=b", "https://8.8.8.8/", "HTTPS://HOOKS.EXAMPLE/",
     "https://[2606:4700:4700::1111]/", "https://xn--mnchen-3ya.example/", "https://a_b.example"],
)  # fmt: skip
def test_an_honest_url_is_taken(url, resolver):
    resolver["xn--mnchen-3ya.example"] = resolver["a_b.example"] = ["93.184.215.14"]
    assert check_url(url).url == url


def test_registration_does_not_tell_which_names_a_network_knows(resolver):
    resolver["db.internal.example"] = ["10.0.0.5"]
    said = set()
    for host in ("db.internal.example", "unknown.example", "10.0.0.5"):
        with pytest.raises(Blocked) as caught:
            check_url(f"https://{host}/")
        said.add(str(caught.value))
    assert len(said) == 1


def test_http_and_ports_are_the_settings(settings, resolver):
    settings.ASYNC_ACCEPT = {"WEBHOOK_ALLOW_HTTP": True, "WEBHOOK_PORTS": (9000,)}
    assert parse("http://hooks.example:9000/").port == 9000
    with pytest.raises(Blocked):
        parse("http://hooks.example/")


def test_one_closed_address_is_enough(resolver):
    """A name with a public address and another one: whichever the connection would take."""
    for text in CLOSED:
        for addresses in ([text, "8.8.8.8"], ["8.8.8.8", text]):
            resolver["two.example"] = addresses
            assert refused("https://two.example/"), addresses


def test_loopback_by_setting_is_loopback_only(settings, resolver):
    settings.ASYNC_ACCEPT = {"WEBHOOK_ALLOW_LOOPBACK": True}
    assert parse("https://127.0.0.1/").host == "127.0.0.1"
    assert resolve(parse("https://localhost/")) == [ip_address("127.0.0.1")]
    for url in ("https://10.0.0.1/", "https://[::ffff:127.0.0.1]/", "https://0.0.0.0/", "https://intranet/"):
        with pytest.raises(Blocked):
            parse(url)


def test_a_look_up_has_a_bound(monkeypatch):
    monkeypatch.setattr(guard, "LOOKUP_SECONDS", 0.01)
    monkeypatch.setattr(guard, "lookup", lambda host, port: time.sleep(0.1) or [])
    with pytest.raises(Unresolved):
        resolve(parse("https://hooks.example/"))

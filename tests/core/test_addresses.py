"""What an address is to the hub, and which urls can be read in one way only."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

import pytest

from hub.core.addresses import URL_CAP, Reach, Target, ascii_host, fit_url, is_loopback, judge

PUBLIC: Final = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255
    169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
    223.255.255.255 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 2001:200::1 3fff:1000::1
    ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 2001:0:4136:e378:8000:63bf:f7f7:f7f7
    2606:4700::5efe:808:808 2606:4700::200:5efe:808:808
"""
LOCAL: Final = """
    127.0.0.1 127.255.255.255 10.0.0.0 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1
    100.127.255.255 100.100.100.199 ::1 fc00::1 fdff:ffff::1 fd00:ec1::254 ::ffff:127.0.0.1 ::ffff:10.1.2.3
    64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1
    2001:0:808:808::f5ff:fffe 2001:0:a00:1::f7f7:f7f7 2606:4700::5efe:a00:1 fd12::5efe:808:808
"""
NEVER: Final = """
    0.0.0.0 0.0.0.1 0.255.255.255 169.254.169.254 169.254.170.2 169.254.0.1 100.100.100.200 168.63.129.16
    192.0.0.192 192.0.0.1 192.0.2.1 198.51.100.7 203.0.113.9 192.88.99.1 198.18.0.1 198.19.255.255 224.0.0.1
    239.255.255.255 240.0.0.1 255.255.255.255 :: ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:0:8.8.8.8 ::ffff:0:127.0.0.1
    ::ffff:169.254.169.254 ::ffff:0.0.0.0 64:ff9b::169.254.169.254 64:ff9b:1::169.254.169.254
    64:ff9b:1:a9fe:a9:fe00:: 64:ff9b:1:a9:fe:a9fe:: 64:ff9b:1::a9:fea9:fe00:0 64:ff9b:1::808:808
    2002:a9fe:a9fe::1 2002:6464:64c8::1 2001:0:a9fe:a9fe::1 2001:0:808:808::5601:5601
    2606:4700::5efe:a9fe:a9fe 2606:4700::200:5efe:a9fe:a9fe fd12::5efe:a9fe:a9fe
    fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42 fd00:a9fe:a9fe::1 fd00:100::100:200
    fe80::1 fe80::a9fe:a9fe fe80::1%eth0 fd00::1%eth0 2606:4700::1111%1 febf::1 fec0::1 ff02::1 ff0e::1
    100::1 2001:1::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 3fff::1 5f00::1 4000::1 e000::1
"""
JUDGED: Final[list[tuple[Reach, str]]] = [
    *(("public", text) for text in PUBLIC.split()),
    *(("local", text) for text in LOCAL.split()),
    *(("never", text) for text in NEVER.split()),
]


@pytest.mark.parametrize(("reach", "text"), JUDGED)
def test_an_address_is_public_local_or_never_asked(reach: Reach, text: str) -> None:
    assert judge(ip_address(text)) == reach


@pytest.mark.parametrize("text", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_known_in_every_form(text: str) -> None:
    assert is_loopback(ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.1", "::", "0.0.0.0", "64:ff9b::127.0.0.1", "::ffff:10.0.0.1"])
def test_nothing_else_is_this_machine(text: str) -> None:
    assert not is_loopback(ip_address(text))


FIT: list[tuple[str, Target]] = [
    ("https://a.example/c", Target("https", "a.example", 443, "/c")),
    ("HTTPS://A.Example", Target("https", "a.example", 443, "/")),
    ("https://a.example?x=/../y", Target("https", "a.example", 443, "/?x=/../y")),
    ("https://a.example:8443/p;q/%C3%BC?a=b&c=%20", Target("https", "a.example", 8443, "/p;q/%C3%BC?a=b&c=%20")),
    ("https://a.example:65535//x/...", Target("https", "a.example", 65535, "//x/...")),
    ("https://localhost/", Target("https", "localhost", 443, "/")),
    ("https://my_host-1/", Target("https", "my_host-1", 443, "/")),
    ("https://8.8.8.8/", Target("https", "8.8.8.8", 443, "/")),
    ("https://1.2.3.4.example/", Target("https", "1.2.3.4.example", 443, "/")),
    ("https://0x7f.example/", Target("https", "0x7f.example", 443, "/")),
    ("https://[2606:4700:0::1111]:99/", Target("https", "2606:4700::1111", 99, "/")),
    ("https://[::FFFF:7f00:1]/", Target("https", "::ffff:7f00:1", 443, "/")),
    ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
    ("https://BÜCHER.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
    ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
]


@pytest.mark.parametrize(("url", "target"), FIT)
def test_a_url_is_read_in_its_one_way(url: str, target: Target) -> None:
    assert fit_url(url) == target
    assert fit_url(url, plain_loopback=True) == target


UNFIT: list[tuple[str, str]] = [
    ("", "https://"),
    ("a.example", "https://"),
    ("//a.example/", "https://"),
    ("https:/a.example/", "https://"),
    ("https:a.example", "https://"),
    ("http://a.example/", "https://"),
    ("http://127.0.0.1/", "https://"),
    ("ftp://a.example/", "https://"),
    ("file:///etc/passwd", "https://"),
    ("gopher://127.0.0.1:6379/_x", "https://"),
    ("data:text/plain,x", "https://"),
    ("javascript:alert(1)", "https://"),
    ("https://", "names no host"),
    ("https:///path", "names no host"),
    ("https://:443/", "names no host"),
    ("https://?x", "names no host"),
    ("https://user@a.example/", "user name"),
    ("https://user:pw@a.example/", "user name"),
    ("https://@a.example/", "user name"),
    ("https://a.example@127.0.0.1/", "user name"),
    ("https://a.example%40127.0.0.1/", "oddly written"),
    ("https://a.example:443@127.0.0.1/", "user name"),
    ("https://127.0.0.1#@a.example/", "fragment"),
    ("https://a.example/#x", "fragment"),
    ("https://a.example#", "fragment"),
    ("https://a.example\\@127.0.0.1/", "backslash"),
    ("https:\\\\a.example/", "backslash"),
    ("https://a.example/\\..\\x", "backslash"),
    ("https://a.example/ x", "blanks"),
    (" https://a.example/", "blanks"),
    ("https://a.example/\n", "blanks"),
    ("https://a.exa\tmple/", "blanks"),
    ("https://a.example/\r\nhost: b", "blanks"),
    ("https://a.example/\x00", "blanks"),
    ("https://a.example/\x7f", "blanks"),
    ("https://a.example/\x85", "blanks"),
    ("https://a.example/\u2028", "blanks"),
    ("https://a.exa\u200bmple/", "blanks"),
    ("https://a.exa\u00admple/", "blanks"),
    ("https://a.exam\u202eple/", "blanks"),
    ("https://a.example/\ufeff", "blanks"),
    ("https://a.example/ü", "percent-encoded"),
    ("https://a.example/?q=ü", "percent-encoded"),
    ("https://a.example/<x>", "percent-encoded"),
    ("https://a.example/%", "percent-encoded"),
    ("https://a.example/%zz", "percent-encoded"),
    ("https://a.example/?%2", "percent-encoded"),
    ("https://a.example/a/../b", "dot segments"),
    ("https://a.example/..", "dot segments"),
    ("https://a.example/./b", "dot segments"),
    ("https://a.example/a/%2e%2E/b", "dot segments"),
    ("https://a.example/a/.%2e/b", "dot segments"),
    ("https://a.example/%2e", "dot segments"),
    ("https://a.example:/", "port"),
    ("https://a.example:0/", "port"),
    ("https://a.example:00443/", "port"),
    ("https://a.example:65536/", "port"),
    ("https://a.example:99999999999/", "port"),
    ("https://a.example:-1/", "port"),
    ("https://a.example:+1/", "port"),
    ("https://a.example:４４３/", "port"),
    ("https://a.example:443x/", "port"),
    ("https://a.example:1:2/", "no host name"),
    ("https://a.example./", "ends with a dot"),
    ("https://localhost./", "ends with a dot"),
    ("https://127.0.0.1./", "ends with a dot"),
    ("https://./", "ends with a dot"),
    ("https://a..example/", "no host name"),
    ("https://.example/", "no host name"),
    ("https://-a.example/", "no host name"),
    ("https://a-.example/", "no host name"),
    ("https://a%2eexample/", "no host name"),
    ("https://a*b.example/", "no host name"),
    (f"https://{'a' * 64}.example/", "no host name"),
    (f"https://{'a.' * 127}example/", "no host name"),
    (f"https://a.example/{'a' * URL_CAP}", "longer than"),
    ("https://2130706433/", "oddly written"),
    ("https://017700000001/", "oddly written"),
    ("https://0x7f000001/", "oddly written"),
    ("https://0X7F.0.0.1/", "oddly written"),
    ("https://0x7f.1/", "oddly written"),
    ("https://127.0.0.0x1/", "oddly written"),
    ("https://127.1/", "oddly written"),
    ("https://127.0.1/", "oddly written"),
    ("https://0177.0.0.1/", "oddly written"),
    ("https://127.0.0.01/", "oddly written"),
    ("https://127.0.0.1.1/", "oddly written"),
    ("https://256.0.0.1/", "oddly written"),
    ("https://0/", "oddly written"),
    ("https://0x/", "oddly written"),
    ("https://a.example.0x/", "oddly written"),
    ("https://a.1/", "oddly written"),
    ("https://１２７.０.０.１/", "several ways"),
    ("https://127。0。0。1/", "no letters"),
    ("https://①②⑦.0.0.1/", "no letters"),
    ("https://ⓛocalhost/", "no letters"),
    ("https://a．example/", "no letters"),
    ("https://a。example/", "no letters"),
    ("https://a｡example/", "no letters"),
    ("https://ａ.example/", "several ways"),
    ("https://straße.example/", "several ways"),
    ("https://a.example\u2044evil.example/", "no letters"),
    ("https://a\u2215b.example/", "no letters"),
    ("https://☃.example/", "no letters"),
    ("https://℀.example/", "no letters"),
    ("https://a＠b.example/", "no letters"),
    ("https://a：8.example/", "no letters"),
    (f"https://{'ü' * 64}.example/", "no host name"),
    ("https://[::1/", "no host name"),
    ("https://::1/", "no host name"),
    ("https://[::1]x/", "no host name"),
    ("https://x[::1]/", "no host name"),
    ("https://[]/", "no IPv6"),
    ("https://[127.0.0.1]/", "no IPv6"),
    ("https://[a.example]/", "no IPv6"),
    ("https://[::1::]/", "no IPv6"),
    ("https://[::127.1]/", "no IPv6"),
    ("https://[fe80::1%25eth0]/", "one link|no IPv6"),
    ("https://[fe80::1%eth0]/", "one link"),
    ("https://[v1.x]/", "no IPv6"),
]


@pytest.mark.parametrize(("url", "words"), UNFIT)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        fit_url(url)
    assert not url or url not in str(caught.value)


@pytest.mark.parametrize("url", [url for url, _ in UNFIT if not url.startswith("http:")])
def test_allowing_plain_http_to_this_machine_allows_nothing_else(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(the|a) "):
        fit_url(url, plain_loopback=True)


def test_the_reason_never_repeats_the_url() -> None:
    for url in ("https://u:hush@a.example/", "https://a.example/hush hush", "https://hush..example/", "hush:x"):
        with pytest.raises(ValueError) as caught:
            fit_url(url)
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost/", "http://LOCALHOST:8080/x", "http://127.0.0.1:1/", "http://127.8.8.8/", "http://[::1]/"]
)
def test_plain_http_is_for_this_machine_and_only_where_allowed(url: str) -> None:
    assert fit_url(url, plain_loopback=True).scheme == "http"
    with pytest.raises(ValueError, match="https://"):
        fit_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/",
        "http://localhost.a.example/",
        "http://127.0.0.1.a.example/",
        "http://a.localhost/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://169.254.169.254/",
        "http://[::]/",
        "http://[64:ff9b::7f00:1]/",
    ],
)
def test_plain_http_is_for_nothing_else(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        fit_url(url, plain_loopback=True)


def test_a_target_tells_its_address_and_how_people_write_it() -> None:
    assert fit_url("https://[::1]:8443/").literal == ip_address("::1")
    assert fit_url("https://[::1]:8443/").authority == "[::1]:8443"
    assert fit_url("https://10.0.0.1/").literal == ip_address("10.0.0.1")
    assert fit_url("https://a.example/").literal is None
    assert fit_url("https://a.example:443/").authority == "a.example"
    assert fit_url("http://localhost:80/", plain_loopback=True).authority == "localhost"
    assert fit_url("http://localhost:443/", plain_loopback=True).authority == "localhost:443"


def test_a_host_has_one_spelling() -> None:
    assert ascii_host("IdP.Example") == "idp.example"
    assert ascii_host("[::0001]") == "::1"
    assert ascii_host("BÜCHER.example") == "xn--bcher-kva.example"
    with pytest.raises(ValueError, match="names no host"):
        ascii_host("")

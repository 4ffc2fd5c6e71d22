"""Where callbacks may go: what is refused when a request comes, and what when a connection is made."""

from __future__ import annotations

import socket

import pytest

from denzel.callback_addresses import CallbackPolicy, CallbackUriError, PolicyError

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "2a00:1450:4001:81b::200e"]

NOT_PUBLIC = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.5", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1"],
    "link-local": ["169.254.1.1", "fe80::1"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.7", "240.0.0.1", "255.255.255.255",
                 "192.88.99.1", "2001:db8::1", "3fff::1", "::2", "4000::1", "100::1"],
    "cloud metadata": ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254",
                       "fd20:ce::254"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.5", "::ffff:a9fe:a9fe"],
    "IPv4-compatible": ["::127.0.0.1", "::10.0.0.5"],
    "6to4": ["2002:7f00:1::", "2002:a00:5::1", "2002:a9fe:a9fe::"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::a00:5", "64:ff9b::169.254.169.254", "64:ff9b:1::10.0.0.5"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
}  # fmt: skip

# Ways to write 127.0.0.1 that a resolver takes for it.
ODD_SPELLINGS = ["127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
                 "0x7f.1", "127.0.0.01", "00127.0.0.1", "0"]  # fmt: skip


def in_uri(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    policy = CallbackPolicy()
    policy.check_uri(in_uri(address))
    assert policy.permits("example.com", address, 443)


@pytest.mark.parametrize("address", [address for group in NOT_PUBLIC.values() for address in group])
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    policy = CallbackPolicy()
    assert not policy.permits("example.com", address, 443)
    with pytest.raises(CallbackUriError, match=r"add \".+\" to CALLBACK_ALLOW in \.env"):
        policy.check_uri(in_uri(address))


@pytest.mark.parametrize("address", ["64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "2002:808:808::1"])
def test_ipv6_forms_of_public_ipv4_addresses_are_allowed(address: str) -> None:
    assert CallbackPolicy().permits("example.com", address, 443)


@pytest.mark.parametrize("host", ODD_SPELLINGS)
def test_odd_spellings_of_addresses_are_refused_whatever_is_allowed(host: str) -> None:
    assert socket.inet_aton(host), "the resolver takes it"
    for policy in (CallbackPolicy(), CallbackPolicy("0.0.0.0/0")):
        for form in (host, host.upper(), host + "."):
            with pytest.raises(CallbackUriError, match="four decimal numbers"):
                policy.check_uri(f"http://{form}/")


@pytest.mark.parametrize(
    "host",
    ["①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1.", "localhost", "LOCALHOST.", "api.localhost", "[::1]",
     "[0:0:0:0:0:0:0:1]"],
)  # fmt: skip
def test_disguises_of_the_own_machine_are_refused(host: str) -> None:
    with pytest.raises(CallbackUriError):
        CallbackPolicy().check_uri(f"http://{host}/")


def test_an_address_is_judged_with_its_zone_cut_off() -> None:
    assert not CallbackPolicy().permits("printer", "fe80::1%eth0", 80)
    assert CallbackPolicy("fe80::/10").permits("printer", "fe80::1%eth0", 80)


@pytest.mark.parametrize(
    "uri",
    ["https://example.com", "HTTPS://EXAMPLE.com/a/b?c=d#e", "http://example.com:8080/", "https://example.com:/x",
     "https://xn--bcher-kva.example/", "https://bücher.example/пинг?ключ=1", "http://web_1/", "http://a.b.c.example./x",
     "https://example.com/%2F..%00?next=http://127.0.0.1/"],
)  # fmt: skip
def test_ordinary_uris_are_taken(uri: str) -> None:
    CallbackPolicy().check_uri(uri)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (None, "must be text"),
        (["http://example.com"], "must be text"),
        ("", "must start with http:// or https://"),
        ("example.com/inbox", "must start with http:// or https://"),
        ("//example.com/", "must start with http:// or https://"),
        ("ftp://example.com/", "must start with http:// or https://"),
        ("file:///etc/passwd", "must start with http:// or https://"),
        ("gopher://example.com/", "must start with http:// or https://"),
        ("http://", "no valid host"),
        ("http:///inbox", "no valid host"),
        ("http:example.com", "no valid host"),
        ("http://:80/", "no valid host"),
        ("http://exa%6Dple.com/", "no valid host"),
        ("http://-example.com/", "no valid host"),
        ("http://a..b/", "no valid host"),
        ("http://[v1.fe]/", "not a valid URI|no valid host"),
        ("http://[fe80::1%25eth0]/", "not a valid URI|no valid host"),
        ("http://[::1", "not a valid URI"),
        ("http://" + "a" * 64 + ".example/", "no valid host"),
        ("http://example.com:0/", "no valid host and port"),
        ("http://example.com:65536/", "not a valid URI"),
        ("http://example.com:http/", "not a valid URI"),
        ("http://user:secret@example.com/", "user name or a password"),
        ("http://example.com@127.0.0.1/", "user name or a password"),
        ("http://exa mple.com/", "spaces, control characters"),
        ("http://example.com/\r\nX-Injected: 1", "spaces, control characters"),
        ("http://example.com/a\tb", "spaces, control characters"),
        ("http://example.com/a\u00a0b", "spaces, control characters"),
        ("http://example.com\\@127.0.0.1/", "backslashes"),
        ("http://example.com/\ud800", "not a valid URI"),
        ("http://example.com／path", "not a valid URI"),
        ("http://example.com/" + "a" * 2048, "longer than 2048"),
    ],
)  # fmt: skip
def test_unusable_uris_are_refused_with_the_reason(uri: object, message: str) -> None:
    with pytest.raises(CallbackUriError, match=message) as caught:
        CallbackPolicy("0.0.0.0/0,::/0", "").check_uri(uri)
    assert "callback_uri" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_ports_are_limited_and_the_message_says_how_to_allow_one() -> None:
    policy = CallbackPolicy()
    for port in (80, 443, 8080, 8443):
        policy.check_uri(f"http://example.com:{port}/")
        assert policy.permits("example.com", "8.8.8.8", port)
    assert not policy.permits("example.com", "8.8.8.8", 6379)
    with pytest.raises(CallbackUriError) as caught:
        policy.check_uri("http://example.com:6379/")
    assert str(caught.value) == (
        "callback_uri: port 6379 is not allowed (only 80, 443, 8080, 8443); "
        'to allow it, add 6379 to CALLBACK_PORTS or "example.com:6379" to CALLBACK_ALLOW in .env'
    )
    with pytest.raises(CallbackUriError, match=r"\"\[2606:4700::1111\]:6379\""):
        policy.check_uri("http://[2606:4700::1111]:6379/")


def test_no_ports_means_any_port() -> None:
    policy = CallbackPolicy(ports=" ")
    policy.check_uri("http://example.com:6379/")
    assert policy.permits("example.com", "8.8.8.8", 6379)
    assert not policy.permits("example.com", "10.0.0.5", 6379)


def test_the_message_of_a_refused_address_says_how_to_allow_it() -> None:
    with pytest.raises(CallbackUriError) as caught:
        CallbackPolicy().check_uri("http://10.0.0.5/inbox")
    assert str(caught.value) == (
        'callback_uri: "10.0.0.5" is not a public address (private); '
        'to allow it, add "10.0.0.5" to CALLBACK_ALLOW in .env'
    )
    with pytest.raises(CallbackUriError, match="in a container this is the container, and your machine is host"):
        CallbackPolicy().check_uri("http://localhost:9000/")
    assert CallbackPolicy().refusal("receiver", "172.18.0.5", 80) == (
        '"receiver" leads to 172.18.0.5, which is not a public address (private); '
        'to allow it, add "receiver" to CALLBACK_ALLOW in .env'
    )


@pytest.mark.parametrize(
    ("entry", "allowed", "refused"),
    [
        ("10.0.0.5", [("x", "10.0.0.5", 9000), ("x", "::ffff:10.0.0.5", 80)], [("x", "10.0.0.6", 80)]),
        ("10.0.0.0/8", [("x", "10.255.0.1", 22)], [("x", "11.0.0.1", 22), ("x", "192.168.0.1", 80)]),
        ("10.0.0.0/8:9000", [("x", "10.1.2.3", 9000)], [("x", "10.1.2.3", 80), ("x", "8.8.8.8", 9000)]),
        ("10.0.0.5:9000", [("x", "10.0.0.5", 9000)], [("x", "10.0.0.5", 9001)]),
        ("fd00::1", [("x", "fd00::1", 9000)], [("x", "fd00::2", 80)]),
        ("[fd00::1]", [("x", "fd00::1", 9000)], [("x", "fd00::2", 80)]),
        ("[fd00::1]:9000", [("x", "fd00::1", 9000)], [("x", "fd00::1", 80)]),
        ("fd00::/8", [("x", "fdff::1", 9000)], [("x", "fe80::1", 80)]),
        ("[fd00::/8]:9000", [("x", "fdff::1", 9000)], [("x", "fdff::1", 80)]),
        ("::ffff:10.0.0.0/104", [("x", "10.1.2.3", 80)], [("x", "11.1.2.3", 22)]),
        ("Receiver", [("receiver", "10.0.0.5", 22), ("RECEIVER.", "127.0.0.1", 80)], [("x", "10.0.0.5", 80)]),
        ("receiver:9000", [("receiver", "10.0.0.5", 9000)], [("receiver", "10.0.0.5", 80)]),
        ("bücher.example", [("xn--bcher-kva.example", "10.0.0.5", 80)], [("bucher.example", "10.0.0.5", 80)]),
        ("localhost:9000", [("localhost", "127.0.0.1", 9000), ("localhost", "::1", 9000)],
         [("localhost", "127.0.0.1", 80), ("127.0.0.1", "127.0.0.1", 9000), ("sub.localhost", "127.0.0.1", 9000)]),
        (" a , 10.0.0.5:1 ,, b ", [("a", "10.9.9.9", 1), ("b", "10.9.9.9", 1), ("x", "10.0.0.5", 1)],
         [("c", "10.9.9.9", 80)]),
    ],
)  # fmt: skip
def test_entries_allow_what_they_name_and_nothing_else(entry: str, allowed: list, refused: list) -> None:
    policy = CallbackPolicy(entry)
    assert [case for case in allowed if not policy.permits(*case)] == []
    assert [case for case in refused if policy.permits(*case)] == []
    assert policy.permits("example.com", "8.8.8.8", 443), "public addresses stay allowed"


@pytest.mark.parametrize(
    ("entry", "uri"),
    [
        ("10.0.0.5", "http://10.0.0.5:9000/"),
        ("10.0.0.0/8", "http://10.0.0.5/"),
        ("[fd00::1]:9000", "http://[fd00::1]:9000/"),
        ("localhost", "http://localhost:9000/"),
        ("127.0.0.1", "http://localhost:9000/"),
        ("receiver:9000", "http://receiver:9000/"),
        ("receiver", "http://receiver:9000/"),
        # Where the name leads is seen when it is connected to.
        ("10.0.0.0/8", "http://receiver:9000/"),
        ("10.0.0.0/8:9000", "http://receiver:9000/"),
    ],
)
def test_allowed_receivers_pass_at_submit(entry: str, uri: str) -> None:
    CallbackPolicy(entry).check_uri(uri)


def test_a_port_that_no_entry_can_open_is_refused_at_submit() -> None:
    with pytest.raises(CallbackUriError, match="port 9000"):
        CallbackPolicy("10.0.0.0/8:9001").check_uri("http://receiver:9000/")


@pytest.mark.parametrize(
    ("entry", "detail"),
    [
        ("10.0.0.5/8", "has host bits set"),
        ("10.0.0.0/33", "expected a host, address or network"),
        ("10.0.0.256", "expected a host, address or network"),
        ("127.1", "expected a host, address or network"),
        ("0x7f000001", "expected a host, address or network"),
        ("[fd00::1", "expected a host, address or network"),
        ("[fd00::1]9000", "expected a host, address or network"),
        ("[receiver]:80", "expected a host, address or network"),
        ("fd00:::1", "expected a host, address or network"),
        ("fe80::1%eth0/64", "expected a host, address or network"),
        ("bad host", "expected a host, address or network"),
        ("*.example.com", "expected a host, address or network"),
        ("receiver:", "is not a port"),
        ("receiver:0", "is not a port"),
        ("receiver:http", "is not a port"),
        ("receiver:70000", "is not a port"),
        ("http://receiver:9000", "is a URI; write only its host"),
        ("https://receiver/inbox", "is a URI; write only its host"),
    ],
)
def test_unreadable_entries_are_named(entry: str, detail: str) -> None:
    with pytest.raises(PolicyError) as caught:
        CallbackPolicy(f"10.0.0.5, {entry}")
    assert f'"{entry}"' in str(caught.value)
    assert "CALLBACK_ALLOW" in str(caught.value)
    assert detail in str(caught.value)


@pytest.mark.parametrize("ports", ["http", "80;443", "0", "65536", "80,-1", "8080-8090"])
def test_unreadable_ports_are_named(ports: str) -> None:
    with pytest.raises(PolicyError, match=r"CALLBACK_PORTS: .* is not a port"):
        CallbackPolicy(ports=ports)


def test_what_cannot_be_judged_is_refused() -> None:
    assert not CallbackPolicy("0.0.0.0/0,::/0").permits("example.com", "not-an-address", 80)

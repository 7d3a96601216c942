# SPDX-License-Identifier: Apache-2.0
"""Who the client is: what a trusted proxy says, and nobody else."""
import pytest

TRUSTED = "trusted_proxies: [127.0.0.1, 10.0.0.0/8, 2001:db8:ffff::/48]\n"
READ_FORWARDED = "client_header: forwarded\n"
STRANGER = "127.0.0.9"  # a peer that is no proxy of ours


def counted_as(server, *fields, source=None):
    """The client that the server takes the request for, by its access log."""
    seen = len(server.log())
    server.get("/healthz", fields, source)
    return server.wait_for_log(seen + 1)[-1]["client"]


def xff(value):
    return ("X-Forwarded-For", value)


def forwarded(value):
    return ("Forwarded", value)


@pytest.fixture
def proxied(start):
    return start(config=TRUSTED, limit="2/60s")


# What the proxy at 127.0.0.1 says, and the client that is meant.
CASES = [
    (xff("203.0.113.7"), "203.0.113.7"),
    (xff("203.0.113.7:4711"), "203.0.113.7"),
    (xff("2001:db8::7"), "2001:db8::7"),
    (xff("2001:DB8:0:0::7"), "2001:db8::7"),
    (xff("[2001:db8::7]"), "2001:db8::7"),
    (xff("[2001:db8::7]:4711"), "2001:db8::7"),
    (xff("::ffff:203.0.113.7"), "203.0.113.7"),
    (xff("  203.0.113.7  "), "203.0.113.7"),
    # Chains: from the right, past the proxies that are trusted, and no further.
    (xff("198.51.100.1, 203.0.113.7"), "203.0.113.7"),
    (xff("203.0.113.7, 10.1.2.3"), "203.0.113.7"),
    (xff("203.0.113.7,10.1.2.3,10.9.9.9,127.0.0.1"), "203.0.113.7"),
    (xff("198.51.100.1, 203.0.113.7, 10.1.2.3, 2001:db8:ffff::1"), "203.0.113.7"),
    (xff("10.1.1.1, 10.2.2.2"), "10.1.1.1"),
    (xff("203.0.113.7, , ,"), "203.0.113.7"),
    # What can't be read: the hop that vouched for it is the client.
    (xff("unknown"), "127.0.0.1"),
    (xff("203.0.113.7, unknown, 10.1.2.3"), "10.1.2.3"),
    (xff("203.0.113.777"), "127.0.0.1"),
    (xff("203.0.113.7 10.1.2.3"), "127.0.0.1"),
    (xff("0x7f.1"), "127.0.0.1"),
    (xff("' OR 1=1 --"), "127.0.0.1"),
    (xff(""), "127.0.0.1"),
    (forwarded("for=203.0.113.7"), "203.0.113.7"),
    (forwarded("For=203.0.113.7;proto=https;by=10.0.0.1;host=example.org"), "203.0.113.7"),
    (forwarded('for="203.0.113.7:4711"'), "203.0.113.7"),
    (forwarded('for="[2001:db8::7]:4711"'), "2001:db8::7"),
    (forwarded("for=198.51.100.1, for=203.0.113.7, for=10.1.2.3"), "203.0.113.7"),
    (forwarded('for="198.51.100.1, for=203.0.113.7", for=203.0.113.8'), "203.0.113.8"),
    # A client's open quote must not swallow what the proxy appended.
    (forwarded('for="198.51.100.1, for=203.0.113.8'), "203.0.113.8"),
    (forwarded("for=unknown"), "127.0.0.1"),
    (forwarded("for=_hidden, for=10.1.2.3"), "10.1.2.3"),
    (forwarded("proto=https"), "127.0.0.1"),
]


@pytest.fixture(scope="module")
def clients(start_shared):
    """How each case was counted: a pair, from the proxy itself and from a stranger who says the same."""
    servers = {"X-Forwarded-For": start_shared(config=TRUSTED, limit="off"),
               "Forwarded": start_shared(config=TRUSTED + READ_FORWARDED, limit="off")}
    found = {}
    for i, (field, _) in enumerate(CASES):
        servers[field[0]].get(f"/healthz?{i}", [field])
        servers[field[0]].get(f"/healthz?{i}", [field], STRANGER)
    for name, server in servers.items():
        for line in server.wait_for_log(2 * sum(field[0] == name for field, _ in CASES)):
            found.setdefault(int(line["path"].partition("?")[2]), []).append(line["client"])
    return found


@pytest.mark.parametrize("i", range(len(CASES)), ids=[f"{name}: {value}" for (name, value), _ in CASES])
def test_a_trusted_proxy_names_the_client_and_nobody_else(clients, i):
    assert sorted(clients[i]) == sorted([CASES[i][1], STRANGER])


def test_several_fields_are_one_list(start):
    server = start(config=TRUSTED)
    assert counted_as(server, xff("198.51.100.1"), xff("203.0.113.7"), xff("10.1.2.3")) == "203.0.113.7"
    server = start(config=TRUSTED + READ_FORWARDED)
    assert counted_as(server, forwarded("for=198.51.100.1"), ("X-Other", "x"), forwarded("for=203.0.113.7")) == "203.0.113.7"


def test_only_the_configured_field_is_read(start):
    """A proxy that writes one passes the other on as a client made it up."""
    server = start(config=TRUSTED)
    assert counted_as(server, forwarded("for=203.0.113.7")) == "127.0.0.1"
    assert counted_as(server, forwarded("for=203.0.113.7"), xff("198.51.100.1")) == "198.51.100.1"
    server = start(config=TRUSTED + READ_FORWARDED)
    assert counted_as(server, xff("203.0.113.7")) == "127.0.0.1"
    assert counted_as(server, xff("203.0.113.7"), forwarded("for=198.51.100.1")) == "198.51.100.1"


def test_a_long_list_is_read_at_its_right_end(proxied):
    """What a client sent before the proxy appended can't push the proxy's word out."""
    assert counted_as(proxied, xff("198.51.100.1, " * 800 + "203.0.113.7")) == "203.0.113.7"
    assert counted_as(proxied, *[xff("198.51.100.1")] * 20, xff("x" * 3000), xff("203.0.113.7")) == "203.0.113.7"


def test_clients_behind_a_proxy_have_limits_of_their_own(proxied):
    for last in range(1, 6):
        statuses = [proxied.get("/", [xff(f"203.0.113.{last}")]).status for _ in range(3)]
        assert statuses == [200, 200, 429]


def test_a_spoofer_behind_a_proxy_gains_nothing(proxied):
    """A client may write what it likes: the proxy appends the truth."""
    statuses = [proxied.get("/", [xff(f"198.51.100.{i}, 203.0.113.7")]).status for i in range(5)]
    assert statuses == [200, 200, 429, 429, 429]


def test_a_spoofer_without_a_proxy_gains_nothing(proxied):
    statuses = [proxied.get("/", [xff(f"203.0.113.{i}"), forwarded(f"for=203.0.113.{i}")], STRANGER).status
                for i in range(5)]
    assert statuses == [200, 200, 429, 429, 429]
    # ... and whom it named is not charged.
    assert proxied.get("/", [xff("203.0.113.1")]).status == 200


def test_without_trusted_proxies_nobody_is_believed(start):
    server = start(limit="2/60s")
    assert [server.get("/", [xff(f"203.0.113.{i}")]).status for i in range(4)] == [200, 200, 429, 429]


def test_spellings_of_one_address_are_one_client(proxied):
    same = ["203.0.113.7", "203.0.113.7:80", "::ffff:203.0.113.7", "[::ffff:cb00:7107]:99"]
    assert [proxied.get("/", [xff(text)]).status for text in same] == [200, 200, 429, 429]


def test_ipv6_counts_by_network(proxied):
    """A /64 is one client: its owner could take a new address for each request."""
    within = ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff:ffff:ffff:ffff"]
    assert [proxied.get("/", [xff(text)]).status for text in within] == [200, 200, 429]
    assert proxied.get("/", [xff("2001:db8:0:2::1")]).status == 200


def test_the_ipv6_network_can_be_set(start):
    server = start(config=TRUSTED + "limiter:\n  ipv6_prefix: 48\n", limit="2/60s")
    within = ["2001:db8:0:1::1", "2001:db8:0:2::2", "2001:db8:0:ffff::3"]
    assert [server.get("/", [xff(text)]).status for text in within] == [200, 200, 429]
    assert server.get("/", [xff("2001:db8:1::1")]).status == 200
    assert server.get("/", [xff("203.0.113.1")]).status == 200


def test_ipv6_peers(start):
    server = start(listen="[::1]:0", config="trusted_proxies: ['::1/128']\n", limit="2/60s")
    assert counted_as(server) == "::1"
    assert counted_as(server, xff("2001:db8::7")) == "2001:db8::7"


def test_ipv4_peers_of_a_dual_stack_socket_are_ipv4(start):
    server = start(listen="[::]:0", config=TRUSTED, limit="2/60s")
    server.address = ("127.0.0.1", server.address[1])
    assert counted_as(server) == "127.0.0.1"
    assert counted_as(server, xff("203.0.113.7")) == "203.0.113.7"
    assert counted_as(server, xff("203.0.113.7"), source=STRANGER) == STRANGER
    server.address = ("::1", server.address[1])
    assert counted_as(server, xff("203.0.113.7")) == "::1"

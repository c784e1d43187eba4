"""What one client address may take of the public port, in plaintext and TLS, HTTP/1.1 and HTTP/2. Clients bind to addresses of 127.0.0.0/8."""

import errno
import itertools
import re
import select
import socket
import ssl
import uuid

import httpx
import pytest
from test_edge import secure_settings
from test_tenants import CREATE, Tenants
from test_tls import certificates

CONNECTIONS, WRONG_KEYS, BURST = 8, 5, 20
PROXY = "127.0.0.9"
#: Addresses that no other test has.
addresses = (f"127.0.{i // 200 + 1}.{i % 200 + 1}" for i in itertools.count())


class Edge:
    def __init__(self, cluster, tenants, context):
        self.cluster, self.tenants, self.context = cluster, tenants, context
        self.port = int(cluster.url.rsplit(":", 1)[1])
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    def client(self, address, version="1.1"):
        """A client at this address that keeps its connection."""
        versions = {"http1": version == "1.1", "http2": version == "2"}
        transport = httpx.HTTPTransport(verify=self.context or False, local_address=address, limits=httpx.Limits(max_connections=1), **versions)
        return httpx.Client(base_url=self.url, transport=transport, timeout=60)

    def plain(self, address):
        """A connection, or what has been one."""
        plain = socket.socket()
        plain.bind((address, 0))
        plain.setblocking(False)
        assert plain.connect_ex(("127.0.0.1", self.port)) in (0, errno.EINPROGRESS)
        return plain

    def figure(self, reason):
        with self.client(next(addresses)) as client:
            text = client.get("/metrics", headers=self.tenants["ops"]).text
        found = re.search(rf'(?m)^covey_gateway_address_refused_total{{reason="{reason}"}} (\d+)', text)
        return int(found[1]) if found else 0


@pytest.fixture(scope="module", params=["plaintext", "tls"])
def edge(request, make_cluster, tmp_path_factory):
    tenants = Tenants(tmp_path_factory.mktemp("tenants"))
    tenants.add("acme", "main").add("umbra", "main").add("ops", "main", operator=True)
    settings = {
        **tenants.write().settings(), "gateway.address_connections": CONNECTIONS, "gateway.address_requests_per_second": 1, "gateway.address_burst": BURST,
        "gateway.address_wrong_keys": WRONG_KEYS, "gateway.wrong_keys_seconds": 36_000, "gateway.trusted_proxies": [PROXY, "127.200.0.0/16", "2001:db8:ffff::/48"],
    }
    authority = None
    if request.param == "tls":
        folder = certificates(tmp_path_factory.mktemp("certificates"), "--host", "localhost", "--host", "127.0.0.1")
        authority = folder / "authority.pem"
        settings.update(secure_settings(folder))
    cluster = make_cluster(serve=True, settings=settings, authority=authority)
    yield Edge(cluster, tenants, ssl.create_default_context(cafile=authority) if authority else None)
    cluster.stop()


@pytest.fixture(params=["1.1", "2"])
def version(request):
    return request.param


def test_an_address_that_has_all_its_connections_keeps_nobody_else_out(edge, version):
    crowd, other = next(addresses), next(addresses)
    before = edge.figure("connections")
    # Which of them are refused is not said: they are taken in on several threads.
    held = [edge.plain(crowd) for _ in range(CONNECTIONS + 3)]
    edge.cluster.wait_for(lambda: len(select.select(held, [], [], 0)[0]) == 3, "three connections to be refused", seconds=10)
    for refused in select.select(held, [], [], 0)[0]:
        held.remove(refused)
        with pytest.raises(ConnectionResetError):  # before a byte is answered, a handshake's included
            refused.recv(1)
        refused.close()
    with edge.client(other, version) as client:
        assert client.get("/collections", headers=edge.tenants["acme"]).status_code == 200
    assert edge.figure("connections") - before == 3
    assert edge.cluster.log("serve").count(f"peer={crowd}") == 1, "said once, and that with its address"
    held.pop().close()

    def is_served():
        with edge.client(crowd, version) as client:
            try:
                return client.get("/collections", headers=edge.tenants["acme"]).status_code == 200
            except httpx.TransportError:
                return False

    edge.cluster.wait_for(is_served, "the place that was given back", seconds=10)
    for each in held:
        each.close()


def test_a_trusted_proxy_may_have_any_number_of_connections(edge):
    clients = [edge.client(PROXY) for _ in range(2 * CONNECTIONS)]
    for index, client in enumerate(clients):
        assert client.get("/collections", headers={**edge.tenants["acme"], "x-forwarded-for": f"198.51.100.{index}"}).status_code == 200
    for client in clients:
        client.close()


def test_requests_of_an_address_are_bounded_before_their_key_is_looked_at(edge, version):
    before = edge.figure("rate_limit_exceeded")
    with edge.client(next(addresses), version) as client, edge.client(next(addresses), version) as other:
        ask = lambda: client.get("/v1/models", headers=edge.tenants["acme"])
        replies = [ask() for _ in range(BURST + 10)]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert [reply.status_code for reply in replies[:BURST]] == [200] * BURST and refused
        assert refused[0].headers["retry-after"] == "1" and 0 < int(refused[0].headers["retry-after-ms"]) <= 1_000
        assert refused[0].json()["error"]["code"] == "rate_limit_exceeded" and "this address" in refused[0].json()["error"]["message"]
        assert client.get("/healthz").status_code == 200
        assert other.get("/v1/models", headers=edge.tenants["acme"]).status_code == 200
    assert edge.figure("rate_limit_exceeded") - before == len(refused)


def test_wrong_keys_shut_out_other_keys_of_their_address_but_not_those_in_use(edge, version):
    before = edge.figure("too_many_wrong_keys")
    with edge.client(next(addresses), version) as client, edge.client(next(addresses), version) as other:
        ask = lambda client, headers: client.get("/v1/models", headers=headers)
        assert ask(client, edge.tenants["acme"]).status_code == 200
        wrong = [ask(client, {"api-key": f"guess-{i}"}) for i in range(WRONG_KEYS + 1)]
        assert [reply.status_code for reply in wrong] == [401] * WRONG_KEYS + [429]
        right = ask(client, edge.tenants["umbra"])
        # A right key and a wrong one are told the same.
        for reply in (wrong[-1], right):
            assert reply.status_code == 429 and reply.json()["error"]["code"] == "too_many_wrong_keys"
            assert 0 < int(reply.headers["retry-after"]) <= 36_000 / WRONG_KEYS
        assert set(wrong[-1].headers) == set(right.headers) and wrong[-1].json()["error"].keys() == right.json()["error"].keys()
        # Who worked here goes on, and what has no key at all is no guess.
        assert ask(client, edge.tenants["acme"]).status_code == 200
        assert ask(client, {}).status_code == 401
        # Elsewhere nothing happened.
        assert ask(other, edge.tenants["umbra"]).status_code == 200
        assert ask(other, {"api-key": "guess"}).status_code == 401
    assert edge.figure("too_many_wrong_keys") - before == 2


def test_only_trusted_proxies_say_for_whom_they_speak(edge, version):
    number = uuid.uuid4().int
    victim, spammer, other = (f"203.0.{number % 250}.{number // 250 % 200 + i}" for i in range(3))
    network = f"2001:db8:{number >> 16 & 0xfff:x}"
    with edge.client(PROXY, version) as proxy, edge.client(next(addresses), version) as liar:
        ask = lambda client, says, key: client.get("/collections", headers={**key, "x-forwarded-for": says}).status_code
        guess = lambda client, says: [ask(client, says, {"api-key": f"guess-{i}"}) for i in range(WRONG_KEYS)]
        umbra = edge.tenants["umbra"]
        # Nobody: it is its own address that counts.
        assert guess(liar, victim) == [401] * WRONG_KEYS
        assert ask(liar, other, umbra) == 429
        assert ask(proxy, victim, umbra) == 200
        # A proxy: the last address, whatever stands before it, and what its own kind has added.
        assert guess(proxy, f"{other}, {spammer}") == [401] * WRONG_KEYS
        for says in (spammer, f"1.2.3.4, {spammer}", f"{spammer}:4711", f"nonsense, {spammer} , 127.200.3.4", f"{spammer}, 2001:db8:ffff::7"):
            assert ask(proxy, says, umbra) == 429, says
        twice = [*umbra.items(), ("x-forwarded-for", other), ("x-forwarded-for", spammer)]
        assert proxy.get("/collections", headers=twice).status_code == 429
        assert ask(proxy, other, umbra) == 200
        # A /64 is one client.
        assert guess(proxy, f"[{network}:7::1]:80") == [401] * WRONG_KEYS
        assert ask(proxy, f"{network}:7:1:2:3:4", umbra) == 429
        assert ask(proxy, f"{network}:8::1", umbra) == 200


def test_the_audit_log_has_the_client_that_a_trusted_proxy_names(edge, version):
    name = f"audit-{uuid.uuid4().hex[:8]}"
    mine = next(addresses)
    with edge.client(PROXY, version) as proxy, edge.client(mine, version) as liar:
        says = {**edge.tenants["acme"], "x-forwarded-for": "192.0.2.9, 198.51.100.77"}
        assert proxy.put(f"/collections/{name}", json=CREATE, headers={**says, "x-request-id": f"{name}-proxy"}).status_code == 200
        assert liar.delete(f"/collections/{name}", headers={**says, "x-request-id": f"{name}-liar"}).status_code == 200
    [created] = edge.tenants.recorded(request=f"{name}-proxy")
    assert created["address"] == "198.51.100.77" and created["forwarded_for"] == "192.0.2.9, 198.51.100.77"
    [dropped] = edge.tenants.recorded(request=f"{name}-liar")
    assert dropped["address"].startswith(f"{mine}:") and dropped["forwarded_for"] == "192.0.2.9, 198.51.100.77"

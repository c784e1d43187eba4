"""Mutual TLS between nodes: real processes, grpcio, openssl and curl on the other side, and a log line for each way it fails."""

import json
import re
import socket
import ssl
import subprocess

import grpc
import pytest
from conftest import BINARY, ROOT
from test_cluster import fill, make_points, query
from test_grpc import protos  # noqa: F401, a fixture
from test_membership import add, members, verb, wait_for_version

NODES = ["coordinator", "shard-1", "shard-2", "generator"]


def certificates(folder, *arguments):
    subprocess.run([ROOT / "cluster/certificates", folder, *arguments], check=True, timeout=60)
    return folder


def settings(folder, **more):
    return {
        "tls.certificate": f"{folder}/{{node}}.pem", "tls.key": f"{folder}/{{node}}.key", "tls.authority": f"{folder}/authority.pem",
        "tls.reload_seconds": 1, **more,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certificates"), *NODES, "monitoring", "stranger")


@pytest.fixture(scope="module")
def secure(make_cluster, folder):
    return make_cluster(shards=2, settings=settings(folder, **{"tls.names": ["monitoring"]}))


def channel(cluster, node, folder, name, authority=None):
    credentials = grpc.ssl_channel_credentials(
        (authority or folder / "authority.pem").read_bytes(),
        (folder / f"{name}.key").read_bytes() if name else None, (folder / f"{name}.pem").read_bytes() if name else None)
    return grpc.secure_channel(cluster.addresses[node], credentials, options=[("grpc.ssl_target_name_override", node), ("grpc.use_local_subchannel_pool", 1)])


def test_a_cluster_works_in_mutual_tls(secure, folder, protos):  # noqa: F811
    fill(secure, "secret", make_points(1))
    status, reply = query(secure, "secret", [1.0] * 16)
    assert status == 200 and reply["covey"]["coverage"]["shards_answered"] == 2
    with channel(secure, "shard-1", folder, "coordinator") as to_shard:
        status = protos.shard_stub(to_shard).Status(protos.shard.StatusRequest(tenant="default"), timeout=20)
        assert sum(shard.points for shard in status.shards) > 0
    metrics = subprocess.run(
        curl(secure, "shard-1", folder, "monitoring", "/metrics"), capture_output=True, text=True, timeout=30)
    assert 'covey_tls_handshakes_total{side="node",outcome="full"}' in metrics.stdout, metrics
    assert 'covey_tls_certificate_end_seconds{use="nodes"} 1' in metrics.stdout


def curl(cluster, node, folder, name, path, *more):
    address = cluster.addresses[node]
    host, port = address.split(":")
    certificate = ["--cert", folder / f"{name}.pem", "--key", folder / f"{name}.key"] if name else []
    return [
        "curl", "-sS", "--connect-to", f"{node}:{port}:{host}:{port}", "--cacert", folder / "authority.pem", *certificate, *more,
        f"https://{node}:{port}{path}",
    ]


def s_client(cluster, node, folder, *options):
    """What OpenSSL's own client says of a handshake, and of what the server sends until it closes or for a moment."""
    command = ["openssl", "s_client", "-connect", cluster.addresses[node], "-servername", node, "-CAfile", folder / "authority.pem", "-verify_return_error", *options]
    return subprocess.run(command, input="", capture_output=True, text=True, timeout=30)


def wait_for_line(cluster, node, words):
    cluster.wait_for(lambda: re.search(words, cluster.log(node)), f"a line with {words} in the log of {node}", seconds=15)


@pytest.mark.parametrize(
    "name, words",
    [("stranger", "name stranger is not of this cluster"), (None, "no certificate: the client showed none")],
)
def test_a_caller_that_is_not_of_the_cluster_is_refused_by_name(secure, folder, protos, name, words):  # noqa: F811
    with channel(secure, "shard-1", folder, name) as to_shard:
        with pytest.raises(grpc.RpcError) as error:
            protos.shard_stub(to_shard).Status(protos.shard.StatusRequest(tenant="default"), timeout=20)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    wait_for_line(secure, "shard-1", words)


def test_expired_and_foreign_certificates_are_refused_by_name(secure, folder, tmp_path):
    for file in ["authority.pem", "authority.key"]:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    certificates(tmp_path, "--expired", "shard-2")
    s_client(secure, "shard-1", folder, "-alpn", "h2", "-cert", tmp_path / "shard-2.pem", "-key", tmp_path / "shard-2.key")
    wait_for_line(secure, "shard-1", "expired: the certificate of shard-2, or one above it, ended at 20")
    foreign = certificates(tmp_path / "foreign", "shard-2")
    s_client(secure, "shard-1", folder, "-alpn", "h2", "-cert", foreign / "shard-2.pem", "-key", foreign / "shard-2.key")
    wait_for_line(secure, "shard-1", "unknown authority: the certificate of shard-2 is signed by none of")


def test_an_old_version_is_refused_by_name(secure, folder):
    own = ["-cert", folder / "shard-2.pem", "-key", folder / "shard-2.key"]
    assert "protocol version" in s_client(secure, "shard-1", folder, "-tls1_2", *own).stderr
    wait_for_line(secure, "shard-1", "protocol version: the peer has none of TLS 1.3")


def test_no_common_protocol_is_named(secure, folder):
    own = ["-cert", folder / "shard-2.pem", "-key", folder / "shard-2.key"]
    assert "no application protocol" in s_client(secure, "shard-1", folder, "-alpn", "spdy/1", *own).stderr
    wait_for_line(secure, "shard-1", "no h2 or http/1.1 by ALPN: the client offered others")


def test_http2_without_alpn_is_refused(secure, folder):
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    context.load_cert_chain(folder / "shard-2.pem", folder / "shard-2.key")
    host, port = secure.addresses["shard-1"].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as plain, context.wrap_socket(plain, server_hostname="shard-1") as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert connection.recv(100) == b""
    wait_for_line(secure, "shard-1", "no h2 by ALPN: the client speaks HTTP/2 without having offered it")


def test_plaintext_to_a_tls_port_and_tls_to_a_plaintext_port_are_named(secure, cluster, folder):
    host, port = secure.addresses["shard-1"].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert connection.recv(100) == b""
    wait_for_line(secure, "shard-1", "plaintext to a TLS port")
    assert "unexpected eof" in s_client(cluster, "shard-1", folder).stderr
    wait_for_line(cluster, "shard-1", "TLS to a plaintext port: this node has no tls.certificate")


def test_a_probe_of_the_port_is_counted_but_no_line(secure, folder):
    def silent():
        page = subprocess.run(curl(secure, "shard-2", folder, "monitoring", "/metrics"), capture_output=True, text=True, timeout=30).stdout
        return int(re.search(r'covey_tls_handshakes_total\{side="node",outcome="silent"\} (\d+)', page)[1])

    before = silent()
    host, port = secure.addresses["shard-2"].split(":")
    socket.create_connection((host, int(port)), timeout=20).close()
    secure.wait_for(lambda: silent() > before, "the probe to be counted")
    assert "without a word" not in secure.log("shard-2")


def test_a_client_that_never_speaks_is_cut_off(secure):
    host, port = secure.addresses["shard-2"].split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        assert connection.recv(1) == b""
    assert "the handshake took longer than 10.0 seconds" in secure.log("shard-2")


def test_a_session_is_resumed(secure, folder, tmp_path):
    own = ["-alpn", "h2", "-cert", folder / "shard-2.pem", "-key", folder / "shard-2.key"]
    command = [str(part) for part in ["openssl", "s_client", "-connect", secure.addresses["shard-1"], "-servername", "shard-1", *own]]
    # A TLS 1.3 ticket comes after the handshake, so the client has to stay until it is there.
    with subprocess.Popen([*command, "-sess_out", tmp_path / "session"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        secure.wait_for(lambda: (tmp_path / "session").exists() and (tmp_path / "session").stat().st_size > 0, "a session ticket")
        first.communicate(b"")
    second = subprocess.run([*command, "-sess_in", tmp_path / "session"], input="", capture_output=True, text=True, timeout=30)
    assert "Reused, TLSv1.3" in second.stdout, second.stdout[-2000:]


def test_certificates_are_changed_without_a_restart(make_cluster, tmp_path):
    folder = certificates(tmp_path, *NODES)
    cluster = make_cluster(shards=2, settings=settings(folder))
    fill(cluster, "lasting", make_points(2))

    def serial():
        shown = s_client(cluster, "shard-1", folder, "-alpn", "h2", "-cert", folder / "shard-2.pem", "-key", folder / "shard-2.key").stdout
        return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=shown, capture_output=True, text=True).stdout

    before = serial()
    assert before.startswith("serial=")
    # An unfit key is refused by name, and the certificate before it goes on.
    key = (folder / "shard-1.key").read_text()
    (folder / "shard-1.key").write_text((folder / "shard-2.key").read_text())
    wait_for_line(cluster, "shard-1", "changed certificate not taken; the one before goes on.*is not the key of")
    assert serial() == before
    (folder / "shard-1.key").write_text(key)
    certificates(folder, *NODES)
    cluster.wait_for(lambda: serial() not in ("", before), "the new certificate to be shown")
    wait_for_line(cluster, "shard-1", "certificate changed")
    cluster.kill("shard-2")
    cluster.start("shard-2")
    cluster.wait_for(lambda: query(cluster, "lasting", [1.0] * 16)[1]["covey"]["coverage"]["shards_answered"] == 2, "the restarted node to answer")
    cluster.stop()


def test_with_a_domain_every_name_of_it_is_of_the_cluster_and_no_other(make_cluster, tmp_path, protos):  # noqa: F811
    folder = certificates(tmp_path, "--domain", "covey.test", *NODES, "newcomer")
    certificates(folder, "shard-9")  # of the same authority, for a cluster without a domain
    cluster = make_cluster(shards=2, settings={**settings(folder), "tls.domain": "covey.test"})
    fill(cluster, "named", make_points(5))
    assert query(cluster, "named", [1.0] * 16)[1]["covey"]["coverage"]["shards_answered"] == 2
    own = ["-alpn", "h2", "-cert", folder / "newcomer.pem", "-key", folder / "newcomer.key", "-verify_hostname", "shard-1.covey.test"]
    assert "Verification: OK" in s_client(cluster, "shard-1", folder, *own).stdout
    assert "newcomer" not in cluster.log("shard-1")
    s_client(cluster, "shard-1", folder, "-alpn", "h2", "-cert", folder / "shard-9.pem", "-key", folder / "shard-9.key")
    wait_for_line(cluster, "shard-1", "name shard-9 is not of this cluster")
    cluster.stop()


def test_a_node_that_joins_is_let_in_by_all(make_cluster, tmp_path):
    folder = certificates(tmp_path, *NODES, "shard-3", "operator")
    cluster = make_cluster(shards=2, settings={**settings(folder), "cluster.poll_seconds": 1})
    fill(cluster, "growing", make_points(3), shards=4)
    add(cluster, "shard-3")
    cluster.start("shard-3")
    cluster.wait_for(lambda: "listening" in cluster.log("shard-3"), "the new node")
    applied = verb(cluster, "apply")
    assert applied.returncode == 0 and "version 2" in applied.stdout, applied
    wait_for_version(cluster, 2)
    # The new node calls the others and they call it; nobody is turned away for its name.
    assert members(cluster)["members"][2] | {"answers": True} == members(cluster)["members"][2]
    fill(cluster, "grown", make_points(4), shards=4)
    assert query(cluster, "grown", [1.0] * 16)[1]["covey"]["coverage"]["shards_answered"] == 4
    # An operator without a certificate of the cluster gets nowhere.
    own = {"COVEY_TLS_CERTIFICATE": f"{certificates(tmp_path / 'other', 'operator')}/operator.pem", "COVEY_TLS_KEY": f"{tmp_path}/other/operator.key"}
    refused = cluster.covey("cluster", "members", "--config", str(cluster.configuration), environment=own)
    assert refused.stdout.count("does not answer") == 3, refused
    cluster.stop()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"certificate": "shard-2.pem", "key": "shard-2.key"}, "is for shard-2, and the other nodes expect shard-1 of this one"),
        ({"key": "shard-2.key"}, "shard-2.key is not the key of"),
        ({"authority": "absent.pem"}, "absent.pem does not exist"),
        ({"authority": ""}, "tls.authority is missing: it goes together with tls.certificate"),
        ({"domain": "covey.test"}, "the other nodes expect shard-1.covey.test of this one"),
    ],
)
def test_unfit_certificates_are_told_at_start(folder, tmp_path, change, words):
    files = {"certificate": "shard-1.pem", "key": "shard-1.key", "authority": "authority.pem", **change}
    tls = {key: f"{folder}/{value}" if value.endswith(("pem", "key")) else value for key, value in files.items()}
    nodes = [{"name": "shard-1", "role": "shard", "address": "127.0.0.1:0"}]
    (tmp_path / "covey.yaml").write_text(json.dumps({"tls": tls, "nodes": nodes, "store": {"path": str(tmp_path / "store")}}))
    ended = subprocess.run([BINARY, "shard", "--config", tmp_path / "covey.yaml"], capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0 and words in ended.stderr, ended.stderr

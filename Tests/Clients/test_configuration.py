"""What an operator gets to read when a setting is wrong, and which layer wins."""

import os
import socket
import subprocess
import tempfile

import pytest

from conftest import BINARY


def start(arguments, environment=None, text=None, tmp_path=None):
    command = [BINARY, "serve", *arguments]
    if text is not None:
        path = tmp_path / "covey.yaml"
        path.write_text(text)
        command += ["--config", str(path)]
    with tempfile.TemporaryDirectory() as folder:  # where the default store would be
        return subprocess.run(command, env={**os.environ, **(environment or {})}, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "text, words",
    [
        ("stor:\n  path: x\n", ["line 1", "unknown key stor", "store"]),
        ("store:\n  pat: x\n", ["line 2", "unknown key store.pat", "did you mean store.path"]),
        ("store: x\n", ["store wants keys below it"]),
        ("store:\n  path: [x]\n", ["store.path wants one value"]),
        ("gateway:\n  body_mib: lots\n", ["gateway.body_mib", "line 2", "1 to 1024", '"lots"']),
        ("gateway:\n  body_mib: 0\n", ["gateway.body_mib", '"0"']),
        ("gateway:\n  address: 6333\n", ["gateway.address", "host:port", '"6333"']),
        ("gateway:\n  address: 127.0.0.1:70000\n", ["0 to 65535", "70000"]),
        ("gateway:\n  address_connections: 0\n", ["gateway.address_connections", "1 to 1000000", '"0"']),
        ("gateway:\n  address_burst: 5\n", ["gateway.address_burst", "line 2", "address_requests_per_second is 0"]),
        ("gateway:\n  wrong_keys_seconds: 0\n", ["gateway.wrong_keys_seconds", '"0"']),
        ("gateway:\n  trusted_proxies: [10.0.0.1, 10.1.2.3/8]\n", ["gateway.trusted_proxies", "line 2", '"10.1.2.3/8"', "10.0.0.0/8 is one"]),
        ("gateway:\n  trusted_proxies: proxy.internal\n", ["gateway.trusted_proxies", '"proxy.internal"', "10.0.0.0/8"]),
        ("gateway:\n  address: 0.0.0.0:0\n", ["beyond this machine", "keys"]),
        ("log:\n  level: loud\n", ["log.level", "trace, debug", '"loud"']),
        ("nodes:\n  - {name: a, role: shrad, address: '127.0.0.1:1'}\n", ["role of a", "shrad"]),
        ("nodes:\n  - {name: a, role: shard}\n", ["no address"]),
        ("nodes:\n  - {name: a, role: shard, address: '127.0.0.1:1', weigth: 2}\n", ["unknown key weigth"]),
        ("nodes:\n  - {name: a, role: shard, address: '10.0.0.1:1'}\n", ["beyond loopback"]),
        ("nodes:\n  - {name: a, role: shard, address: '127.0.0.1:1'}\n  - {name: a, role: shard, address: '127.0.0.1:2'}\n", ["a stands twice"]),
        ("gateway:\n  tls: {certificate: a.pem}\n", ["gateway.tls.key is missing", "gateway.tls.certificate"]),
        ("gateway:\n  tls: {certificate: a.pem, key: a.key}\n", ["gateway.tls.certificate: a.pem does not exist"]),
        ("gateway:\n  tls: {certificat: a.pem}\n", ["unknown key gateway.tls.certificat", "did you mean gateway.tls.certificate"]),
        ("keys:\n  - {tenant: a, sha256: abc}\n", ["64 hexadecimal digits"]),
        ("gateway: [1\n", ["not YAML"]),
        ("- a\n", ["expected keys and values"]),
        ("gateway:\n  body_mib: 1.5\n", ["gateway.body_mib", "whole number", '"1.5"']),
        ("embedding:\n  url: there\n  model: m\n", ["embedding.url must begin with http://", '"there"']),
        ("embedding:\n  url: http://127.0.0.1:9/v1\n", ["embedding.model is missing", "http://127.0.0.1:9/v1"]),
        ("generation:\n  url: http://127.0.0.1:9/v1\n", ["generation.model is missing"]),
        ("embedding:\n  url: http://h/v1\n  model: m\n  api: azur\n", ["embedding.api", "openai, azure", '"azur"']),
        ("embedding:\n  url: http://h\n  model: m\n  api: azure\n  deployment: a/b\n", ["embedding.deployment", '"a/b"']),
        ("embedding:\n  url: http://h/v1\n  model: m\n  api_key: a\n  token: b\n", ["embedding.api_key and embedding.token are given"]),
        ("embedding:\n  url: http://h/v1\n  model: m\n  token_file: /nonexistent\n", ["embedding.token_file", "/nonexistent cannot be read"]),
        ("embedding:\n  url: http://h/v1\n  model: m\n  key_header: 'a b'\n", ["embedding.key_header", '"a b"']),
        ("embedding:\n  url: http://h/v1\n  model: m\n  batch_texts: 4000\n", ["embedding.batch_texts", "1 to 2048"]),
        ("embedding:\n  url: http://h/v1\n  model: m\nmodels: {proxy: 'h:1'}\n", ["models.proxy must begin with http://"]),
        ("embedding:\n  url: http://h/v1\n  model: m\nmodels: {ca_file: /nonexistent}\n", ["models.ca_file /nonexistent cannot be read"]),
        ("models: {proxi: x}\n", ["unknown key models.proxi", "did you mean models.proxy"]),
        ("store:\n  path: ftp://there\n", ["store.path", "s3://bucket/prefix", '"ftp://there"']),
        ("store:\n  path: s3://B_x\n", ["store.path", "3 to 63", '"B_x"']),
        ("store:\n  path: s3://bucket/a//b\n", ["store.path", "part of 0 bytes", "1…254"]),
        ("store:\n  path: s3://bucket\n  access_key: a\n", ["store.secret_key is missing"]),
        ("store:\n  path: s3://bucket\n  access_key: a\n  secret_key: b\n  endpoint: ftp://h\n", ["store.endpoint", "ftp://h"]),
        ("store:\n  path: s3://bucket\n  access_key: a\n  secret_key: b\n  ca_file: /nonexistent\n", ["store.ca_file /nonexistent"]),
        ("store:\n  addressing: host\n", ["store.addressing", "virtual-host", '"host"']),
        ("store:\n  cache_mib: 0\n", ["store.cache_mib", '"0"']),
        (
            "store:\n  path: s3://bucket\n  endpoint: 'http://127.0.0.1:9'\n  access_key: a\n  secret_key: b\n  attempts: 1\n",
            ["store.path s3://bucket cannot be used", "http://127.0.0.1:9", "no connection"],
        ),
        ("embedding:\n  model_path: /nonexistent\n", ["embedding.model_path /nonexistent", "cluster/fetch-model"]),
    ],
)
def test_a_bad_file_is_refused_with_its_place(text, words, tmp_path):
    result = start([], text=text, tmp_path=tmp_path)
    assert result.returncode != 0
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    "text, words",
    [
        ("tenants:\n  - name: a\n    keys:\n      - {name: k, sha256: DIGEST, collections: docs}", ["line 4", "collections wants a list"]),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, collections: }]}]", ["collections wants a list"]),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, collections: []}]}]", ["collections must have 1 to 256 names, found 0"]),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, collections: ['*']}]}]", ["collection name is empty"]),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, collections: [a/b]}]}]", ['"a/b"']),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, collections: [a], operator: true}]}]", ["bound to collections", "operator"]),
        ("tenants: [{nam: a}]", ["line 1", "unknown key nam of a tenant", "did you mean name"]),
        ("tenant: []", ["unknown key tenant of the file", "did you mean tenants"]),
        ("limits: {}", ["has no tenants"]),
        ("tenants: [a]", ["a tenant wants keys and values"]),
        ("tenants:\n  - {name: a}\n  - {name: a}", ["line 3", "tenant a stands twice"]),
        ("tenants: [{name: 'a b'}]", ["a b", "a–z"]),
        ("tenants: [{name: a, keys: [{name: k}]}]", ["a key has no sha256"]),
        ("tenants: [{name: a, keys: [{sha256: x}]}]", ["a key has no name"]),
        ("tenants: [{name: a, keys: [{name: k, sha256: KEY}]}]", ["64 hexadecimal digits, found 3"]),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, role: boss}]}]", ["read, write, admin", '"boss"']),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, operator: maybe}]}]", ["true or false", '"maybe"']),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST, expires: soon}]}]", ["2026-12-31", '"soon"']),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST}, {name: k, sha256: DIGEST}]}]", ["two keys called k"]),
        ("tenants: [{name: a, keys: [{name: k, sha256: DIGEST}]}, {name: b, keys: [{name: k, sha256: DIGEST}]}]", ["a and b have the same key"]),
        ("limits: {requests_per_second: 0}\ntenants: []", ["requests_per_second must be above 0", '"0"']),
        ("limits: {requests_per_seconds: 1}\ntenants: []", ["did you mean requests_per_second"]),
        ("tenants: [{name: a, limits: {points: -1}}]", ["points must be a whole number from 0", '"-1"']),
        ("tenants: [{name: a, limits: {body_mib: [1]}}]", ["body_mib wants one value"]),
        ("tenants: [", ["not YAML"]),
    ],
)
def test_a_bad_file_of_tenants_is_refused_with_its_place(text, words, tmp_path):
    file = tmp_path / "tenants.yaml"
    file.write_text(text.replace("DIGEST", "ab" * 32))
    result = start(["--tenants-file", str(file), "--gateway-address", "127.0.0.1:0"])
    assert result.returncode != 0
    for word in [str(file), *words]:
        assert word in result.stderr, result.stderr


def test_a_file_of_tenants_or_an_audit_log_that_cannot_be_used_is_named(tmp_path):
    assert f"tenants.file {tmp_path}/none does not exist" in start(["--tenants-file", f"{tmp_path}/none"]).stderr
    assert f"audit.log {tmp_path}/none/audit cannot be written" in start(["--audit-log", f"{tmp_path}/none/audit", "--gateway-address", "127.0.0.1:0"]).stderr


def test_a_missing_file_is_named():
    result = start(["--config", "/nonexistent/covey.yaml"])
    assert result.returncode != 0 and "/nonexistent/covey.yaml" in result.stderr


def test_a_folder_or_a_binary_file_is_no_configuration(tmp_path):
    assert "it is a folder" in start(["--config", str(tmp_path)]).stderr
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in start(["--config", str(tmp_path / "binary")]).stderr


def test_an_unknown_flag_is_refused_with_a_suggestion():
    result = start(["--stor-path", "x"])
    assert result.returncode != 0 and "did you mean --store-path" in result.stderr


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    text = "gateway:\n  body_mib: file\n"
    assert '"file"' in start([], text=text, tmp_path=tmp_path).stderr
    environment = {"COVEY_GATEWAY_BODY_MIB": "variable"}
    result = start([], environment, text, tmp_path)
    assert '"variable"' in result.stderr and "COVEY_GATEWAY_BODY_MIB" in result.stderr
    result = start(["--gateway-body-mib", "flag"], environment, text, tmp_path)
    assert '"flag"' in result.stderr and "--gateway-body-mib" in result.stderr


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = start(["--gateway-address", f"127.0.0.1:{port}", "--store-path", str(tmp_path / "store")])
    assert result.returncode != 0
    assert str(port) in result.stderr and "in use" in result.stderr.lower(), result.stderr


@pytest.mark.parametrize("role", ["coordinator", "shard", "generator"])
def test_a_node_port_in_use_is_named_and_nothing_else_is_said(role, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        nodes = ",".join(f"{name}={name}@127.0.0.1:{port if name == role else 0}" for name in ["coordinator", "shard", "generator"])
        command = [BINARY, role, "--nodes", nodes, "--gateway-address", "127.0.0.1:0", "--store-path", str(tmp_path / "store"), "--log-level", "error"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
    assert result.stderr == f"Error: nodes: the address of {role} cannot be used: 127.0.0.1:{port} is in use by another process\n"


def test_help_teaches_and_version_answers():
    result = subprocess.run([BINARY, "--help"], capture_output=True, text=True)
    for verb in ["serve", "coordinator", "shard", "generator", "ingest", "ask", "chat", "search", "status", "eval", "bench", "seal"]:
        assert f"  {verb}" in result.stdout
    assert subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()[0].isdigit()
    manual = subprocess.run([BINARY, "shard", "--help"], capture_output=True, text=True).stdout
    assert "store.path" in manual and "--store-path" in manual and "COVEY_STORE_PATH" in manual

"""Two tenants on one cluster: what keys may do, how they change, what each may take, what is recorded, and that nothing tells one of the other."""

import datetime
import json
import re
import subprocess
import threading
import time
import uuid

import openai
import pytest
from conftest import BINARY, ROOT
from tenant_tools import CREATE, FORM, FORM_TYPE, OTHER_ROUTES, Tenants, body_of, every_route, replies, two  # noqa: F401
from test_http import call

def test_every_route_that_the_router_has_is_asked():
    found = set()
    for source in (ROOT / "Sources/Gateway").rglob("*.swift"):
        found |= {(method.upper(), path) for method, path in re.findall(r'router\.(get|put|post|patch|delete|head|on)\(\s*"([^"]+)"', source.read_text())}
        assert not re.search(r"router\.\w+\(\s*[^\"\s]", source.read_text()), f"a route of {source.name} is added in another way than this test knows"
    assert len(found) > 40
    asked = [(method, path.split("?")[0].strip("/").split("/")) for method, path, _ in every_route("n", "s", "f", "p")]

    def is_asked(method, template):
        parts = template.strip("/").split("/")
        return any(
            method == other and len(parts) == len(path) and all(part.startswith(":") or part == word for part, word in zip(parts, path)) for other, path in asked)

    forgotten = {route for route in found - OTHER_ROUTES if not is_asked(*route)}
    assert not forgotten, "add them to every_route"


def test_no_route_tells_a_tenant_of_anothers_names(two):
    cluster, tenants = two
    acme, umbra, ops = tenants["acme"], tenants["umbra"], tenants["ops"]
    # A file's id follows from its content, so a third tenant's upload says what acme's will be.
    file = body_of(call(cluster, "POST", "/v1/files", FORM, {**ops, **FORM_TYPE}))["id"]
    names = ("plans", "papers", file, "20260101T000000Z-0000000000000000")
    before = replies(cluster, umbra, names)
    assert call(cluster, "PUT", "/collections/plans", CREATE, acme)[0] == 200
    point = {"points": [{"id": 1, "vector": [1, 2], "payload": {"of": "acme"}}]}
    assert call(cluster, "PUT", "/collections/plans/points", point, acme)[0] == 200
    assert body_of(call(cluster, "POST", "/v1/files", FORM, {**acme, **FORM_TYPE}))["id"] == file
    assert call(cluster, "POST", "/v1/vector_stores", {"name": "papers", "file_ids": [file]}, acme)[0] == 200
    snapshot = body_of(call(cluster, "POST", "/collections/plans/snapshots", None, acme))["result"]["name"]
    after = replies(cluster, umbra, names)
    for one, other in zip(before, after):
        assert one == other
    # The true name of a snapshot opens nothing either.
    status, _, text = call(cluster, "DELETE", f"/collections/plans/snapshots/{snapshot}", headers=umbra)
    assert status == 404 and b'collection \\"plans\\" does not exist' in text
    # And acme still has all of it.
    assert call(cluster, "GET", "/collections/plans/points/1", headers=acme)[0] == 200
    assert call(cluster, "GET", f"/v1/files/{file}/content", headers=acme)[2] == b"The plan of acme is secret."
    assert [s["name"] for s in body_of(call(cluster, "GET", "/collections/plans/snapshots", headers=acme))["result"]] == [snapshot]
    assert body_of(call(cluster, "POST", "/v1/vector_stores/papers/search", {"query": "plan"}, acme))["data"]


def test_no_line_of_a_request_of_one_tenant_names_another(two):
    cluster, tenants = two
    name = f"logs-{uuid.uuid4().hex[:8]}"
    acme, umbra = tenants["acme"], tenants["umbra"]
    call(cluster, "PUT", f"/collections/{name}", CREATE, {**acme, "x-request-id": f"a-{name}"})
    ids = [f"u-{name}-{index}" for index in range(3)]
    call(cluster, "GET", f"/collections/{name}", headers={**umbra, "x-request-id": ids[0]})
    call(cluster, "PUT", f"/collections/{name}", CREATE, {**umbra, "x-request-id": ids[1]})
    call(cluster, "PUT", f"/collections/{name}/points", {"points": [{"id": 1, "vector": [1, 2]}]}, {**umbra, "x-request-id": ids[2]})
    lines = [line for node in cluster.names for line in cluster.log(node).splitlines() if f"u-{name}" in line]
    assert len(lines) >= 4 and all("tenant=umbra" in line and "acme" not in line for line in lines), lines


def test_the_same_name_is_another_collection_in_every_cache(two):
    cluster, tenants = two
    name = f"same-{uuid.uuid4().hex[:8]}"
    for tenant, size in (("acme", 2), ("umbra", 3)):
        assert call(cluster, "PUT", f"/collections/{name}", {"vectors": {"size": size, "distance": "Dot"}}, tenants[tenant])[0] == 200
        points = [{"id": i, "vector": [1] * size, "payload": {"of": tenant}} for i in range(size)]
        assert call(cluster, "PUT", f"/collections/{name}/points", {"points": points}, tenants[tenant])[0] == 200
    for _ in range(3):  # the second time from whatever is cached
        for tenant, size in (("acme", 2), ("umbra", 3)):
            key = tenants[tenant]
            query = {"query": [1] * size, "filter": {"must": [{"key": "of", "match": {"any": ["acme", "umbra"]}}]}, "with_payload": True}
            hits = body_of(call(cluster, "POST", f"/collections/{name}/points/query", query, key))["result"]["points"]
            assert {hit["payload"]["of"] for hit in hits} == {tenant} and len(hits) == size
            wrong = {"query": [1] * (5 - size)}
            status, _, text = call(cluster, "POST", f"/collections/{name}/points/query", wrong, key)
            assert status == 400 and str(size).encode() in text
            about = body_of(call(cluster, "GET", f"/collections/{name}", headers=key))["result"]
            assert about["points_count"] == size and about["config"]["params"]["vectors"]["size"] == size
            count = body_of(call(cluster, "POST", f"/collections/{name}/points/count", {}, key))
            assert count["result"]["count"] == size and count["covey"]["coverage"]["points_held"] == size
    # Deleting one's leaves the other's.
    assert body_of(call(cluster, "DELETE", f"/collections/{name}", headers=tenants["acme"]))["result"] is True
    assert body_of(call(cluster, "GET", f"/collections/{name}/exists", headers=tenants["umbra"]))["result"]["exists"] is True


def test_figures_are_for_operators_only(two):
    cluster, tenants = two
    for name in ("acme", "acme/reader", "umbra"):
        assert call(cluster, "GET", "/metrics", headers=tenants[name])[0] == 403
    status, _, text = call(cluster, "GET", "/metrics", headers=tenants["ops"])
    assert status == 200 and b'tenant="acme"' in text and b'tenant="umbra"' in text
    # Health needs no key, and names no tenant.
    for path in ("/healthz", "/readyz"):
        status, _, text = call(cluster, "GET", path)
        assert status == 200 and b"acme" not in text and b"umbra" not in text


# MARK: keys that are bound to collections

def test_a_role_bounds_what_a_key_may_do(two):
    cluster, tenants = two
    name = f"roles-{uuid.uuid4().hex[:8]}"
    main, reader, writer = tenants["acme"], tenants["acme/reader"], tenants["acme/writer"]
    points = f"/collections/{name}/points"
    one = {"points": [{"id": 1, "vector": [1, 2]}]}
    for key in (reader, writer):
        status, _, text = call(cluster, "PUT", f"/collections/{name}", CREATE, key)
        assert status == 403 and b"admin" in text
    assert call(cluster, "PUT", f"/collections/{name}", CREATE, main)[0] == 200
    status, _, text = call(cluster, "PUT", points, one, reader)
    assert status == 403 and b"write" in text and b"read" in text
    assert call(cluster, "PUT", points, one, writer)[0] == 200
    for key in (reader, writer, main):
        for path, body in ((f"{points}/query", {"query": [1, 2]}), (f"{points}/scroll", {}), (f"{points}/count", {}), (points, {"ids": [1]})):
            assert call(cluster, "POST", path, body, key)[0] == 200
        for path in (f"/collections/{name}", "/collections", "/v1/files", "/v1/vector_stores", "/v1/models"):
            assert call(cluster, "GET", path, headers=key)[0] == 200
    denied = [
        ("POST", f"{points}/delete", {"points": [1]}), ("PATCH", f"/collections/{name}", {}), ("DELETE", f"/collections/{name}", None),
        ("POST", f"/collections/{name}/snapshots", None), ("POST", f"/collections/{name}/shards/0/split", {}), ("POST", "/v1/vector_stores", {}),
        ("DELETE", "/v1/vector_stores/x", None), ("POST", "/v1/files", {}), ("DELETE", "/v1/files/x", None), ("POST", "/v1/vector_stores/x/files", {}),
        ("DELETE", "/v1/vector_stores/x/files/y", None), ("POST", "/v1/anything/new", {}), ("DELETE", f"//collections//{name}/", None),
        ("DELETE", f"/collections/%{ord(name[0]):x}{name[1:]}", None),
    ]
    for method, path, body in denied:
        assert call(cluster, method, path, body, reader)[0] == 403, (method, path)
    for path in (f"/collections/{name}", f"/collections/{name}/snapshots/x", "/v1/vector_stores/x"):
        assert call(cluster, "DELETE", path, headers=writer)[0] == 403
    assert call(cluster, "POST", f"{points}/delete", {"points": [1]}, writer)[0] == 200
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=reader["api-key"], max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError):
            client.vector_stores.create(name="mine")
    assert call(cluster, "DELETE", f"/collections/{name}", headers=main)[0] == 200


# MARK: keys change

def test_keys_are_rotated_and_revoked_while_requests_go_on(make_cluster, tmp_path):
    tenants = Tenants(tmp_path).add("acme", "old").add("ops", "main", operator=True)
    cluster = make_cluster(serve=True, settings=tenants.write().settings())
    status = lambda name: call(cluster, "GET", "/collections", headers=tenants[name])[0]
    assert status("acme/old") == 200
    failures, stop = [], threading.Event()

    def keep_asking():
        while not stop.is_set():
            if status("ops") != 200:
                failures.append(time.monotonic())

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        # Both keys are good for a while.
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=6)
        tenants.add("acme", "new").add("acme", "brief", expires=ends.strftime("%Y-%m-%dT%H:%M:%SZ")).write()
        cluster.wait_for(lambda: status("acme/new") == 200, "the new key", seconds=3)
        assert status("acme/old") == 200 and status("acme/brief") == 200
        # Revoked within the interval and the time of a look at the file.
        tenants.remove("acme", "old")
        began = time.monotonic()
        tenants.write()
        cluster.wait_for(lambda: status("acme/old") == 401, "the old key to be refused", seconds=10)
        assert time.monotonic() - began < 1 + 3, "tenants.reload_seconds is 1; the rest is for a busy machine"
        assert status("acme/new") == 200
        # A key that ends needs no change of the file.
        cluster.wait_for(lambda: status("acme/brief") == 401, "the brief key to end", seconds=15)
        assert datetime.datetime.now(datetime.timezone.utc) >= ends.replace(microsecond=0)
        assert b"ended at" in call(cluster, "GET", "/collections", headers=tenants["acme/brief"])[2]
        # A file that is wrong changes nothing, and says so.
        tenants.path.write_text("tenants: [{name: acme, keys: [{name: x, sha256: short}]}]")
        valid = lambda: re.search(rb"(?m)^covey_tenants_file_valid (\d)", call(cluster, "GET", "/metrics", headers=tenants["ops"])[2])
        cluster.wait_for(lambda: valid() and valid()[1] == b"0", "the wrong file to be noticed", seconds=10)
        cluster.wait_for(lambda: "changed tenants.file not taken" in cluster.log("serve") and "64 hexadecimal" in cluster.log("serve"), "the reason in the log", seconds=10)
        assert status("acme/new") == 200
        assert not failures, "a request failed while keys changed"
        stop.set()
        asking.join()
        # A file without keys lets nobody in.
        tenants.path.write_text("tenants: []")
        cluster.wait_for(lambda: status("acme/new") == 401, "the last key to be refused", seconds=10)
        assert call(cluster, "GET", "/collections")[0] == 401
    finally:
        stop.set()
        asking.join()
    changes = tenants.recorded(event="tenants.change")
    assert changes[0]["object"]["keys_added"] == ["acme/brief", "acme/new"] and changes[1]["object"]["keys_removed"] == ["acme/old"]


# MARK: limits

@pytest.fixture(scope="module")
def limited(make_cluster, tmp_path_factory):
    tenants = Tenants(tmp_path_factory.mktemp("limits"))
    tenants.limits = {"collections": 2}
    for name in ("quick", "batches", "small", "free"):
        tenants.add(name, "main")
    tenants.add("small", "bound", collections=["one"]).add("ops", "main", operator=True)
    tenants.tenants["quick"]["limits"] = {"requests_per_second": 0.1, "burst": 4}
    tenants.tenants["batches"]["limits"] = {"requests_per_second": 0.1, "burst": 8}
    tenants.tenants["small"]["limits"] = {"body_mib": 1, "points": 10, "files": 1, "snapshots": 1}
    tenants.tenants["free"]["limits"] = {"collections": 100}
    return make_cluster(shards=1, settings=tenants.write().settings()), tenants


def test_requests_a_second_are_bounded_and_clients_are_told(limited):
    cluster, tenants = limited
    quick = tenants["quick"]
    remaining = [call(cluster, "GET", "/v1/models", headers=quick) for _ in range(4)]
    assert [reply[0] for reply in remaining] == [200] * 4
    assert [reply[1]["x-ratelimit-remaining-requests"] for reply in remaining] == ["3", "2", "1", "0"]
    assert all(reply[1]["x-ratelimit-limit-requests"] == "4" for reply in remaining)
    assert re.fullmatch(r"(\d+m)?[\d.]+s", remaining[0][1]["x-ratelimit-reset-requests"])
    status, headers, text = call(cluster, "GET", "/v1/models", headers=quick)
    assert status == 429 and 1 <= int(headers["retry-after"]) <= 10 and json.loads(text)["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(headers["retry-after-ms"]) <= 10_000
    status, headers, text = call(cluster, "GET", "/collections", headers=quick)
    assert status == 429 and int(headers["retry-after"]) >= 1 and "rate" in json.loads(text)["status"]["error"]
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=quick["api-key"], max_retries=0) as client:
        with pytest.raises(openai.RateLimitError):
            client.models.list()
    # Nobody else is slower for it, and health is not counted.
    assert call(cluster, "GET", "/v1/models", headers=tenants["free"])[0] == 200
    assert "x-ratelimit-limit-requests" not in call(cluster, "GET", "/v1/models", headers=tenants["free"])[1]
    assert call(cluster, "GET", "/healthz", headers=quick)[0] == 200
    # The operator sees who is refused, and for what.
    figures = call(cluster, "GET", "/metrics", headers=tenants["ops"])[2].decode()
    assert re.search(r'covey_http_tenant_refused_total\{tenant="quick",reason="rate_limit_exceeded"\} 3', figures)


def test_a_batch_of_searches_takes_as_many_of_the_rate(limited):
    cluster, tenants = limited
    left = lambda: int(call(cluster, "GET", "/v1/models", headers=tenants["batches"])[1]["x-ratelimit-remaining-requests"])
    ask = lambda count: call(
        cluster, "POST", "/collections/absent/points/query/batch", {"searches": [{"query": [1, 2]}] * count}, tenants["batches"])
    assert left() == 7
    assert ask(3)[0] == 404
    assert left() == 3
    assert ask(0)[0] in (200, 404)  # a request as any other
    assert left() == 1
    assert ask(20)[0] == 404
    status, headers, _ = ask(1)
    assert status == 429 and int(headers["retry-after"]) > 150


def test_a_tenants_share_of_the_gateway_is_bounded(make_cluster, tmp_path, paced_model):
    tenants = Tenants(tmp_path).add("busy", "main").add("other", "main")
    tenants.tenants["busy"]["limits"] = {"concurrent_requests": 1}
    settings = {**tenants.write().settings(), "generation.url": paced_model.url, "generation.model": "paced"}
    cluster = make_cluster(serve=True, settings=settings)
    document = cluster.folder / "owl.md"
    document.write_text("# Owls\n\nThe tawny owl eats wood mice and bank voles.\n")
    for tenant in ("busy", "other"):
        environment = {"COVEY_API_KEY": tenants[tenant]["api-key"]}
        ended = cluster.covey("ingest", str(document), "-c", "talk", environment=environment)
        assert ended.returncode == 0, ended.stderr
    begun, go_on = threading.Event(), threading.Event()

    def pieces(body):
        yield "Wood "
        begun.set()
        assert go_on.wait(60)
        yield "mice."

    paced_model.pieces = pieces
    question = {"model": "talk", "messages": [{"role": "user", "content": "What does the owl eat?"}]}
    replies = []
    asking = threading.Thread(target=lambda: replies.append(call(cluster, "POST", "/v1/chat/completions", {**question, "stream": True}, tenants["busy"])))
    asking.start()
    try:
        assert begun.wait(60)
        # An answer that is still streamed is at work.
        status, headers, text = call(cluster, "GET", "/collections", headers=tenants["busy"])
        assert status == 429 and headers["retry-after"] == "1" and b"its share" in text
        assert call(cluster, "GET", "/collections", headers=tenants["other"])[0] == 200
    finally:
        go_on.set()
        asking.join()
    assert replies[0][0] == 200 and b"mice" in replies[0][2]
    cluster.wait_for(lambda: call(cluster, "GET", "/collections", headers=tenants["busy"])[0] == 200, "the share to be given back", seconds=10)
    cluster.stop()


def test_bodies_collections_points_files_and_snapshots_are_bounded(limited):
    cluster, tenants = limited
    small, free = tenants["small"], tenants["free"]
    long = {"points": [{"id": i, "vector": [1, 2], "payload": {"text": "x" * 600_000}} for i in range(2)]}
    for key, expected in ((small, 413), (free, 200)):
        assert call(cluster, "PUT", "/collections/one", CREATE, key)[0] == 200
        status, _, text = call(cluster, "PUT", "/collections/one/points", long, key)
        assert status == expected and (expected == 200 or b"the limit is 1048576" in text)
    assert call(cluster, "PUT", "/collections/two", CREATE, small)[0] == 200
    status, _, text = call(cluster, "PUT", "/collections/three", CREATE, small)
    assert status == 403 and b"2 collections" in text
    status, _, text = call(cluster, "POST", "/v1/vector_stores", {"name": "three"}, small)
    assert status == 403 and json.loads(text)["error"]["code"] == "quota_exceeded"
    for name in ("two", "three", "four"):
        assert call(cluster, "PUT", f"/collections/{name}", CREATE, free)[0] == 200

    write = lambda first, count, name="one": call(
        cluster, "PUT", f"/collections/{name}/points", {"points": [{"id": i, "vector": [1, 2]} for i in range(first, first + count)]}, small)
    assert write(0, 6)[0] == 200 and write(6, 4, "two")[0] == 200
    status, _, text = write(10, 1)
    assert status == 403 and b"10 points" in text and b"limit of 10" in text
    # A key that is bound to one of them is not told how much there is in all.
    one = {"points": [{"id": 10, "vector": [1, 2]}]}
    status, _, text = call(cluster, "PUT", "/collections/one/points", one, tenants["small/bound"])
    assert status == 403 and b"1 more points would be above this tenant's limit of 10" in text
    assert call(cluster, "POST", "/collections/one/points/query", {"query": [1, 2]}, small)[0] == 200
    # What was deleted makes room, as soon as it is counted again.
    assert call(cluster, "POST", "/collections/two/points/delete", {"points": [6, 7]}, small)[0] == 200
    cluster.wait_for(lambda: write(10, 2)[0] == 200, "room for two points", seconds=15)
    assert write(20, 1)[0] == 403

    assert call(cluster, "POST", "/v1/files", FORM, {**small, **FORM_TYPE})[0] == 200
    status, _, text = call(cluster, "POST", "/v1/files", FORM.replace(b"plan.txt", b"second.txt"), {**small, **FORM_TYPE})
    assert status == 403 and b"1 files" in text
    assert call(cluster, "POST", "/collections/one/snapshots", None, small)[0] == 200
    status, _, text = call(cluster, "POST", "/collections/one/snapshots", None, small)
    assert status == 403 and b"1 snapshots" in text


def test_a_documents_chunks_count_as_points(limited):
    cluster, tenants = limited
    status, _, text = call(cluster, "POST", "/v1/files", FORM, {**tenants["free"], **FORM_TYPE})
    assert status == 200
    tenants.tenants["free"]["limits"]["points"] = 1  # one is there already
    tenants.write()
    attach = lambda: call(cluster, "POST", "/v1/vector_stores", {"name": f"vs-{uuid.uuid4().hex[:8]}", "file_ids": [json.loads(text)["id"]]}, tenants["free"])
    cluster.wait_for(lambda: attach()[0] == 403, "the new limit", seconds=10)
    assert b"points" in attach()[2]


# MARK: what is recorded

def test_administrative_and_deleting_calls_are_recorded(two):
    cluster, tenants = two
    name = f"audit-{uuid.uuid4().hex[:8]}"
    main, reader, writer = tenants["acme"], tenants["acme/reader"], tenants["acme/writer"]
    recorded = lambda request: tenants.recorded(request=request)
    ask = lambda key, request, method, path, body=None: call(cluster, method, path, body, {**key, "x-request-id": f"{name}-{request}"})
    ask(main, "create", "PUT", f"/collections/{name}", CREATE)
    ask(main, "write", "PUT", f"/collections/{name}/points", {"points": [{"id": i, "vector": [1, 2]} for i in range(3)]})
    ask(writer, "delete", "POST", f"/collections/{name}/points/delete", {"points": [1, 2]})
    ask(writer, "filter", "POST", f"/collections/{name}/points/delete", {"filter": {"must_not": [{"has_id": [0]}]}})
    ask(reader, "denied", "DELETE", f"/collections/{name}")
    ask(main, "wrong", "PUT", f"/collections/{name}", {"vectors": {"size": 0, "distance": "Dot"}})
    ask(main, "search", "POST", f"/collections/{name}/points/query", {"query": [1, 2]})
    ask(main, "store", "POST", "/v1/vector_stores", {"name": f"{name}-store"})
    ask(main, "drop", "DELETE", f"/collections/{name}")
    [create] = recorded(f"{name}-create")
    assert {**create, "time": 0} == {
        "time": 0, "event": "collection.create", "tenant": "acme", "key": "main", "role": "admin", "request": f"{name}-create",
        "address": create["address"], "node": "coordinator", "route": "PUT /collections/{name}", "object": {"collection": name}, "status": 200,
        "outcome": "done",
    }
    assert create["address"].startswith("127.0.0.1:")
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(create["time"].replace("Z", "+00:00"))
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    [delete] = recorded(f"{name}-delete")
    assert delete["event"] == "points.delete" and delete["key"] == "writer" and delete["object"] == {"collection": name, "ids": 2}
    [by_filter] = recorded(f"{name}-filter")
    assert by_filter["object"] == {"collection": name, "by_filter": True}
    [denied] = recorded(f"{name}-denied")
    assert denied["event"] == "collection.drop" and denied["status"] == 403 and denied["outcome"] == "denied" and denied["key"] == "reader"
    [wrong] = recorded(f"{name}-wrong")
    assert wrong["outcome"] == "refused" and wrong["status"] == 400 and "size" in wrong["error"]
    assert recorded(f"{name}-store")[0]["object"] == {"collection": f"{name}-store"}
    assert recorded(f"{name}-drop")[0]["outcome"] == "done"
    assert recorded(f"{name}-write") == [] and recorded(f"{name}-search") == []
    # The file may be moved away at any time.
    moved = tenants.audit.rename(tenants.audit.with_suffix(".1"))
    ask(main, "again", "DELETE", f"/collections/{name}")
    assert len(recorded(f"{name}-again")) == 1 and tenants.audit.stat().st_mode & 0o777 == 0o600
    tenants.audit.write_bytes(moved.read_bytes() + tenants.audit.read_bytes())


def test_verbs_that_work_on_the_store_are_recorded(two):
    cluster, tenants = two
    name = f"verbs-{uuid.uuid4().hex[:8]}"
    assert call(cluster, "PUT", f"/collections/{name}", CREATE, tenants["acme"])[0] == 200
    run = lambda *words: cluster.covey(*words, "--config", str(cluster.configuration))
    assert run("snapshot", name, "--tenant", "acme", "--to", str(cluster.folder / name)).returncode == 0
    assert run("restore", "--from", str(cluster.folder / name), "--as", f"{name}-again", "--tenant", "acme").returncode == 0
    assert run("drop-tenant", "nobody").returncode == 0
    made, restored, dropped = (tenants.recorded(event=event, key="command line") for event in ("snapshot.create", "collection.restore", "tenant.drop"))
    assert [line["object"]["collection"] for line in made] == [name] and [line["object"]["collection"] for line in restored] == [f"{name}-again"]
    assert dropped[0]["tenant"] == "nobody" and dropped[0]["object"]["user"] and dropped[0]["outcome"] == "done"
    # What could not be recorded is not begun.
    failed = run("drop-tenant", "acme", "--audit-log", "/nonexistent/audit")
    assert failed.returncode == 1 and "audit.log /nonexistent/audit cannot be written" in failed.stderr
    assert call(cluster, "GET", f"/collections/{name}", headers=tenants["acme"])[0] == 200


def test_no_key_stands_anywhere(two, limited):
    for cluster, tenants in (two, limited):
        texts = [cluster.log(node) for node in cluster.names] + [tenants.audit.read_text(), tenants.path.read_text()]
        texts.append(call(cluster, "GET", "/metrics", headers=tenants["ops"])[2].decode())
        for key in tenants.keys.values():
            assert not any(key in text for text in texts)


def test_the_line_that_makes_a_key_is_one_that_the_file_takes(tmp_path):
    make = lambda *words: subprocess.run([BINARY, "key", "--tenant", "acme", *words], capture_output=True, text=True, timeout=60)
    made = make("--name", "bot", "--role", "read", "--collections", "manuals,faq-*", "--expires", "2099-12-31")
    line = re.search(r"(?m)under tenant acme: (\{.*\})$", made.stdout)[1]
    assert 'collections: ["faq-*", "manuals"]' in line
    key = json.loads(make("--name", "bot", "--collections", "a", "--json").stdout)
    assert key["collections"] == ["a"]
    file = tmp_path / "tenants.yaml"
    file.write_text(f"tenants:\n  - name: acme\n    keys:\n      - {line}\n      - {line.replace('bot', 'bot-2')}\n")
    # Read to its end, where the same key stands twice.
    ended = subprocess.run([BINARY, "serve", "--tenants-file", file, "--gateway-address", "127.0.0.1:0"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "has the same key twice, as bot and bot-2" in ended.stderr
    for words, reason in [(["--collections", "a"], "--name"), (["--name", "b", "--collections", "a b"], '"a b"'), (["--name", "b", "--collections", "a", "--operator"], "cannot be bound")]:
        refused = make(*words)
        assert refused.returncode != 0 and reason in refused.stderr

"""Keys that are bound to some of a tenant's collections: of all others no route tells them anything."""

import json
import re
import uuid

from tenant_tools import CREATE, FORM, FORM_TYPE, Tenants, body_of, replies, two  # noqa: F401
from test_http import call


def test_no_route_tells_a_bound_key_of_other_collections(two):
    cluster, tenants = two
    main, bound, ops = tenants["acme"], tenants["acme/bound"], tenants["ops"]
    mark = uuid.uuid4().hex[:8]
    form = FORM.replace(b"plan.txt", f"{mark}.txt".encode())
    file = body_of(call(cluster, "POST", "/v1/files", form, {**ops, **FORM_TYPE}))["id"]
    plans, papers = f"plans-{mark}", f"papers-{mark}"
    names = (plans, papers, file, "20260101T000000Z-0000000000000000")

    def creations():
        """What is said to who wants to make a collection of such a name, or attach such a file."""
        yield call(cluster, "PUT", f"/collections/{plans}", CREATE, {**bound, "x-request-id": "c-1"})
        yield call(cluster, "POST", "/v1/vector_stores", {"name": papers}, {**bound, "x-request-id": "c-2"})
        yield call(cluster, "POST", "/v1/vector_stores", {"name": f"mine-{mark}", "file_ids": [file]}, {**bound, "x-request-id": "c-3"})

    def said():
        return [(status, re.sub(rb'"time":[0-9.e-]+', b"", text)) for status, _, text in creations()]

    before, refused = replies(cluster, bound, names), said()
    assert [status for status, _ in refused] == [403, 403, 404] and b"is none of them" in refused[0][1] and b'"permission_denied"' in refused[1][1]
    assert call(cluster, "PUT", f"/collections/{plans}", CREATE, main)[0] == 200
    assert call(cluster, "PUT", f"/collections/{plans}/points", {"points": [{"id": 1, "vector": [1, 2]}]}, main)[0] == 200
    assert body_of(call(cluster, "POST", "/v1/files", form, {**main, **FORM_TYPE}))["id"] == file
    assert call(cluster, "POST", "/v1/vector_stores", {"name": papers, "file_ids": [file]}, main)[0] == 200
    assert call(cluster, "POST", f"/collections/{plans}/snapshots", None, main)[0] == 200
    for one, other in zip(before, replies(cluster, bound, names)):
        assert one == other
    assert said() == refused
    # And all of it is still there.
    assert call(cluster, "GET", f"/collections/{plans}/points/1", headers=main)[0] == 200
    assert call(cluster, "GET", f"/v1/files/{file}", headers=main)[0] == 200
    assert body_of(call(cluster, "POST", f"/v1/vector_stores/{papers}/search", {"query": "plan"}, main))["data"]
    # Whoever bears it, a bound key reads no figures of others.
    assert call(cluster, "GET", "/metrics", headers=bound)[0] == 403


def test_a_bound_key_does_in_its_collections_what_its_role_may(two):
    cluster, tenants = two
    main, bound, writer = tenants["acme"], tenants["acme/bound"], tenants["acme/bound-writer"]
    name = f"mine-{uuid.uuid4().hex[:8]}"
    other = f"theirs-{uuid.uuid4().hex[:8]}"
    assert call(cluster, "PUT", f"/collections/{other}", CREATE, main)[0] == 200
    assert call(cluster, "PUT", f"/collections/{name}", CREATE, writer)[0] == 403
    assert call(cluster, "PUT", f"/collections/{name}", CREATE, bound)[0] == 200
    assert call(cluster, "PUT", f"/collections/{name}", CREATE, bound)[0] == 409
    point = {"points": [{"id": 1, "vector": [1, 2]}]}
    assert call(cluster, "PUT", f"/collections/{name}/points", point, writer)[0] == 200
    hits = body_of(call(cluster, "POST", f"/collections/{name}/points/query", {"query": [1, 2]}, writer))["result"]["points"]
    assert [hit["id"] for hit in hits] == [1]
    listed = lambda key: {each["name"] for each in body_of(call(cluster, "GET", "/collections", headers=key))["result"]["collections"]}
    assert name in listed(bound) and all(each.startswith("mine") for each in listed(bound)) and {name, other} <= listed(main)
    # A copy of several collections is for who may touch all of them.
    snapshot = body_of(call(cluster, "POST", f"/collections/{name}/snapshots", None, bound))["result"]["name"]
    whole = cluster.covey("snapshot", "--all", "--tenant", "acme", "--config", str(cluster.configuration), environment={"COVEY_AUDIT_LOG": ""})
    assert whole.returncode == 0, whole.stderr
    snapshots = lambda key: [each["name"] for each in body_of(call(cluster, "GET", f"/collections/{name}/snapshots", headers=key))["result"]]
    assert snapshots(bound) == [snapshot] and len(snapshots(main)) == 2
    [whole] = set(snapshots(main)) - {snapshot}
    assert call(cluster, "DELETE", f"/collections/{name}/snapshots/{whole}", headers=bound)[0] == 404
    assert call(cluster, "DELETE", f"/collections/{name}/snapshots/{snapshot}", headers=bound)[0] == 200
    assert body_of(call(cluster, "DELETE", f"/collections/{other}", headers=bound))["result"] is False
    assert body_of(call(cluster, "DELETE", f"/collections/{name}", headers=bound))["result"] is True
    assert {name, other} & listed(main) == {other}


def test_files_of_a_bound_key_are_for_those_who_may_touch_its_collections(two):
    cluster, tenants = two
    main, bound, writer = tenants["acme"], tenants["acme/bound"], tenants["acme/bound-writer"]
    store, other = f"mine-{uuid.uuid4().hex[:8]}", f"theirs-{uuid.uuid4().hex[:8]}"
    form = FORM.replace(b"plan.txt", f"{store}.txt".encode())
    for name in (store, other):
        assert call(cluster, "POST", "/v1/vector_stores", {"name": name}, main)[0] == 200
    upload = lambda key: body_of(call(cluster, "POST", "/v1/files", form, {**key, **FORM_TYPE}))["id"]
    listed = lambda key: {file["id"] for file in body_of(call(cluster, "GET", "/v1/files", headers=key))["data"]}
    attach = lambda key, store, file: call(cluster, "POST", f"/v1/vector_stores/{store}/files", {"file_id": file}, key)
    # The same content is another file for each: nobody learns that somebody else has it.
    files = {"main": upload(main), "bound": upload(bound), "writer": upload(writer)}
    assert len(set(files.values())) == 3 and upload(writer) == files["writer"]
    ours = set(files.values())
    assert listed(main) & ours == ours
    assert listed(bound) & ours == {files["bound"], files["writer"]}, "it may touch all that the writer may, and more"
    assert listed(writer) & ours == {files["writer"]}
    for file in (files["main"], files["bound"]):
        for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            assert call(cluster, method, f"/v1/files/{file}{path}", headers=writer)[0] == 404
        status, _, text = attach(writer, store, file)
        assert status == 404 and body_of(attach(writer, store, "file-" + "0" * 24))["error"]["message"] == json.loads(text)["error"]["message"].replace(file, "file-" + "0" * 24)
    assert attach(writer, store, files["writer"])[0] == 200
    # What lies in its collection is its own affair, whoever uploaded it.
    assert attach(main, store, files["main"])[0] == 200
    documents = lambda key: {file["id"] for file in body_of(call(cluster, "GET", f"/v1/vector_stores/{store}/files", headers=key))["data"]}
    assert documents(writer) == {files["main"], files["writer"]}
    assert call(cluster, "DELETE", f"/v1/vector_stores/{store}/files/{files['main']}", headers=writer)[0] == 200
    # Deleting a file takes its documents along, so it must not have any elsewhere.
    assert attach(main, other, files["writer"])[0] == 200
    status, _, text = call(cluster, "DELETE", f"/v1/files/{files['writer']}", headers=writer)
    assert status == 403 and json.loads(text)["error"]["code"] == "file_in_use" and other.encode() not in text
    assert documents(writer) == {files["writer"]}
    assert call(cluster, "DELETE", f"/v1/vector_stores/{other}/files/{files['writer']}", headers=main)[0] == 200
    assert call(cluster, "DELETE", f"/v1/files/{files['writer']}", headers=writer)[0] == 200
    assert documents(writer) == set() and listed(main) & ours == {files["main"], files["bound"]}


def test_a_folder_is_ingested_and_asked_with_a_bound_key(two):
    cluster, tenants = two
    name = f"mine-{uuid.uuid4().hex[:8]}"
    folder = cluster.folder / name
    folder.mkdir()
    (folder / "owl.md").write_text("# Owls\n\nThe tawny owl eats wood mice and bank voles.\n")
    run = lambda key, *words: cluster.covey(*words, environment={"COVEY_API_KEY": tenants[key]["api-key"]})
    refused = run("acme/bound-writer", "ingest", str(folder), "-c", name)
    assert refused.returncode != 0 and "admin" in refused.stderr
    assert run("acme", "ingest", str(folder), "-c", name).returncode == 0
    (folder / "fox.md").write_text("# Foxes\n\nThe red fox eats rabbits and berries.\n")
    ended = run("acme/bound-writer", "ingest", str(folder), "-c", name)
    assert ended.returncode == 0, ended.stderr
    assert "berries" in run("acme/bound-writer", "ask", "-c", name, "What does the red fox eat?").stdout
    (folder / "owl.md").unlink()
    assert run("acme/bound-writer", "ingest", "--sync", str(folder), "-c", name).returncode == 0
    found = body_of(call(cluster, "GET", f"/v1/vector_stores/{name}/files", headers=tenants["acme/bound-writer"]))["data"]
    assert [file["covey"]["document"] for file in found] == ["fox.md"]
    outside = run("acme/bound", "ingest", str(folder), "-c", f"theirs-{name}")
    assert outside.returncode != 0 and "bound to the collections mine, mine-*" in outside.stderr
    assert name in run("acme/bound-writer", "status").stdout


def test_what_a_key_is_bound_to_changes_with_the_file(make_cluster, tmp_path):
    tenants = Tenants(tmp_path).add("acme", "main").add("acme", "bound", collections=["a"])
    cluster = make_cluster(serve=True, settings=tenants.write().settings())
    for name in ("a", "b"):
        assert call(cluster, "PUT", f"/collections/{name}", CREATE, tenants["acme"])[0] == 200
    statuses = lambda: [call(cluster, "GET", f"/collections/{name}", headers=tenants["acme/bound"])[0] for name in ("a", "b")]
    assert statuses() == [200, 404]
    tenants.tenants["acme"]["keys"][1]["collections"] = ["b"]
    tenants.write()
    cluster.wait_for(lambda: statuses() == [404, 200], "the new binding", seconds=10)
    [change] = tenants.recorded(event="tenants.change")
    assert change["object"] == {"keys_added": [], "keys_removed": [], "keys_changed": ["acme/bound"]}
    # A list that was left empty is no freedom: the file is wrong, and what was there before goes on.
    tenants.tenants["acme"]["keys"][1]["collections"] = None
    tenants.write()
    cluster.wait_for(lambda: "collections wants a list" in cluster.log("serve"), "the wrong file to be noticed", seconds=10)
    assert statuses() == [404, 200]
    cluster.stop()


# MARK: roles

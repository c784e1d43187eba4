"""What tests of tenants and of their keys share: a tenants file, a cluster that reads it, and every route that a key could try."""

import hashlib
import json
import re
import uuid

import pytest
from test_http import call

CREATE = {"vectors": {"size": 2, "distance": "Dot"}}


class Tenants:
    """The file of tenants of one cluster, and the keys in clear."""

    def __init__(self, folder):
        self.path = folder / "tenants.yaml"
        self.audit = folder / "audit.jsonl"
        self.keys = {}
        self.tenants = {}
        self.limits = {}

    def add(self, tenant, name, key=None, **fields):
        key = key or f"{tenant}-{name}-{uuid.uuid4().hex}"
        self.keys[tenant, name] = key
        entry = {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), **fields}
        self.tenants.setdefault(tenant, {"name": tenant, "keys": []})["keys"].append(entry)
        return self

    def remove(self, tenant, name):
        keys = self.tenants[tenant]["keys"]
        keys[:] = [key for key in keys if key["name"] != name]

    def write(self):
        text = json.dumps({"limits": self.limits, "tenants": list(self.tenants.values())})
        new = self.path.with_suffix(".new")
        new.write_text(text)  # JSON is YAML
        new.rename(self.path)
        return self

    def settings(self):
        return {"tenants.file": str(self.path), "tenants.reload_seconds": 1, "audit.log": str(self.audit)}

    def __getitem__(self, place):
        tenant, _, name = place.partition("/")
        return {"api-key": self.keys[tenant, name or "main"]}

    def recorded(self, **fields):
        """Lines of the audit log with these fields, oldest first."""
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        return [line for line in lines if all(line.get(name) == value for name, value in fields.items())]


def body_of(reply):
    return json.loads(reply[2])


@pytest.fixture(scope="module")
def two(make_cluster, tmp_path_factory):
    tenants = Tenants(tmp_path_factory.mktemp("tenants"))
    tenants.add("acme", "main").add("acme", "reader", role="read").add("acme", "writer", role="write")
    tenants.add("acme", "bound", collections=["mine", "mine-*"]).add("acme", "bound-writer", role="write", collections=["mine-*"])
    tenants.add("umbra", "main").add("ops", "main", operator=True)
    cluster = make_cluster(shards=2, settings=tenants.write().settings())
    return cluster, tenants


# MARK: nothing tells of another tenant

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="plan.txt"\r\n\r\nThe plan of acme is secret.\r\n--b--\r\n'
)
FORM_TYPE = {"content-type": "multipart/form-data; boundary=b"}


def every_route(name, store, file, snapshot):
    """Every route that takes a name, with these, and every list."""
    points = f"/collections/{name}/points"
    question = [{"role": "user", "content": "What is the plan?"}]
    yield from [
        ("GET", "/collections", None), ("GET", f"/collections/{name}", None), ("GET", f"/collections/{name}/exists", None),
        ("PUT", points, {"points": [{"id": 1, "vector": [1, 2]}]}), ("POST", points, {"ids": [1]}), ("GET", f"{points}/1", None),
        ("POST", f"{points}/query", {"query": [1, 2]}), ("POST", f"{points}/query", {"query": 1}),
        ("POST", f"{points}/query", {"query": [1, 2], "covey": {"explain": [1]}}), ("POST", f"{points}/query/batch", {"searches": [{"query": [1, 2]}, {"query": 1}]}),
        ("POST", f"{points}/scroll", {}),
        ("POST", f"{points}/count", {}), ("POST", f"{points}/delete", {"points": [1]}),
        ("POST", f"{points}/delete", {"filter": {"must": [{"key": "of", "match": {"value": "acme"}}]}}),
        ("PATCH", f"/collections/{name}", {"optimizers_config": {"indexing_threshold": 1}}),
        ("PUT", f"/collections/{name}/index", {"field_name": "of"}), ("DELETE", f"/collections/{name}/index/of", None),
        ("POST", f"/collections/{name}/shards/0/split?dry_run=true", {}), ("POST", f"/collections/{name}/shards/0/merge?dry_run=true", {}),
        ("GET", f"/collections/{name}/snapshots", None),
        ("POST", f"/collections/{name}/snapshots", None), ("DELETE", f"/collections/{name}/snapshots/{snapshot}", None),
        ("DELETE", f"/collections/{name}", None),
        ("GET", "/v1/models", None), ("GET", f"/v1/models/{store}", None), ("GET", "/v1/vector_stores", None),
        ("GET", f"/v1/vector_stores/{store}", None), ("POST", f"/v1/vector_stores/{store}", {"name": "x"}),
        ("POST", f"/v1/vector_stores/{store}/search", {"query": "plan"}), ("GET", f"/v1/vector_stores/{store}/files", None),
        ("GET", f"/v1/vector_stores/{store}/files/{file}", None), ("POST", f"/v1/vector_stores/{store}/files", {"file_id": file}),
        ("DELETE", f"/v1/vector_stores/{store}/files/{file}", None), ("DELETE", f"/v1/vector_stores/{store}", None),
        ("POST", "/v1/chat/completions", {"model": store, "messages": question}),
        ("POST", "/v1/chat/completions", {"model": store, "messages": question, "stream": True}),
        ("GET", "/v1/files", None), ("GET", f"/v1/files/{file}", None), ("GET", f"/v1/files/{file}/content", None),
        ("DELETE", f"/v1/files/{file}", None), ("GET", "/metrics", None), ("GET", "/", None),
    ]


#: Routes that make something new, or concern no name: what they say of names is tested by itself.
OTHER_ROUTES = {
    ("PUT", "/collections/:name"), ("POST", "/v1/vector_stores"), ("POST", "/v1/files"), ("POST", "/v1/embeddings"), ("GET", "/healthz"), ("GET", "/readyz"),
}


def replies(cluster, key, names):
    """Status, headers and body of every route, without what differs between any two calls: the time that they took and the date."""
    found = []
    for index, (method, path, body) in enumerate(every_route(*names)):
        status, headers, text = call(cluster, method, path, body, {**key, "x-request-id": f"umbra-{index}"})
        text, count = re.subn(rb'"time":[0-9.e-]+', b'"time":0', text)
        # Its length is part of what is compared only where the time is not in it.
        kept = {name: value for name, value in headers.items() if name != "date" and not (name == "content-length" and count)}
        found.append((method, path, status, kept, text))
    return found

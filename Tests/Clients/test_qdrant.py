"""Qdrant's own client, unmodified, against real processes."""

import json
import random
import struct
import uuid

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from test_http import call

DIMENSION = 24


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def gaussian(seed, count, dimension=DIMENSION):
    generator = random.Random(seed)
    return [[generator.gauss(0, 1) for _ in range(dimension)] for _ in range(count)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


@pytest.fixture(scope="module")
def client(cluster):
    client = QdrantClient(url=cluster.url, check_compatibility=True, timeout=30)
    yield client
    client.close()


@pytest.fixture
def collection(client):
    """A collection of 60 points: odd ones have integer ids, even ones UUIDs."""
    name = unique("points")
    client.create_collection(name, vectors_config=models.VectorParams(size=DIMENSION, distance=models.Distance.DOT))
    vectors = gaussian(7, 60)
    points = [
        models.PointStruct(
            id=i if i % 2 else str(uuid.UUID(int=i)),
            vector=vectors[i],
            payload={"n": i, "colour": ["red", "green", "blue"][i % 3], "tags": [f"t{i % 5}", f"t{i % 7}"], "half": i / 2, "even": i % 2 == 0},
        )
        for i in range(60)
    ]
    client.upsert(name, points, wait=True)
    yield name, points
    client.delete_collection(name)


def refused(call, status, *words):
    with pytest.raises(UnexpectedResponse) as caught:
        call()
    text = caught.value.content.decode()
    assert caught.value.status_code == status, text
    for word in words:
        assert word in text, text


def test_collections_are_made_listed_described_and_dropped(client):
    name = unique("life")
    assert not client.collection_exists(name)
    assert client.create_collection(
        name, vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE), shard_number=3
    )
    assert client.collection_exists(name)
    assert name in [each.name for each in client.get_collections().collections]
    info = client.get_collection(name)
    assert info.status == models.CollectionStatus.GREEN
    assert info.points_count == 0
    assert info.config.params.vectors.size == 8
    assert info.config.params.vectors.distance == models.Distance.COSINE
    assert info.config.params.shard_number == 3
    refused(
        lambda: client.create_collection(name, vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE)), 409, name
    )
    assert client.delete_collection(name)
    assert not client.delete_collection(name)
    refused(lambda: client.get_collection(name), 404, name)


@pytest.mark.parametrize("distance", [models.Distance.COSINE, models.Distance.DOT, models.Distance.EUCLID])
def test_search_agrees_with_the_clients_own_exact_search(client, distance):
    """The client's local mode is the oracle: same points, same queries, same scores."""
    oracle, name = QdrantClient(":memory:"), unique("oracle")
    vectors = gaussian(1, 200)
    points = [models.PointStruct(id=i, vector=v, payload={"n": i}) for i, v in enumerate(vectors)]
    for each in (oracle, client):
        each.create_collection(name, vectors_config=models.VectorParams(size=DIMENSION, distance=distance))
        each.upsert(name, points)
    for query in gaussian(2, 10):
        condition = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gte=50, lt=150))])
        for query_filter in (None, condition):
            ours, theirs = (
                each.query_points(name, query=query, query_filter=query_filter, limit=12, offset=3, with_vectors=True).points
                for each in (client, oracle)
            )
            assert [p.id for p in ours] == [p.id for p in theirs]
            assert [p.score for p in ours] == pytest.approx([p.score for p in theirs], abs=1e-4)
            assert [p.payload for p in ours] == [p.payload for p in theirs]
            for a, b in zip(ours, theirs):
                assert a.vector == pytest.approx(b.vector, abs=1e-5)
    client.delete_collection(name)


def test_score_threshold_and_a_points_own_neighbours(client, collection):
    name, points = collection
    query = points[3].vector
    scores = sorted((dot(query, p.vector) for p in points), reverse=True)
    found = client.query_points(name, query=query, limit=60, score_threshold=scores[4] - 1e-6).points
    assert len(found) == 5
    neighbours = client.query_points(name, query=3, limit=5).points
    assert 3 not in [p.id for p in neighbours]
    expected = sorted((p for p in points if p.id != 3), key=lambda p: -dot(query, p.vector))[:5]
    assert [p.id for p in neighbours] == [p.id for p in expected]
    refused(lambda: client.query_points(name, query=9999, limit=5), 404, "9999")


def test_points_are_read_by_id_and_page_by_page(client, collection):
    name, points = collection
    found = client.retrieve(name, ids=[5, points[4].id, 4242], with_payload=["n"], with_vectors=True)
    assert [(p.id, p.payload) for p in found] == [(5, {"n": 5}), (points[4].id, {"n": 4})]
    assert found[0].vector == pytest.approx(points[5].vector, abs=1e-6)
    seen, offset = [], None
    while True:
        page, offset = client.scroll(name, limit=7, offset=offset, with_payload=False)
        seen += [p.id for p in page]
        assert all(not p.payload for p in page)
        if offset is None:
            break
    integers = [p.id for p in points if isinstance(p.id, int)]
    uuids = sorted(p.id for p in points if isinstance(p.id, str))
    assert seen == sorted(integers) + uuids


FILTERS = [
    (models.Filter(must=[models.FieldCondition(key="colour", match=models.MatchValue(value="red"))]), lambda p: p["colour"] == "red"),
    (models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))]), lambda p: p["even"]),
    (models.Filter(must=[models.FieldCondition(key="n", match=models.MatchAny(any=[1, 2, 500]))]), lambda p: p["n"] in (1, 2)),
    (models.Filter(must=[models.FieldCondition(key="colour", match=models.MatchExcept(**{"except": ["red"]}))]), lambda p: p["colour"] != "red"),
    (models.Filter(must=[models.FieldCondition(key="tags", match=models.MatchValue(value="t4"))]), lambda p: "t4" in p["tags"]),
    (models.Filter(must=[models.FieldCondition(key="half", range=models.Range(gt=3, lte=9.5))]), lambda p: 3 < p["half"] <= 9.5),
    (models.Filter(must_not=[models.FieldCondition(key="n", range=models.Range(lt=50))]), lambda p: p["n"] >= 50),
    (
        models.Filter(
            should=[
                models.FieldCondition(key="n", match=models.MatchValue(value=3)),
                models.FieldCondition(key="colour", match=models.MatchValue(value="blue")),
            ],
            must_not=[models.HasIdCondition(has_id=[5, 11])],
        ),
        lambda p: (p["n"] == 3 or p["colour"] == "blue") and p["n"] not in (5, 11),
    ),
    (
        models.Filter(must=[models.Filter(should=[models.FieldCondition(key="n", range=models.Range(gte=58)), models.HasIdCondition(has_id=[1])])]),
        lambda p: p["n"] >= 58 or p["n"] == 1,
    ),
    (models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="absent"))]), lambda p: True),
    (models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="n"))]), lambda p: False),
]


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_filters_mean_what_they_mean_in_qdrant(client, collection, number):
    name, points = collection
    query_filter, passes = FILTERS[number]
    expected = {p.payload["n"] for p in points if passes(p.payload)}
    assert client.count(name, count_filter=query_filter).count == len(expected)
    page, _ = client.scroll(name, scroll_filter=query_filter, limit=100)
    assert {p.payload["n"] for p in page} == expected
    found = client.query_points(name, query=points[0].vector, query_filter=query_filter, limit=100).points
    assert {p.payload["n"] for p in found} == expected


def test_points_are_overwritten_and_deleted_by_id_and_by_filter(client, collection):
    name, points = collection
    result = client.upsert(name, [models.PointStruct(id=1, vector=points[2].vector, payload={"n": -1})])
    assert result.status == models.UpdateStatus.COMPLETED
    assert client.count(name).count == 60
    assert client.retrieve(name, ids=[1])[0].payload == {"n": -1}
    client.delete(name, points_selector=[1, 3])
    assert client.count(name).count == 58
    client.delete(
        name,
        points_selector=models.FilterSelector(
            filter=models.Filter(must=[models.FieldCondition(key="colour", match=models.MatchValue(value="red"))])
        ),
    )
    left, _ = client.scroll(name, limit=100)
    assert all(p.payload["colour"] != "red" for p in left)
    assert {1, 3}.isdisjoint(p.id for p in left)


def test_columnar_batches_and_uploads(client):
    name = unique("batch")
    client.create_collection(name, vectors_config=models.VectorParams(size=4, distance=models.Distance.EUCLID))
    client.upsert(name, models.Batch(ids=[1, 2], vectors=[[1, 0, 0, 0], [0, 1, 0, 0]], payloads=[{"a": 1}, {"a": {"b": [1, None]}}]))
    assert [p.payload for p in client.retrieve(name, ids=[1, 2])] == [{"a": 1}, {"a": {"b": [1, None]}}]
    client.upload_collection(name, vectors=gaussian(3, 500, 4), ids=range(10, 510), batch_size=64, wait=True)
    assert client.count(name).count == 502
    biggest = 2**64 - 1
    client.upsert(name, [models.PointStruct(id=biggest, vector=[9, 9, 9, 9])])
    assert client.retrieve(name, ids=[biggest])[0].id == biggest
    client.delete_collection(name)


def test_sealing_by_indexing_threshold_keeps_every_point(client):
    name = unique("sealed")
    client.create_collection(name, vectors_config=models.VectorParams(size=DIMENSION, distance=models.Distance.DOT))
    vectors = gaussian(5, 600)
    client.upload_collection(name, vectors=vectors, ids=range(600), wait=True)
    assert client.get_collection(name).indexed_vectors_count == 0
    client.update_collection(name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1))
    info = client.get_collection(name)
    assert info.points_count == 600 and info.segments_count >= 1
    exact = client.query_points(name, query=vectors[0], limit=10, search_params=models.SearchParams(exact=True)).points
    expected = sorted(range(600), key=lambda i: -dot(vectors[0], vectors[i]))[:10]
    assert [p.id for p in exact] == expected
    wide = client.query_points(name, query=vectors[0], limit=10, search_params=models.SearchParams(hnsw_ef=200)).points
    assert len({p.id for p in wide} & set(expected)) >= 9
    client.delete_collection(name)


def test_what_is_not_supported_is_refused_by_name(client, collection):
    name, points = collection
    vector = points[0].vector
    condition = models.FieldCondition(key="n", match=models.MatchValue(value=1))
    query = lambda **more: lambda: client.query_points(name, query=vector, **more)
    refused(query(prefetch=models.Prefetch(query=vector)), 501, "prefetch")
    refused(query(using="other"), 501, "using")
    refused(query(query_filter=models.Filter(min_should=models.MinShould(conditions=[condition], min_count=1))), 501, "min_should")
    refused(query(query_filter=models.Filter(must=[models.FieldCondition(key="n", match=models.MatchText(text="a"))])), 501, "text")
    refused(query(query_filter=models.Filter(must=[models.FieldCondition(key="n", values_count=models.ValuesCount(gt=1))])), 501, "values_count")
    refused(query(search_params=models.SearchParams(indexed_only=True)), 501, "indexed_only")
    refused(query(search_params=models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True))), 501, "quantization")
    refused(lambda: client.query_points(name, query=models.RecommendQuery(recommend=models.RecommendInput(positive=[1]))), 501, "recommend")
    refused(lambda: client.scroll(name, order_by="n"), 501, "order_by")
    refused(query(limit=1_000_000), 400, "limit", "1000000")
    refused(lambda: client.query_points(name, query=vector[:5]), 400, "24", "5")
    refused(lambda: client.upsert(name, [models.PointStruct(id=1, vector={"a": vector})]), 501, "vector")
    refused(lambda: client.upsert(name, [models.PointStruct(id=1, vector=vector[:3])]), 400, "24", "3")
    refused(lambda: client.upsert(name, [models.PointStruct(id="no-uuid", vector=vector)]), 400, "no-uuid")
    manhattan = models.VectorParams(size=4, distance=models.Distance.MANHATTAN)
    refused(lambda: client.create_collection(unique("x"), vectors_config=manhattan), 501, "Manhattan")
    plain = models.VectorParams(size=4, distance=models.Distance.DOT)
    refused(lambda: client.create_payload_index(name, "n", models.PayloadSchemaType.GEO), 501, "geo", "keyword")
    refused(lambda: client.create_collection(unique("x"), vectors_config={"named": plain}), 400, "vectors")
    refused(lambda: client.create_collection("has space", vectors_config=plain), 400, "has space")


def test_what_only_tunes_qdrants_index_is_taken_and_named(cluster):
    name = unique("tuned")
    tuned = {"size": 4, "distance": "Dot", "on_disk": False, "hnsw_config": {"m": 8}}
    body = {"vectors": tuned, "hnsw_config": {"m": 4}, "optimizers_config": {"indexing_threshold": 0}, "on_disk_payload": False}
    status, _, text = call(cluster, "PUT", f"/collections/{name}", body)
    assert status == 200, text
    assert json.loads(text)["covey"]["ignored"] == ["hnsw_config", "optimizers_config", "on_disk_payload", "vectors.hnsw_config", "vectors.on_disk"]


def test_frameworks_may_ask_for_an_index_of_payload_keys(client, collection):
    name, points = collection
    for schema in (None, models.PayloadSchemaType.KEYWORD, models.KeywordIndexParams(type="keyword", is_tenant=True), models.PayloadSchemaType.INTEGER):
        assert client.create_payload_index(name, "n", schema).status == models.UpdateStatus.COMPLETED
    assert client.delete_payload_index(name, "n").status == models.UpdateStatus.COMPLETED
    assert client.count(name).count == len(points)
    refused(lambda: client.create_payload_index(unique("none"), "n", models.PayloadSchemaType.KEYWORD), 404, "does not exist")


def as_half(vector):
    floats = struct.unpack(f"{len(vector)}f", struct.pack(f"{len(vector)}f", *vector))
    return list(struct.unpack(f"{len(vector)}e", struct.pack(f"{len(vector)}e", *floats)))


@pytest.mark.parametrize("distance", [models.Distance.COSINE, models.Distance.DOT, models.Distance.EUCLID])
@pytest.mark.parametrize("datatype", [models.Datatype.FLOAT16, models.Datatype.UINT8])
def test_vectors_are_stored_and_searched_as_the_datatype_says(client, datatype, distance):
    name = unique("typed")
    client.create_collection(name, vectors_config=models.VectorParams(size=DIMENSION, distance=distance, datatype=datatype))
    assert client.get_collection(name).config.params.vectors.datatype == datatype
    is_half, is_cosine = datatype == models.Datatype.FLOAT16, distance == models.Distance.COSINE
    generator = random.Random(5)
    vectors = gaussian(9, 200) if is_half else [[generator.randrange(256) for _ in range(DIMENSION)] for _ in range(200)]
    client.upsert(name, [models.PointStruct(id=i, vector=vector) for i, vector in enumerate(vectors)], wait=True)
    unit = lambda vector: [x / dot(vector, vector) ** 0.5 for x in vector]
    stored = [as_half(unit(vector) if is_cosine else vector) if is_half else vector for vector in vectors]
    query = unit([x + generator.random() for x in vectors[3]]) if is_cosine else [x + generator.random() for x in vectors[3]]

    def score(vector):
        if distance == models.Distance.EUCLID:
            return -sum((x - y) ** 2 for x, y in zip(vector, query)) ** 0.5
        return dot(vector, query) / (1 if is_half or not is_cosine else dot(vector, vector) ** 0.5)

    order = sorted(range(200), key=lambda i: -score(stored[i]))[:10]
    for _ in range(2):
        hits = client.query_points(name, query=query, limit=10, with_vectors=True, search_params=models.SearchParams(exact=True)).points
        assert [hit.id for hit in hits] == order
        assert [abs(hit.score) for hit in hits] == pytest.approx([abs(score(stored[i])) for i in order], rel=1e-4)
        for hit in hits:
            # A half comes back with as few digits as tell it from other floats; its unit vector was made in floats.
            found = as_half(hit.vector) if is_half else hit.vector
            assert found == (pytest.approx(stored[hit.id], abs=5e-4) if is_half and is_cosine else stored[hit.id])
        client.update_collection(name, optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1))
    client.delete_collection(name)


def test_what_a_datatype_does_not_hold_is_refused(cluster, client):
    name = unique("typed")
    status, reply = cluster.json("PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Cosine", "datatype": "int8"}})
    assert status == 200, reply
    assert client.get_collection(name).config.params.vectors.datatype is None
    assert cluster.json("GET", f"/collections/{name}")[1]["result"]["covey"]["datatype"] == "int8"
    upsert = lambda vector: lambda: client.upsert(name, [models.PointStruct(id=7, vector=vector)], wait=True)
    refused(upsert([1, 128]), 400, "id 7", "element 1", "128", "int8 holds whole numbers -128…127")
    refused(upsert([1, 0.5]), 400, "id 7", "0.5", "int8")
    refused(upsert([0, 0]), 400, "id 7", "zeros")
    upsert([-128, 127])()
    assert client.retrieve(name, [7], with_vectors=True)[0].vector == [-128, 127]
    assert client.query_points(name, query=[-0.5, 0.5]).points[0].score == pytest.approx(1, abs=1e-4)
    client.delete_collection(name)
    for datatype, expected in [("turbo4", 501), ("float64", 400), (3, 400)]:
        status, reply = cluster.json("PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Dot", "datatype": datatype}})
        assert status == expected and "vectors.datatype" in reply["status"]["error"], reply


def test_coverage_stands_beside_the_result(cluster, collection):
    name, points = collection
    status, reply = cluster.json("POST", f"/collections/{name}/points/query", {"query": points[0].vector, "partial": "fail"})
    assert status == 200, reply
    coverage = reply["covey"]["coverage"]
    assert coverage["complete"] and coverage["shards_asked"] == coverage["shards_answered"] == 4
    assert coverage["points_searched"] == coverage["points_held"] == 60
    assert coverage["gaps"] == []


def test_a_batch_of_queries_answers_each_as_it_would_be_answered_alone(cluster, client, collection):
    name, points = collection
    queries = [models.QueryRequest(query=point.vector, limit=1 + number % 4, with_payload=number % 2 == 0) for number, point in enumerate(points[:20])]
    queries.append(models.QueryRequest(query=points[3].id, limit=2, filter=models.Filter(must_not=[models.HasIdCondition(has_id=[points[4].id])])))
    answers = client.query_batch_points(name, requests=queries)
    assert len(answers) == len(queries)
    for query, answer in zip(queries, answers):
        alone = client.query_points(name, query=query.query, limit=query.limit, query_filter=query.filter, with_payload=bool(query.with_payload))
        assert answer.points == alone.points and len(answer.points) == query.limit

    path = f"/collections/{name}/points/query/batch"
    status, reply = cluster.json("POST", path, {"searches": [{"query": points[0].vector, "limit": 2}] * 2})
    assert status == 200 and [each["coverage"]["complete"] for each in reply["covey"]["searches"]] == [True, True], reply
    assert cluster.json("POST", path, {"searches": []})[1]["result"] == []
    good = {"query": points[0].vector}
    for searches, word in [
        ([good, {**good, "limit": 0}], "searches[1].limit"), ([good, {**good, "query": [1]}], "dimension"), ([{**good, "limit": 6000}] * 2, "12000"),
        ([good, {}], "searches[1].query"), ([good, 7], "searches[1]"), ({}, "searches"),
    ]:
        status, reply = cluster.json("POST", path, {"searches": searches})
        assert status in (400, 501) and word in reply["status"]["error"], reply
    assert cluster.json("POST", f"/collections/{name}-absent/points/query/batch", {"searches": [good]})[0] == 404


def test_a_query_explains_points_whether_it_finds_them_or_not(cluster, client, collection):
    name, points = collection
    query = gaussian(8, 1)[0]
    order = sorted(points, key=lambda point: -dot(point.vector, query))
    ids = [order[0].id, order[30].id, 10_000_000]
    body = {"query": query, "limit": 5, "covey": {"explain": ids}, "filter": {"must_not": [{"key": "n", "match": {"value": order[1].payload["n"]}}]}}
    status, reply = cluster.json("POST", f"/collections/{name}/points/query", {**body, "covey": {"explain": [*ids, order[1].id]}})
    assert status == 200, reply
    best, worse, unknown, refused_one = reply["covey"]["explanations"]
    assert [each["id"] for each in (best, worse, unknown, refused_one)] == [*ids, order[1].id]
    assert (best["step"], best["place"]) == ("hit", 1) and best["score"] == pytest.approx(dot(order[0].vector, query), rel=1e-5)
    assert worse["step"] in ("rank", "merge") and "place" not in worse and worse["exact"]["rank"] <= worse["exact"]["of"]
    assert unknown["step"] == "unknown" and "score" not in unknown
    assert refused_one["step"] == "filter" and "exact" not in refused_one
    assert "explanations" not in cluster.json("POST", f"/collections/{name}/points/query", {"query": query})[1]["covey"]
    for bad, word in [({"explain": list(range(17))}, "17"), ({"explain": [-1]}, "covey.explain[0]"), ({"explained": []}, "covey.explained")]:
        status, reply = cluster.json("POST", f"/collections/{name}/points/query", {**body, "covey": bad})
        assert status == 400 and word in reply["status"]["error"], reply

"""Payloads are free, so whoever may write points may write chunks and documents that are none: they harm nobody."""

import uuid

import openai
import pytest

OWLS = "# Owls\n\nThe tawny owl eats wood mice and bank voles.\n"
QUESTION = [{"role": "user", "content": "What does the tawny owl eat?"}]
EXTREMES = [-(2**63), -1, 10**15, 2**63 - 1]


@pytest.fixture(scope="module")
def client(cluster):
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def store(client):
    store = client.vector_stores.create(name=f"payloads-{uuid.uuid4().hex[:12]}")
    yield store.id
    client.vector_stores.delete(store.id)


def attach(client, store, text):
    file = client.files.create(file=("owls.md", text.encode()), purpose="assistants")
    return client.vector_stores.files.create_and_poll(file.id, vector_store_id=store, attributes={"document": "owls"})


def points(cluster, store):
    status, reply = cluster.json("POST", f"/collections/{store}/points/scroll", {"limit": 100, "with_payload": True, "with_vector": True})
    assert status == 200
    return reply["result"]["points"]


def upsert(cluster, store, point, **more):
    body = {"points": [{**point, "payload": {**point["payload"], **more}}]}
    assert cluster.json("PUT", f"/collections/{store}/points?wait=true", body)[0] == 200


@pytest.mark.parametrize("start, end", [(-(2**63), 37), (-(2**63), 2**63 - 1), (2**63 - 1, -(2**63)), (100, 120), (-5, 32)])
def test_a_chunk_whose_range_is_not_its_texts_is_no_source(client, cluster, store, start, end):
    assert attach(client, store, OWLS).status == "completed"
    [chunk] = points(cluster, store)
    upsert(cluster, store, {**chunk, "id": str(uuid.uuid4())}, text="The tawny owl eats nothing but moths.", chunk=1, start=start, end=end)
    for stream in (False, True):
        reply = client.chat.completions.create(model=store, messages=QUESTION, stream=stream)
        text = "".join(each.choices[0].delta.content or "" for each in reply) if stream else reply.choices[0].message.content
        assert "wood mice" in text and "moths" not in text
    found = client.vector_stores.search(store, query="tawny owl").data
    assert ["wood mice" in hit.content[0].text for hit in found] == [True]


def test_chunks_that_are_too_large_together_keep_no_other_out(client, cluster, store):
    assert attach(client, store, OWLS).status == "completed"
    [chunk] = points(cluster, store)
    for number in range(3):
        text = f"There is nothing in part {number}. " * 20_000
        upsert(cluster, store, {**chunk, "id": str(uuid.UUID(int=number))}, text=text, chunk=1, start=0, end=len(text))
    reply = client.chat.completions.create(model=store, messages=QUESTION)
    assert "wood mice" in reply.choices[0].message.content


@pytest.mark.parametrize("chunks", EXTREMES)
def test_a_document_that_says_any_number_of_chunks_is_replaced_and_deleted(client, cluster, store, chunks):
    for text in (OWLS, OWLS + "\nIt hunts at night.\n"):
        attached = attach(client, store, text)
        assert attached.status == "completed", attached
        [chunk] = points(cluster, store)
        upsert(cluster, store, chunk, file={**chunk["payload"]["file"], "chunks": chunks, "bytes": chunks, "created_at": chunks})
        assert client.vector_stores.files.retrieve(attached.id, vector_store_id=store).status == "completed"
    client.vector_stores.files.delete(attached.id, vector_store_id=store)
    assert points(cluster, store) == []

"""OpenAI's own client, unmodified, against real processes: files, vector stores, retrieval, chat, embeddings."""

import base64
import http.client
import json
import math
import struct
import uuid
from urllib.parse import urlparse

import openai
import pytest

OWLS = """# The tawny owl

## Food

The tawny owl hunts at night. It eats wood mice, voles and beetles. In wet summers earthworms make up a large part of its
meals, and in towns it takes sparrows from their roosts. It waits on a branch, listens, and drops on its prey without a
sound; small animals are swallowed whole, and what cannot be digested is brought up again as a pellet of fur and bones.

## Nests

The tawny owl nests in hollow trees. The female lays two or three white eggs in March. She sits on them alone for thirty
days while the male brings food to the hole. The young leave the nest before they can fly and climb about in the branches,
where both parents feed them until late in the summer.
"""
FERRIES = """# Harbour ferries

## Timetable

The last ferry to the island leaves at a quarter past eleven in the evening. The first one leaves at six in the morning, and
between them there is a boat every forty minutes. On Sundays and holidays the first boat is at eight. In fog and storm the
boats stay in the harbour; a red lamp on the pier then says so, and the times are read out on the local radio.

## Tickets

A return ticket costs nine euros. Children under six travel free of charge. Tickets are sold at the pier and on board, where
only coins are taken. Whoever crosses often buys a card of ten crossings, which is valid for a year and may be given to
others. Bicycles cost two euros more, dogs travel with their owners and pay nothing.
"""


@pytest.fixture(scope="module")
def client(cluster):
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def upload(client, name, text, kind="text/markdown"):
    return client.files.create(file=(name, text.encode(), kind), purpose="assistants")


@pytest.fixture(scope="module")
def library(client):
    """A vector store of two documents."""
    store = client.vector_stores.create(name=f"library-{uuid.uuid4().hex[:12]}", metadata={"shelf": "3"})
    for name, text, attributes in (
        ("owls.md", OWLS, {"document": "birds/owls.md", "topic": "birds", "year": 2020}),
        ("ferries.md", FERRIES, {"document": "sea/ferries.md", "topic": "sea", "year": 2024}),
    ):
        file = upload(client, name, text)
        attached = client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id, attributes=attributes)
        assert attached.status == "completed", attached
    yield store
    client.vector_stores.delete(store.id)


def test_files_are_stored_listed_read_and_deleted(client):
    text = f"A file of its own: {uuid.uuid4()}"
    file = upload(client, "own file.txt", text, "text/plain")
    assert (file.object, file.filename, file.bytes, file.purpose) == ("file", "own file.txt", len(text), "assistants")
    assert upload(client, "own file.txt", text, "text/plain").id == file.id
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == text.encode()
    newest = client.files.list(limit=1, order="desc").data[0]
    assert newest.id == file.id
    assert file.id in [each.id for each in client.files.list(purpose="assistants")]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        client.files.delete(file.id)


def test_a_file_can_be_told_to_go_with_its_last_document(client):
    store = client.vector_stores.create(name=f"passing-{uuid.uuid4().hex[:8]}")
    passing = client.files.create(file=("a.md", OWLS.encode()), purpose="assistants", extra_body={"covey": {"lifetime": "while_attached"}})
    staying = upload(client, "a.md", OWLS)
    assert passing.id != staying.id
    for file in (passing, staying):
        client.vector_stores.files.create(store.id, file_id=file.id)
    client.vector_stores.delete(store.id)
    assert client.files.retrieve(staying.id).id == staying.id
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(passing.id)
    with pytest.raises(openai.BadRequestError, match="while_attached"):
        client.files.create(file=("a.md", b"a"), purpose="assistants", extra_body={"covey": {"lifetime": "forever"}})


def test_files_for_other_purposes_are_refused(client):
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")
    assert caught.value.status_code == 501 and "fine-tune" in str(caught.value)
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.files.create(file=("a.txt", b""), purpose="assistants")


def test_vector_stores_are_made_listed_described_and_deleted(client):
    names = sorted(f"store-{uuid.uuid4().hex[:8]}" for _ in range(3))
    for name in names:
        assert client.vector_stores.create(name=name).id == name
    unnamed = client.vector_stores.create()
    assert unnamed.id.startswith("vs_") and unnamed.status == "completed"
    listed = [store.id for store in client.vector_stores.list(limit=2, order="asc")]  # the client turns the pages
    assert set(names + [unnamed.id]) <= set(listed) and len(listed) == len(set(listed))
    assert client.vector_stores.retrieve(names[0]).file_counts.total == 0
    with pytest.raises(openai.ConflictError, match=names[0]):
        client.vector_stores.create(name=names[0])
    with pytest.raises(openai.APIStatusError) as caught:
        client.vector_stores.update(names[0], name="other")
    assert caught.value.status_code == 501
    # A name that can be no collection's is a label, of which there may be several.
    labelled = [client.vector_stores.create(name=name, metadata={"shelf": "3"}) for name in ("Support FAQ", "Support FAQ", "Müller")]
    assert [store.name for store in labelled] == ["Support FAQ", "Support FAQ", "Müller"] and len({store.id for store in labelled}) == 3
    for store in labelled:
        assert store.id.startswith("vs_") and store.metadata == {"shelf": "3"}
        assert client.vector_stores.retrieve(store.id).name == store.name
        assert [each.name for each in client.vector_stores.list() if each.id == store.id] == [store.name]
    for name in names + [store.id for store in [unnamed, *labelled]]:
        assert client.vector_stores.delete(name).deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(names[0])
    for arguments in ({"expires_after": {"anchor": "last_active_at", "days": 1}}, {"extra_body": {"colour": "red"}}):
        with pytest.raises(openai.APIStatusError, match="expires_after|colour"):
            client.vector_stores.create(name="never", **arguments)


def test_a_store_knows_its_documents(client, library):
    store = client.vector_stores.retrieve(library.id)
    assert store.file_counts.completed == store.file_counts.total == 2
    assert store.metadata == {"shelf": "3"}
    files = list(client.vector_stores.files.list(library.id, limit=1))  # two pages
    assert {f.model_extra["covey"]["document"] for f in files} == {"birds/owls.md", "sea/ferries.md"}
    ordered = [f.id for f in client.vector_stores.files.list(library.id, order="asc", limit=1)]
    assert sorted(ordered) == sorted(f.id for f in files)
    one = client.vector_stores.files.retrieve(files[0].id, vector_store_id=library.id)
    assert one.attributes == files[0].attributes and one.vector_store_id == library.id


def test_the_same_file_again_changes_nothing_and_a_changed_one_replaces_its_chunks(client, cluster):
    name = f"versions-{uuid.uuid4().hex[:8]}"
    client.vector_stores.create(name=name)

    def ingest(text):
        file = upload(client, "story.md", text)
        return client.vector_stores.files.create(name, file_id=file.id, attributes={"document": "story"})

    def shards():
        return cluster.json("GET", f"/collections/{name}")[1]["result"]["covey"]["shards"]

    paragraphs = [f"## Part {i}\n\n" + f"The traveller of part {i} walked on and on through valley {i}. " * 20 for i in range(12)]
    first = ingest("# Story\n\n" + "\n\n".join(paragraphs))
    before = shards()
    assert ingest("# Story\n\n" + "\n\n".join(paragraphs)) == first
    assert shards() == before
    second = ingest("# Story\n\nThe traveller came home.")
    assert second.id != first.id
    assert sum(shard["points"] for shard in shards()) == second.model_extra["covey"]["chunks"] < first.model_extra["covey"]["chunks"]
    assert [f.id for f in client.vector_stores.files.list(name)] == [second.id]
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.files.retrieve(first.id, vector_store_id=name)
    found = client.vector_stores.search(name, query="valley of the traveller").data
    assert {hit.file_id for hit in found} == {second.id}
    # A client's own upload stays until it is deleted, and is free for another document.
    assert client.files.retrieve(first.id).status == "processed"
    again = client.vector_stores.files.create(name, file_id=first.id, attributes={"document": "older story"})
    client.vector_stores.files.delete(again.id, vector_store_id=name)
    client.vector_stores.files.delete(second.id, vector_store_id=name)
    assert client.vector_stores.search(name, query="valley").data == []
    client.vector_stores.delete(name)


def test_deleting_a_file_removes_its_documents(client):
    store = client.vector_stores.create(name=f"gone-{uuid.uuid4().hex[:8]}")
    file = upload(client, "gone.md", OWLS + uuid.uuid4().hex)
    client.vector_stores.files.create(store.id, file_id=file.id)
    assert client.vector_stores.search(store.id, query="owl").data
    client.files.delete(file.id)
    assert client.vector_stores.search(store.id, query="owl").data == []
    client.vector_stores.delete(store.id)


def test_a_file_that_cannot_be_read_is_reported_as_failed(client):
    store = client.vector_stores.create(name=f"bad-{uuid.uuid4().hex[:8]}")
    file = upload(client, "bad.pdf", "%PDF-1.4 but no more", "application/pdf")
    failed = client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id)
    assert failed.status == "failed" and failed.last_error.code == "invalid_file" and failed.last_error.message
    assert client.vector_stores.retrieve(store.id).file_counts.total == 0
    client.vector_stores.delete(store.id)


def test_search_finds_the_chunk_and_filters_on_attributes(client, library):
    hit = client.vector_stores.search(library.id, query="When does the last boat go?").data[0]
    assert hit.filename == "ferries.md" and "quarter past eleven" in hit.content[0].text
    assert hit.attributes["topic"] == "sea" and 0 < hit.score <= 1
    place = hit.model_extra["covey"]
    assert place["document"] == "sea/ferries.md" and place["headings"][-1] == "Timetable"
    assert FERRIES.encode()[place["start"] : place["end"]].decode() == hit.content[0].text

    def topics(filters, **more):
        return {h.attributes["topic"] for h in client.vector_stores.search(library.id, query="owl", filters=filters, **more).data}

    assert topics({"type": "eq", "key": "topic", "value": "sea"}) == {"sea"}
    assert topics({"type": "ne", "key": "topic", "value": "sea"}) == {"birds"}
    assert topics({"type": "gt", "key": "year", "value": 2020}) == {"sea"}
    assert topics({"type": "lte", "key": "year", "value": 2020}) == {"birds"}
    assert topics({"type": "in", "key": "topic", "value": ["sea", "birds"]}) == {"sea", "birds"}
    assert topics({"type": "nin", "key": "topic", "value": ["sea"]}) == {"birds"}
    both = {"type": "and", "filters": [{"type": "eq", "key": "topic", "value": "sea"}, {"type": "lt", "key": "year", "value": 2000}]}
    assert topics(both) == set()
    assert topics({**both, "type": "or"}) == {"sea"}
    assert len(client.vector_stores.search(library.id, query=["owl", "ferry"], max_num_results=2).data) == 2
    high = {"ranker": "auto", "score_threshold": 0.999}
    assert client.vector_stores.search(library.id, query="owl", ranking_options=high).data == []


def test_search_options_that_are_not_supported_are_refused(client, library):
    for more, status in (
        ({"rewrite_query": True}, 501), ({"max_num_results": 51}, 400), ({"ranking_options": {"ranker": "default-2024-11-15"}}, 501),
        ({"filters": {"type": "like", "key": "a", "value": "b"}}, 400), ({"query": ""}, 400), ({"query": "word " * 2_000}, 400),
        ({"extra_body": {"colour": 1}}, 400),
    ):
        with pytest.raises(openai.APIStatusError) as caught:
            client.vector_stores.search(library.id, **{"query": "owl", **more})
        assert caught.value.status_code == status, more


def ask(client, library, question, history=(), **more):
    messages = [*history, {"role": "user", "content": question}]
    return client.chat.completions.create(model=library.id, messages=messages, **more)


def test_a_question_is_answered_with_its_sources(client, library):
    reply = ask(client, library, "Where does the tawny owl nest?")
    message = reply.choices[0].message
    assert reply.object == "chat.completion" and reply.model == library.id and reply.choices[0].finish_reason == "stop"
    assert "hollow trees" in message.content and "[1]" in message.content
    covey = message.model_extra["covey"]
    assert not covey["refused"] and covey["citations_removed"] == 0
    assert [source["number"] for source in covey["sources"]] == list(range(1, len(covey["sources"]) + 1))
    best = covey["sources"][0]
    assert best["document"] == "birds/owls.md" and best["headings"][-1] == "Nests"
    assert covey["coverage"]["complete"]
    for citation in covey["citations"]:
        assert citation["quote"] == "" or OWLS.encode()[citation["start"] : citation["end"]].decode() == citation["quote"]
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_stream_says_the_same_as_the_whole_answer(client, library):
    question = "How many eggs does the tawny owl lay?"
    whole = ask(client, library, question).choices[0].message
    chunks = list(ask(client, library, question, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.content
    last = [c for c in chunks if c.choices][-1]
    assert last.choices[0].finish_reason == "stop"
    assert last.choices[0].delta.model_extra["covey"]["sources"] == whole.model_extra["covey"]["sources"]
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens >= 0
    assert len({c.id for c in chunks}) == 1
    assert all(c.usage is None for c in ask(client, library, question, stream=True))


def test_a_short_follow_up_is_understood_from_the_question_before(client, library):
    history = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "What does a ferry ticket cost?"},
        {"role": "assistant", "content": "Nine euros."},
    ]
    reply = ask(client, library, "And for children?", history)
    best = reply.choices[0].message.model_extra["covey"]["sources"][0]
    assert best["document"] == "sea/ferries.md" and best["headings"][-1] == "Tickets"
    # An earlier answer may be sent back as it came, with what this server put beside it.
    again = ask(client, library, "And for children?", [history[1], reply.choices[0].message])
    assert again.choices[0].message.content


def test_chat_extensions(client, library):
    reply = ask(client, library, "What does the tawny owl eat?", extra_body={"covey": {"limit": 1, "show_prompt": True, "extractive": True}})
    covey = reply.choices[0].message.model_extra["covey"]
    assert len(covey["sources"]) == 1 and "tawny owl eat" in covey["prompt"]
    sea = {"must": [{"key": "attributes.topic", "match": {"value": "sea"}}]}
    reply = ask(client, library, "What does the tawny owl eat?", extra_body={"covey": {"filter": sea, "partial": "fail"}})
    assert {s["document"] for s in reply.choices[0].message.model_extra["covey"]["sources"]} == {"sea/ferries.md"}


@pytest.mark.parametrize(
    "more, status, word",
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 501, "tools"), ({"n": 2}, 501, "n"), ({"seed": 1}, 501, "seed"),
        ({"response_format": {"type": "json_object"}}, 501, "response_format"), ({"temperature": 3}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens"), ({"extra_body": {"covey": {"limt": 1}}}, 400, "covey.limt"),
        ({"extra_body": {"covey": {"limit": 51}}}, 400, "covey.limit"), ({"extra_body": {"colour": 1}}, 400, "colour"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"), ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, 501, "messages[0].content[0].type"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
    ],
)
def test_chat_options_that_are_not_supported_are_refused_by_name(client, library, more, status, word):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{"model": library.id, "messages": [{"role": "user", "content": "owl?"}], **more})
    assert caught.value.status_code == status and word in caught.value.body["message"], caught.value.body
    assert caught.value.request_id


def test_what_is_not_supported_is_asked_for_once(cluster, library):
    sent = []
    http_client = openai.DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(request.url.path)]})
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="unused", max_retries=2, http_client=http_client) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, library, "owl?", seed=1)
    assert caught.value.status_code == 501 and sent == ["/v1/chat/completions"]


def test_more_tokens_than_an_answer_gets_may_be_allowed(client, library):
    for field in ("max_tokens", "max_completion_tokens"):
        assert "hollow trees" in ask(client, library, "Where does the tawny owl nest?", **{field: 100_000}).choices[0].message.content


def test_a_conversation_may_go_on_for_ever(client, library):
    history = [{"role": ["user", "assistant"][i % 2], "content": f"Turn {i}: " + "word " * 100} for i in range(1_500)]
    assert "hollow trees" in ask(client, library, "Where does the tawny owl nest?", history).choices[0].message.content


def test_a_stream_of_a_question_that_is_too_long_is_refused_before_it_begins(client, library):
    with pytest.raises(openai.BadRequestError, match="the limit is 16384"):
        ask(client, library, "owl " * 5_000, stream=True)


def test_the_question_counts_behind_a_long_message_and_a_long_turn(client, library):
    talk = "My neighbour told me about the weather in the mountains, and about the guests who came to dinner last week. " * 30
    only = {"extra_body": {"covey": {"limit": 1}}}

    def best(question, history=()):
        return ask(client, library, question, history, **only).choices[0].message.model_extra["covey"]["sources"][0]["headings"][-1]

    assert best(talk + "What does a return ticket for the ferry cost?") == "Tickets"
    assert best(talk + "\n\nWhere does the tawny owl nest?") == "Nests"
    assert best("And ferry tickets?", [{"role": "user", "content": talk}, {"role": "assistant", "content": "I see."}]) == "Tickets"


def test_models_are_the_collections_that_hold_documents(client, cluster, library):
    assert library.id in [model.id for model in client.models.list()]
    assert client.models.retrieve(library.id).object == "model"
    plain = f"plain-{uuid.uuid4().hex[:8]}"
    cluster.json("PUT", f"/collections/{plain}", {"vectors": {"size": 4, "distance": "Dot"}})
    assert plain not in [model.id for model in client.models.list()]
    for call in (
        lambda: client.models.retrieve(plain),
        lambda: client.vector_stores.retrieve(plain),
        lambda: client.chat.completions.create(model=plain, messages=[{"role": "user", "content": "x"}]),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    cluster.json("DELETE", f"/collections/{plain}")


def test_embeddings_as_floats_and_as_base64(client, cluster, library):
    model = client.vector_stores.retrieve(library.id).model_extra["covey"]["embedding_model"]
    texts = ["The owl hunts at night.", "A bird of prey looks for food in the dark.", "Tickets cost nine euros."]
    reply = client.embeddings.create(model=model, input=texts)  # the client asks for base64
    vectors = [each.embedding for each in reply.data]
    assert [each.index for each in reply.data] == [0, 1, 2] and reply.usage.prompt_tokens > 10
    assert all(math.isclose(sum(x * x for x in v), 1, rel_tol=1e-4) for v in vectors)
    near, far = (sum(a * b for a, b in zip(vectors[0], v)) for v in vectors[1:])
    assert near > far
    body = {"model": model, "input": texts[0]}
    floats = cluster.json("POST", "/v1/embeddings", {**body, "encoding_format": "float"})[1]["data"][0]["embedding"]
    packed = base64.b64decode(cluster.json("POST", "/v1/embeddings", {**body, "encoding_format": "base64"})[1]["data"][0]["embedding"])
    assert [struct.unpack("f", struct.pack("f", x))[0] for x in floats] == list(struct.unpack(f"<{len(floats)}f", packed))
    assert client.embeddings.create(model=model, input="one", dimensions=len(floats)).data[0].embedding
    for more, error in (
        ({"input": []}, openai.BadRequestError), ({"input": ""}, openai.BadRequestError), ({"input": "word " * 2_000}, openai.BadRequestError),
        ({"model": "other"}, openai.NotFoundError), ({"dimensions": 8}, openai.APIStatusError), ({"input": [1, 2]}, openai.APIStatusError),
    ):
        with pytest.raises(error):
            client.embeddings.create(**{"model": model, "input": "one", **more})


def test_a_client_that_leaves_during_a_stream_does_no_harm(client, cluster, library):
    at = urlparse(cluster.url)
    body = json.dumps({"model": library.id, "stream": True, "messages": [{"role": "user", "content": "What does the owl eat?"}]})
    for _ in range(20):
        connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        connection.close()
    assert ask(client, library, "What does the tawny owl eat?").choices[0].message.content

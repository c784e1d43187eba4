"""Servers of models as Azure OpenAI and OpenAI have them: paths, keys, tokens, limits, filters, their errors, proxies, own authorities.

`azure_stand_in.py` plays both. What it does is held against the `openai` package first.
"""

import json
import ssl
import subprocess
import sys
import time

import httpx
import openai
import pytest
from azure_stand_in import HARM, AzureStandIn, Refusal, http_date, rate_limited, tokens, unavailable
from conftest import free_ports
from test_http import call
from test_tls import certificates

QUESTION = "How deep is Lake Baikal?"
PAGE = "# Lake Baikal\n\nLake Baikal is 1,642 metres deep. It is the deepest lake of the world.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certificates"), "--host", "localhost")


@pytest.fixture(scope="module")
def stand_in(folder):
    server = AzureStandIn(certificate=(folder / "gateway.pem", folder / "gateway.key"))
    yield server
    server.close()


def settings(stand_in, folder, **more):
    """Of a cluster that embeds and answers with the stand-in as Azure."""
    return {
        "embedding.api": "azure", "embedding.url": stand_in.url, "embedding.model": "text-embedding-3-large", "embedding.deployment": "embed",
        "embedding.dimension": 256, "embedding.send_dimension": "yes", "embedding.maximum_tokens": 8_192, "embedding.api_key": stand_in.key,
        "generation.api": "azure", "generation.url": stand_in.url, "generation.model": "gpt-4o", "generation.deployment": "chat",
        "generation.api_key": stand_in.key, "models.ca_file": str(folder / "authority.pem"), **more,
    }


@pytest.fixture(scope="module")
def library(make_cluster, stand_in, folder):
    """A coordinator, a shard node and a generator, each a process of its own, with one document."""
    cluster = make_cluster(shards=1, settings=settings(stand_in, folder))
    (cluster.folder / "baikal.md").write_text(PAGE)
    ingested = cluster.covey("ingest", str(cluster.folder / "baikal.md"), "-c", "lakes")
    assert ingested.returncode == 0, ingested.stderr
    return cluster


@pytest.fixture(autouse=True)
def calm(stand_in):
    """The stand-in as it is at first."""
    stand_in.forget()
    yield
    for operation in ("embeddings", "chat/completions"):
        stand_in.script(operation)
    stand_in.key, stand_in.context, stand_in.tokens = "azure-secret", 4_096, {"entra-token-1"}
    stand_in.forget()


def ask(cluster, question=QUESTION, **more):
    """Status, headers and JSON of a chat request to the collection."""
    status, headers, text = call(cluster, "POST", "/v1/chat/completions", {"model": "lakes", "messages": [{"role": "user", "content": question}], **more})
    return status, headers, json.loads(text)


def embed(cluster, texts=("a lake",), model="text-embedding-3-large"):
    status, headers, text = call(cluster, "POST", "/v1/embeddings", {"model": model, "input": list(texts)})
    return status, headers, json.loads(text)


def waits(stand_in, operation):
    times = [request["time"] for request in stand_in.seen(operation)]
    return [later - earlier for earlier, later in zip(times, times[1:])]


# MARK: the stand-in itself

def test_openais_own_client_takes_the_stand_in_for_azure(stand_in, folder):
    def client(**more):
        http = httpx.Client(verify=ssl.create_default_context(cafile=folder / "authority.pem"))
        return openai.AzureOpenAI(
            azure_endpoint=stand_in.url, api_version="2024-10-21", max_retries=0, http_client=http, **({"api_key": stand_in.key} | more))

    azure = client()
    vectors = azure.embeddings.create(model="embed", input=["a", "b"], dimensions=8).data
    assert [len(item.embedding) for item in vectors] == [8, 8]
    chunks = list(azure.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "Hello"}], stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices == [] and chunks[0].model_extra["prompt_filter_results"] and chunks[-1].usage.total_tokens > 0
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == stand_in.answer
    with pytest.raises(openai.BadRequestError) as caught:
        azure.chat.completions.create(model="chat", messages=[{"role": "user", "content": HARM}])
    assert caught.value.code == "content_filter" and caught.value.body["innererror"]["content_filter_result"]["violence"]["filtered"]
    with pytest.raises(openai.AuthenticationError):
        client(api_key="wrong").embeddings.create(model="embed", input="a")
    with pytest.raises(openai.NotFoundError):
        azure.embeddings.create(model="none", input="a")
    assert len(client(api_key=None, azure_ad_token="entra-token-1").embeddings.create(model="embed", input="a").data) == 1
    stand_in.script("embeddings", rate_limited(3))
    with pytest.raises(openai.RateLimitError) as caught:
        azure.embeddings.create(model="embed", input="a")
    assert caught.value.response.headers["retry-after"] == "3"


# MARK: what is asked

def test_paths_keys_and_dimensions_are_azures(library, stand_in):
    stand_in.forget()
    status, _, reply = ask(library)
    assert status == 200 and reply["choices"][0]["message"]["content"] == stand_in.answer and reply["choices"][0]["finish_reason"] == "stop"
    covey = reply["choices"][0]["message"]["covey"]
    assert covey["answered_by"] == "gpt-4o" and covey["citations"][0]["source"] == 1
    assert reply["usage"]["completion_tokens"] == tokens(stand_in.answer)
    [embedding], [chat] = stand_in.seen("embeddings"), stand_in.seen("chat/completions")
    assert embedding["path"] == "/openai/deployments/embed/embeddings?api-version=2024-10-21"
    assert chat["path"] == "/openai/deployments/chat/chat/completions?api-version=2024-10-21"
    assert embedding["body"]["dimensions"] == 256
    for request in (embedding, chat):
        assert request["headers"]["api-key"] == stand_in.key and "authorization" not in request["headers"]


def test_a_stream_passes_azures_first_chunk_that_has_no_choice(library, stand_in):
    with openai.OpenAI(base_url=f"{library.url}/v1", api_key="-", max_retries=0) as client:
        chunks = list(client.chat.completions.create(model="lakes", messages=[{"role": "user", "content": QUESTION}], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == stand_in.answer
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("kind", ["openai", "azure-v1", "reasoning", "other-header", "token"])
def test_other_ways_to_ask(make_cluster, stand_in, folder, kind):
    more = {
        "openai": {"embedding.url": f"{stand_in.url}/v1", "generation.url": f"{stand_in.url}/v1"},
        # Azure's newer path is OpenAI's API; a model's name there is a deployment's.
        "azure-v1": {"embedding.url": f"{stand_in.url}/openai/v1/", "generation.url": f"{stand_in.url}/openai/v1", "embedding.key_header": "api-key", "generation.key_header": "api-key"},
        "reasoning": {"generation.url": f"{stand_in.url}/v1", "generation.model": "o4-mini", "generation.token_limit_field": "max_completion_tokens", "generation.send_temperature": "no"},
        "other-header": {"embedding.key_header": "Api-Key", "embedding.api": "azure", "embedding.api_version": "2025-01-01-preview"},
        "token": {"embedding.api_key": "", "embedding.token": "entra-token-1", "generation.api_key": "", "generation.token": "entra-token-1"},
    }[kind]
    api = {"other-header": {}, "token": {}, "reasoning": {"generation.api": "openai"}}.get(kind, {"embedding.api": "openai", "generation.api": "openai"})
    stand_in.deployments["o4-mini"] = "o4-mini"
    cluster = make_cluster(serve=True, settings=settings(stand_in, folder, **api, **more))
    (cluster.folder / "baikal.md").write_text(PAGE)
    assert cluster.covey("ingest", str(cluster.folder / "baikal.md"), "-c", "lakes").returncode == 0
    stand_in.forget()
    status, _, reply = ask(cluster)
    assert status == 200 and reply["choices"][0]["message"]["content"] == stand_in.answer, reply
    [embedding], [chat] = stand_in.seen("embeddings"), stand_in.seen("chat/completions")
    if kind == "openai":
        assert embedding["path"] == "/v1/embeddings" and embedding["headers"]["authorization"] == f"Bearer {stand_in.key}" and "api-key" not in embedding["headers"]
    elif kind == "azure-v1":
        assert chat["path"] == "/openai/v1/chat/completions" and chat["headers"]["api-key"] == stand_in.key and "authorization" not in chat["headers"]
    elif kind == "reasoning":
        assert "max_completion_tokens" in chat["body"] and not {"max_tokens", "temperature"} & set(chat["body"])
    elif kind == "other-header":
        assert embedding["path"].endswith("api-version=2025-01-01-preview")
    else:
        assert chat["headers"]["authorization"] == "Bearer entra-token-1" and "api-key" not in chat["headers"]
    cluster.stop()


def test_a_token_file_is_read_again(make_cluster, stand_in, folder, tmp_path):
    file = tmp_path / "token"
    file.write_text("entra-token-1\n")
    keys = {"embedding.api_key": "", "embedding.token_file": str(file), "generation.api_key": "", "generation.token_file": str(file)}
    cluster = make_cluster(serve=True, settings=settings(stand_in, folder, **keys))
    assert embed(cluster)[0] == 200
    stand_in.tokens = {"entra-token-2"}
    status, _, reply = embed(cluster)
    assert status == 502 and reply["error"]["code"] == "model_server" and "refused the API key (401)" in reply["error"]["message"]
    (tmp_path / "new").write_text("entra-token-2")
    (tmp_path / "new").rename(file)
    assert embed(cluster)[0] == 200
    file.unlink()
    status, _, reply = embed(cluster)
    assert status == 502 and f"{file} cannot be read" in reply["error"]["message"]
    assert "entra-token" not in cluster.log("serve")
    cluster.stop()


def test_batches_keep_to_azures_limits(make_cluster, stand_in, folder):
    cluster = make_cluster(serve=True, settings=settings(stand_in, folder, **{"embedding.batch_texts": 2_048, "embedding.send_dimension": "no", "embedding.dimension": 64}))
    stand_in.forget()
    short = [f"word{i}" for i in range(2_048)]
    status, _, reply = embed(cluster, short)
    assert status == 200 and [len(request["body"]["input"]) for request in stand_in.seen("embeddings")] == [2_048]
    stand_in.forget()
    # 2,048 texts of some 250 tokens are above 300,000 in one request.
    long = [" ".join(f"w{i}x{j}" for j in range(125)) for i in range(2_048)]
    assert sum(map(tokens, long)) > 300_000
    status, _, reply = embed(cluster, long)
    assert status == 200 and len(reply["data"]) == 2_048
    inputs = [request["body"]["input"] for request in stand_in.seen("embeddings")]
    assert len(inputs) > 1 and sum(map(len, inputs)) == 2_048
    assert all(len(texts) <= 2_048 and sum(map(tokens, texts)) <= 300_000 for texts in inputs)
    assert "dimensions" not in stand_in.seen("embeddings")[0]["body"]
    # A text that the model does not take whole, where the operator's figure would let it pass.
    cluster.stop()
    lax = make_cluster(serve=True, settings=settings(stand_in, folder, **{"embedding.maximum_tokens": 1_000_000}))
    stand_in.forget()
    status, _, reply = embed(lax, ["word " * 9_000])
    assert status == 400 and reply["error"]["code"] == "context_length_exceeded" and "8192 tokens" in reply["error"]["message"]
    assert len(stand_in.seen("embeddings")) == 1
    lax.stop()


# MARK: what is refused

@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_the_filter_refuses_is_an_error_that_says_so(library, stand_in, stream):
    with openai.OpenAI(base_url=f"{library.url}/v1", api_key="-", max_retries=0) as client:
        messages = [{"role": "user", "content": f"Is Lake Baikal {HARM}?"}]
        with pytest.raises(openai.APIError) as caught:
            for _ in client.chat.completions.create(model="lakes", messages=messages, stream=stream):
                pass
    assert caught.value.code == "content_filter" and "violence high" in str(caught.value) and "content management policy" in str(caught.value)
    if not stream:
        assert caught.value.status_code == 400
    assert len(stand_in.seen("chat/completions")) == 1, "a refusal was repeated"
    asked = library.covey("ask", "-c", "lakes", f"Is Lake Baikal {HARM}?")
    assert asked.returncode != 0 and "content filter refused the prompt" in asked.stderr


def test_an_answer_that_the_filter_ends_says_so(library, stand_in):
    end = lambda handler: stand_in.stream(handler, "gpt-4o", "Lake Baikal is", True, finish="content_filter")
    stand_in.script("chat/completions", end, end, lambda handler: stand_in.stream(handler, "gpt-4o", "", True, finish="content_filter"))
    status, _, reply = ask(library)
    [choice] = reply["choices"]
    assert status == 200 and choice["finish_reason"] == "content_filter" and choice["message"]["content"] == "Lake Baikal is"
    assert choice["message"]["covey"]["refused"] is False
    with openai.OpenAI(base_url=f"{library.url}/v1", api_key="-", max_retries=0) as client:
        chunks = list(client.chat.completions.create(model="lakes", messages=[{"role": "user", "content": QUESTION}], stream=True))
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    # Nothing left of it is no word that the sources do not answer.
    [choice] = ask(library)[2]["choices"]
    assert choice["finish_reason"] == "content_filter" and choice["message"]["content"] == "" and choice["message"]["covey"]["refused"] is False


def test_an_error_within_a_stream_is_passed_on(library, stand_in):
    def broken(handler):
        handler.begin_stream()
        handler.event({"error": {"code": "content_filter", "message": "The response was filtered."}})

    stand_in.script("chat/completions", broken)
    status, _, reply = ask(library)
    assert status == 400 and reply["error"]["code"] == "content_filter"


@pytest.mark.parametrize(
    "headers, least, most",
    [
        ({"retry-after": "2"}, 2, 8), (lambda: {"retry-after": http_date(3)}, 1.5, 9), ({"retry-after-ms": "1200", "retry-after": "2"}, 1.2, 6),
        (lambda: {"retry-after": http_date(-60)}, 0, 5), ({}, 0, 5), ({"retry-after": "soon"}, 0, 5),
    ],
    ids=["seconds", "date", "milliseconds", "past date", "none", "nonsense"],
)
def test_a_request_is_repeated_when_the_server_says(library, stand_in, headers, least, most):
    for operation, run in (("embeddings", lambda: embed(library)), ("chat/completions", lambda: ask(library))):
        refusal = rate_limited(None)
        refusal.headers = headers() if callable(headers) else headers
        stand_in.forget()
        stand_in.script(operation, refusal)
        assert run()[0] == 200
        [wait] = waits(stand_in, operation)
        assert least <= wait <= most, (operation, wait)


def test_servers_that_are_down_for_a_moment_are_asked_again(library, stand_in):
    broken = Refusal(500, "InternalServerError", "The server had an error processing your request.")
    for operation, run in (("embeddings", lambda: embed(library)), ("chat/completions", lambda: ask(library))):
        stand_in.forget()
        stand_in.script(operation, unavailable("0"), broken)
        assert run()[0] == 200 and len(stand_in.seen(operation)) == 3


def test_a_rate_limit_that_lasts_is_passed_on(library, stand_in):
    stand_in.script("embeddings", rate_limited(600))
    status, headers, reply = embed(library)
    assert status == 429 and headers["retry-after"] == "600" and reply["error"]["code"] == "model_rate_limit" and reply["error"]["type"] == "rate_limit_error"
    assert "exceeded call rate limit" in reply["error"]["message"] and len(stand_in.seen("embeddings")) == 1
    # A question is answered from the sources, and the answer says why.
    stand_in.script("chat/completions", rate_limited(600))
    status, _, reply = ask(library)
    assert status == 200 and reply["choices"][0]["message"]["covey"]["answered_by"] == "extractive (gpt-4o at its rate limit)"
    assert "1,642 metres" in reply["choices"][0]["message"]["content"]
    # A document that could not be embedded now is no bad document: it is sent again.
    stand_in.script("embeddings", rate_limited(600))
    (library.folder / "later.md").write_text("# Later\n\nThis page comes later.\n")
    ended = library.covey("ingest", str(library.folder / "later.md"), "-c", "lakes")
    assert ended.returncode == 0 and "1 added" in ended.stdout, ended.stderr
    # With a key that is wrong it is no use to go on.
    stand_in.script("embeddings", *[Refusal(401, "401", "Access denied.")] * 50)
    (library.folder / "last.md").write_text("# Last\n\nThis page comes last.\n")
    ended = library.covey("ingest", str(library.folder / "last.md"), "-c", "lakes")
    assert ended.returncode != 0 and "refused the API key" in ended.stderr + ended.stdout
    stand_in.script("embeddings")
    assert library.covey("ingest", str(library.folder / "last.md"), "-c", "lakes").returncode == 0
    # Money that ran out does not come back by asking again.
    stand_in.forget()
    stand_in.script("embeddings", rate_limited(1, code="insufficient_quota"))
    assert embed(library)[0] == 429 and len(stand_in.seen("embeddings")) == 1


def test_a_prompt_beyond_the_models_context_says_so(library, stand_in):
    stand_in.context = 30
    status, _, reply = ask(library)
    assert status == 200 and reply["choices"][0]["message"]["covey"]["answered_by"] == "extractive (gpt-4o took the prompt for too long)"
    assert "maximum context length is 30" in library.log("generator")


def test_a_wrong_key_is_the_operators_matter_not_the_callers(library, stand_in):
    stand_in.key = "another"
    status, _, reply = embed(library)
    assert status == 502 and reply["error"]["code"] == "model_server" and reply["error"]["type"] == "server_error"
    assert ask(library, QUESTION)[0] == 502  # the question could not be embedded
    stand_in.key = "azure-secret"
    stand_in.script("chat/completions", Refusal(404, "DeploymentNotFound", "The API deployment for this resource does not exist."))
    status, _, reply = ask(library)
    assert status == 200 and reply["choices"][0]["message"]["covey"]["answered_by"] == "extractive (gpt-4o not set up as configured)"
    for node in library.names:
        assert "azure-secret" not in library.log(node)


# MARK: on the way

def test_an_authority_that_is_not_trusted_is_named(make_cluster, stand_in, folder):
    cluster = make_cluster(serve=True, settings=settings(stand_in, folder, **{"models.ca_file": ""}))
    status, _, reply = embed(cluster)
    assert status == 503 and "TLS failed" in reply["error"]["message"] and "certificate" in reply["error"]["message"]
    assert not stand_in.seen("embeddings")
    cluster.stop()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """proxy.py, which wants a user and a password: its address and its log."""
    [port] = free_ports(1)
    log = tmp_path_factory.mktemp("proxy") / "log"
    command = [
        sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", str(port), "--basic-auth", "covey:let-me-out", "--num-workers", "1",
        "--num-acceptors", "1", "--log-file", str(log),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=5)
            break
        except httpx.HTTPError:
            assert process.poll() is None
    yield f"127.0.0.1:{port}", log
    process.terminate()
    process.wait(30)


def test_a_proxy_leads_to_the_server(make_cluster, stand_in, folder, proxy):
    address, log = proxy
    cluster = make_cluster(serve=True, settings=settings(stand_in, folder, **{"models.proxy": f"http://covey:let-me-out@{address}"}))
    (cluster.folder / "baikal.md").write_text(PAGE)
    assert cluster.covey("ingest", str(cluster.folder / "baikal.md"), "-c", "lakes").returncode == 0
    status, _, reply = ask(cluster)
    assert status == 200 and reply["choices"][0]["message"]["content"] == stand_in.answer
    cluster.wait_for(lambda: f"CONNECT localhost:{stand_in.port}" in log.read_text(), "the proxy to log the tunnel")
    cluster.stop()
    # Another password: the proxy's answer is told, the password is not.
    closed = make_cluster(serve=True, settings=settings(stand_in, folder, **{"models.proxy": f"http://covey:guess@{address}"}))
    stand_in.forget()
    status, _, reply = embed(closed)
    assert status == 503 and "the proxy answered 407 to CONNECT" in reply["error"]["message"]
    assert not stand_in.seen("embeddings") and "guess" not in closed.log("serve")
    closed.stop()
    # A host that is excepted is reached without it.
    around = make_cluster(serve=True, settings=settings(stand_in, folder, **{"models.proxy": f"http://covey:guess@{address}", "models.no_proxy": "localhost"}))
    assert embed(around)[0] == 200
    around.stop()


def test_a_proxy_in_the_way_of_plain_http(make_cluster, folder, proxy):
    address, _ = proxy
    plain = AzureStandIn()
    try:
        settings_of = lambda password: settings(plain, folder, **{"models.proxy": f"http://covey:{password}@{address}", "models.ca_file": ""})
        cluster = make_cluster(serve=True, settings=settings_of("let-me-out"))
        assert embed(cluster)[0] == 200
        cluster.stop()
        closed = make_cluster(serve=True, settings=settings_of("guess"))
        status, _, reply = embed(closed)
        assert status == 502 and "the proxy wants other credentials (407)" in reply["error"]["message"]
        closed.stop()
    finally:
        plain.close()

"""A real, very small language model behind the whole cluster. Asserts what Covey guarantees, not the model's wording.

Skipped where `cluster/fetch-llm` has not built llama-server, since that takes minutes.
"""

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import openai
import pytest

from conftest import free_ports

CACHE = Path(os.environ.get("COVEY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "covey")
SERVER = next(iter(sorted(CACHE.glob("llama.cpp-*/llama-server"))), None)
MODEL = CACHE / "models/SmolLM2-135M-Instruct-Q8_0.gguf"
QUESTION = "How deep is Lake Baikal?"
PAGES = {
    "lakes/baikal.md": "# Lake Baikal\n\n## Depth\n\nLake Baikal is 1,642 metres deep. It is the deepest lake of the world.\n",
    "lakes/victoria.html": "<html><title>Lake Victoria</title><body><h1>Lake Victoria</h1><p>Lake Victoria is 84 metres deep.</p></body></html>",
    "owl.md": "# Owls\n\nThe tawny owl eats wood mice and bank voles.\n",
}

pytestmark = pytest.mark.skipif(
    SERVER is None or not MODEL.exists(), reason="SKIPPED ALOUD: the language model is not built (cluster/fetch-llm builds it), so nothing was asked of one"
)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """The address of a llama-server that has loaded its model."""
    [port] = free_ports(1)
    log = open(tmp_path_factory.mktemp("llama") / "log", "wb")
    command = [SERVER, "-m", MODEL, "--host", "127.0.0.1", "--port", str(port), "--offline", "-np", "1", "-c", "4096", "-t", "1", "--repeat-penalty", "1.2"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    log.close()
    yield process, f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def library(make_cluster, llama, tmp_path_factory):
    """A coordinator, four shard nodes and a generator that uses the model, with documents ingested and sealed."""
    process, url = llama
    settings = {"shard.exact_points": 0, "generation.url": f"{url}/v1", "generation.model": "SmolLM2", "generation.answer_tokens": 60}
    cluster = make_cluster(settings=settings)

    def is_loaded():
        assert process.poll() is None, "llama-server ended"
        with urllib.request.urlopen(f"{url}/health", timeout=10) as reply:
            return reply.status == 200

    cluster.wait_for(is_loaded, "llama-server to load its model")
    folder = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    ingested = cluster.covey("ingest", str(folder), "-c", "pages")
    assert ingested.returncode == 0, ingested.stderr
    assert cluster.covey("seal", "-c", "pages").returncode == 0
    return cluster


@pytest.fixture(scope="module")
def embedding_llama(tmp_path_factory):
    """The address of a llama-server that embeds: the mean of what its language model makes of each token."""
    [port] = free_ports(1)
    log = open(tmp_path_factory.mktemp("embedding-llama") / "log", "wb")
    command = [SERVER, "-m", MODEL, "--host", "127.0.0.1", "--port", str(port), "--offline", "--embeddings", "--pooling", "mean", "-c", "2048", "-ub", "2048", "-b", "2048", "-t", "1"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    log.close()
    yield process, f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def test_a_llama_server_embeds_documents_and_questions(make_cluster, embedding_llama, tmp_path):
    process, url = embedding_llama
    settings = {"embedding.url": f"{url}/v1", "embedding.model": "SmolLM2", "embedding.dimension": 576, "embedding.maximum_tokens": 2_048}
    cluster = make_cluster(shards=1, settings=settings)

    def is_loaded():
        assert process.poll() is None, "llama-server ended"
        with urllib.request.urlopen(f"{url}/health", timeout=10) as reply:
            return reply.status == 200

    cluster.wait_for(is_loaded, "llama-server to load its model")
    for name, text in PAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    ingested = cluster.covey("ingest", str(tmp_path), "-c", "pages")
    assert ingested.returncode == 0, ingested.stderr
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="unused", max_retries=0) as client:
        # The words of a page are found with the page.
        found = client.vector_stores.search("pages", query="The tawny owl eats wood mice and bank voles.").data
        assert found[0].attributes["document"] == "owl.md"


def check_answer(text, sources):
    """Every citation is of a source that was given, and every source says where it is."""
    assert text.strip()
    assert {int(number) for number in re.findall(r"\[(\d+)\]", text)} <= {source["number"] for source in sources}
    assert [source["number"] for source in sources] == list(range(1, len(sources) + 1))
    for source in sources:
        page = PAGES[source["document"]].encode()
        assert 0 <= source["start"] < source["end"] <= len(page)


def test_ask_streams_what_the_model_writes_and_names_its_sources(library):
    asked = library.covey("ask", QUESTION, "-c", "pages")
    assert asked.returncode == 0, asked.stderr
    answer, _, sources = asked.stdout.partition("\nSources")
    assert answer.strip() and "lakes/baikal.md" in sources and "Lake Baikal › Depth" in sources


def test_the_chat_route_gives_the_models_reply_with_sources_and_counts(library):
    with openai.OpenAI(base_url=f"{library.url}/v1", api_key="unused", max_retries=0) as client:
        messages = [{"role": "user", "content": QUESTION}]
        whole = client.chat.completions.create(model="pages", messages=messages)
        [choice] = whole.choices
        covey = choice.message.model_extra["covey"]
        check_answer(choice.message.content, covey["sources"])
        assert covey["coverage"]["shards_answered"] == covey["coverage"]["shards_asked"] == 4
        assert covey["coverage"]["points_by_code"] > 0 and covey["coverage"]["points_exactly"] == 0
        # The prompt holds the passages, so it is longer than the question; the answer keeps within its limit.
        assert whole.usage.prompt_tokens > 100 and 1 <= whole.usage.completion_tokens <= 60

        pieces = [chunk for chunk in client.chat.completions.create(model="pages", messages=messages, stream=True)]
        texts = [chunk.choices[0].delta.content for chunk in pieces if chunk.choices and chunk.choices[0].delta.content]
        assert len(texts) > 1, "the reply came in one piece"
        assert pieces[-1].choices == [] or any(chunk.choices and chunk.choices[0].finish_reason for chunk in pieces)


def test_a_model_that_went_away_is_named_and_the_sources_answer(library, llama):
    process, _ = llama
    process.kill()
    process.wait()
    asked = library.covey("ask", QUESTION, "-c", "pages")
    assert asked.returncode == 0 and "“Lake Baikal is 1,642 metres deep.” [1]" in asked.stdout
    reply = json.loads(library.covey("ask", QUESTION, "-c", "pages", "--json").stdout)
    assert reply["choices"][0]["message"]["covey"]["answered_by"] == "extractive (SmolLM2 unavailable)"

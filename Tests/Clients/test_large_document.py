"""A book: a document of more chunks than a log entry holds goes in, is found, changes and survives kill -9, always whole."""

import base64
import hashlib
import http.server
import json
import threading

import numpy
import pytest

DIMENSION = 384
ENTRY_BYTES = 8 << 20


@pytest.fixture
def embedding_server():
    """An embedding server behind OpenAI's API that is quick and always gives a text the same vector."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            data = []
            for index, text in enumerate(texts):
                seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
                vector = numpy.random.default_rng(seed).standard_normal(DIMENSION, dtype=numpy.float32)
                wanted = base64.b64encode(vector.tobytes()).decode() if body.get("encoding_format") == "base64" else vector.round(4).tolist()
                data.append({"object": "embedding", "index": index, "embedding": wanted})
            reply = json.dumps({"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def book(edition, paragraphs):
    """Paragraphs of about a chunk each."""
    sentence = "Edition {} of the book says in paragraph {} and sentence {} what nobody else says in these very words, number {}. "
    lines = ["# The book", ""]
    for paragraph in range(paragraphs):
        lines += [f"## Paragraph {paragraph}", "", "".join(sentence.format(edition, paragraph, i, paragraph * 31 + i) for i in range(8)), ""]
    return "\n".join(lines)


def test_a_book_goes_in_changes_and_survives_whole(make_cluster, embedding_server, tmp_path):
    cluster = make_cluster(shards=2, settings={
        "embedding.url": embedding_server, "embedding.model": "quick", "embedding.dimension": DIMENSION, "shard.seal_points": 10**6,
    })
    path = tmp_path / "book.md"

    def ingest(edition, paragraphs):
        path.write_text(book(edition, paragraphs))
        done = cluster.covey("ingest", str(path), "-c", "library", "--json")
        assert done.returncode == 0, done.stdout + done.stderr

    def chunks():
        _, reply = cluster.json("POST", "/collections/library/points/count", {"exact": True})
        return reply["result"]["count"]

    def texts():
        _, reply = cluster.json("POST", "/collections/library/points/scroll", {"limit": 10_000, "with_payload": ["text"]})
        return [point["payload"]["text"] for point in reply["result"]["points"]]

    ingest(1, 1_000)
    first = chunks()
    assert first > 5_000
    objects = list((cluster.folder / "store").rglob("bulk/*"))
    assert len(objects) >= 2, "it fitted an entry: the test needs a larger book"
    assert max(each.stat().st_size for each in [*objects, *(cluster.folder / "store").rglob("log/*")]) <= ENTRY_BYTES

    for name in list(cluster.processes):
        cluster.kill(name)
    cluster.start().wait_until_ready()
    cluster.wait_for(lambda: chunks() == first, "the book to be there again")

    ingest(2, 800)
    assert chunks() < first
    assert all("Edition 2" in text for text in texts() if "Edition" in text)

    assert cluster.covey("seal", "-c", "library").returncode == 0
    assert not list((cluster.folder / "store").rglob("bulk/*"))
    found = texts()
    assert len(found) == chunks() and all("Edition 2" in text for text in found if "Edition" in text)
    cluster.stop()

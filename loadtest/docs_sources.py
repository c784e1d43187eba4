"""Asks a real Covey for the sources of documentation questions and writes them down, one JSON line a question and collection:
what `loadtest/answers` judges the extractive answerer on and `loadtest/fit-answers` fits it on.

usage: docs_sources.py COVEY DATA OUTPUT    (COVEY: the program; DATA: the folder with docs-mixed, docs-aks and squad)
"""
import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

covey, data, output = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
SOURCES = 8  # what an answer gets by default
COLLECTIONS = {
    "debian": [data / "docs-mixed/docs", "--include", "debian-*/html/*"],
    "python": [data / "docs-mixed/docs", "--include", "python/*"],
    # A sixth of the pages, and the questions that they answer: all of them would take the better part of an hour to embed.
    "aks": [data / "docs-aks/docs", "--include", "aks/[ab]*"],
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def qrels(path):
    pages = {}
    for line in path.read_text().splitlines()[1:]:
        query, page, score = line.split("\t")
        if score != "0":
            pages.setdefault(query, []).append(page)
    return pages


def questions():
    """Set, home collection, text, the right pages' names in the collection; of squad, which no collection answers, the article."""
    right = qrels(data / "docs-mixed/qrels/faq.tsv")
    for query in lines(data / "docs-mixed/queries.jsonl"):
        home = "python" if query["metadata"]["kind"].startswith("python") else "debian"
        yield "docs-mixed", home, query["text"], right[query["_id"]]
    right = qrels(data / "docs-aks/qrels/intent.tsv") | qrels(data / "docs-aks/qrels/faq.tsv")
    for query in lines(data / "docs-aks/queries.jsonl"):
        if any(re.match("aks/[ab]", page) for page in right.get(query["_id"], [])):
            yield "docs-aks " + query["metadata"]["kind"], "aks", query["text"], right[query["_id"]]
    for query in lines(data / "squad/queries.jsonl")[::60]:
        yield "squad", None, query["text"], [query["metadata"]["article"]]


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
url = f"http://127.0.0.1:{port}"


def call(path, body=None):
    request = urllib.request.Request(url + path, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply) if body is not None else reply.read()


def source(hit):
    more = hit["covey"]
    return {key: more[key] for key in ("document", "title", "headings", "start", "end")} | {"text": hit["content"][0]["text"], "score": hit["score"]}


with tempfile.TemporaryDirectory() as folder:
    command = [covey, "serve", "--store-path", folder + "/store", "--gateway-address", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(folder + "/log", "w"), stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            try:
                call("/readyz")
                break
            except OSError:
                time.sleep(0.1)
        environment = os.environ | {"COVEY_URL": url}
        for name, arguments in COLLECTIONS.items():
            subprocess.run([covey, "ingest", *map(str, arguments), "--collection", name], env=environment, check=True, stdout=sys.stderr)
        with open(str(output) + ".part", "w") as file:
            for kind, home, question, pages in questions():
                # A page is wholly in one half: both halves have questions of every manual.
                held_out = hashlib.sha256(pages[0].encode()).digest()[0] % 2 == 1
                for name in COLLECTIONS:
                    hits = call(f"/v1/vector_stores/{name}/search", {"query": question[:600], "max_num_results": SOURCES})["data"]
                    sources = [source(hit) for hit in hits]
                    found = home == name and any(one["document"] in pages for one in sources)
                    file.write(json.dumps({
                        "set": kind, "question": question, "collection": name, "isHome": home == name, "found": found, "heldOut": held_out, "sources": sources,
                    }) + "\n")
    finally:
        server.terminate()
        server.wait()
os.rename(str(output) + ".part", output)

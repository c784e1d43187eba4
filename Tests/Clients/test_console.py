"""The client verbs as a user types them, against real processes."""

import json

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    (folder / "birds").mkdir()
    (folder / "birds/owl.md").write_text("# Owls\n\n## Food\n\nThe tawny owl eats wood mice and bank voles.\n")
    (folder / "birds/covey.md").write_text("# Coveys\n\nA covey is a small flock of partridges. It has ten birds on average.\n")
    (folder / "page.html").write_text("<html><title>Lakes</title><body><h1>Lakes</h1><p>Lake Baikal is 1,642 metres deep.</p></body></html>")
    (folder / "copy.txt").write_text("Lake Victoria is the largest lake of Africa.\n")
    (folder / "empty.txt").write_text("")
    (folder / "broken.md").write_bytes(bytes(range(256)) * 20)
    return folder


def test_ingest_reports_bad_files_and_changes_nothing_when_repeated(cluster, folder):
    first = cluster.covey("ingest", str(folder), "-c", "console", "--json")
    summary = json.loads(first.stdout)
    assert first.returncode == 1  # a file failed
    assert (summary["added"], summary["changed"], summary["unchanged"]) == (4, 0, 0), first.stderr
    assert [each["path"].split("/")[-1] for each in summary["failed"]] == ["broken.md"]
    assert [each["path"].split("/")[-1] for each in summary["skipped"]] == ["empty.txt"]
    second = json.loads(cluster.covey("ingest", str(folder), "-c", "console", "--json").stdout)
    assert (second["added"], second["changed"], second["unchanged"]) == (0, 0, 4)
    listed = cluster.covey("documents", "list", "-c", "console").stdout
    assert listed.count("\n") == 4 and "owl.md" in listed


def test_a_changed_file_replaces_its_chunks(cluster, folder):
    cluster.covey("ingest", str(folder), "-c", "console")
    (folder / "copy.txt").write_text("Lake Tanganyika is the longest lake of the world.\n")
    summary = json.loads(cluster.covey("ingest", str(folder), "-c", "console", "--json").stdout)
    assert (summary["added"], summary["changed"]) == (0, 1)
    found = cluster.covey("search", "lake of Africa", "-c", "console", "--json").stdout
    assert "Tanganyika" in found and "Victoria" not in found


def uploads(cluster):
    """Names of the uploads that the store keeps the bytes of."""
    names = {file["id"]: file["filename"] for file in cluster.json("GET", "/v1/files")[1]["data"]}
    kept = {path.parent.name for path in (cluster.folder / "store").glob("**/files/*/content~")}
    assert kept == set(names)
    return sorted(names.values())


def test_an_upload_goes_with_its_last_document(cluster, tmp_path):
    kept_by_others = uploads(cluster)

    def ours():
        left = uploads(cluster)
        for name in kept_by_others:
            left.remove(name)
        return left

    (tmp_path / "tides.md").write_text("# Tides\n\nThe tide turns every six hours.\n")
    (tmp_path / "broken.md").write_bytes(bytes(range(256)) * 20)
    name = "tides.md"
    for collection in ("ebb", "flood"):
        cluster.covey("ingest", str(tmp_path), "-c", collection)
    assert ours() == [name]  # one for both collections; what could not be read is not kept
    (tmp_path / "tides.md").write_text("# Tides\n\nThe tide turns every six hours and twelve minutes.\n")
    cluster.covey("ingest", str(tmp_path), "-c", "ebb")
    assert ours() == [name, name]
    cluster.covey("ingest", str(tmp_path), "-c", "flood")
    assert ours() == [name]  # the first version's bytes are gone
    assert cluster.covey("documents", "delete", name, "-c", "ebb").returncode == 0
    assert ours() == [name]
    assert cluster.covey("collections", "delete", "flood").returncode == 0
    assert ours() == []


def test_ask_answers_with_a_quote_and_its_source_or_refuses(cluster, folder):
    cluster.covey("ingest", str(folder), "-c", "console")
    asked = cluster.covey("ask", "What does the tawny owl eat?", "-c", "console")
    assert asked.returncode == 0, asked.stderr
    assert "wood mice" in asked.stdout and "[1]" in asked.stdout and "owl.md" in asked.stdout
    answer = json.loads(cluster.covey("ask", "Who painted the Mona Lisa?", "-c", "console", "--json").stdout)
    assert answer["choices"][0]["message"]["covey"]["refused"] is True
    prompt = cluster.covey("ask", "How deep is Lake Baikal?", "-c", "console", "--show-prompt").stdout
    assert "1,642" in prompt and "How deep is Lake Baikal?" in prompt


def test_explain_names_the_step_that_dropped_a_chunk(cluster, folder):
    cluster.covey("ingest", str(folder), "-c", "console")
    found = json.loads(cluster.covey("search", "What is a small flock?", "-c", "console", "--json").stdout)["data"]
    first, last = found[0]["covey"]["id"], found[-1]["covey"]["id"]
    nobody = "00000000-0000-0000-0000-000000000000"
    kept = cluster.covey("explain", "What is a small flock?", first, "-c", "console")
    assert kept.returncode == 0 and f"{first}: in the result, at place 1\n" in kept.stdout, kept.stderr
    assert "ranked 1 of" in kept.stdout
    dropped = cluster.covey("explain", "What is a small flock?", last, nobody, "-c", "console", "--limit", "1")
    assert dropped.returncode == 1 and f"{last}: not in the result" in dropped.stdout and f"{nobody}: not in the collection" in dropped.stdout
    explained = json.loads(cluster.covey("explain", "What is a small flock?", first, "-c", "console", "--json").stdout)
    assert explained[0]["step"] == "hit" and explained[0]["score"] == found[0]["score"]
    assert cluster.covey("explain", "x", "no-id", "-c", "console").returncode != 0


def test_chat_reads_questions_until_the_input_ends(cluster, folder):
    cluster.covey("ingest", str(folder), "-c", "console")
    chat = cluster.covey("chat", "-c", "console", stdin="What is a covey?\nHow deep is Lake Baikal?\n")
    assert chat.returncode == 0, chat.stderr
    assert "small flock" in chat.stdout and "1,642" in chat.stdout


def test_status_names_nodes_and_collections(cluster, folder):
    cluster.covey("ingest", str(folder), "-c", "console")
    status = cluster.covey("status")
    for word in ["shard-1", "shard-2", "shard-3", "shard-4", "console"]:
        assert word in status.stdout


def test_documents_and_collections_can_be_deleted(cluster, folder):
    cluster.covey("ingest", str(folder), "-c", "short")
    name = next(line.split(" ")[0] for line in cluster.covey("documents", "list", "-c", "short").stdout.splitlines() if "owl.md" in line)
    assert cluster.covey("documents", "delete", name, "-c", "short").returncode == 0
    assert "owl.md" not in cluster.covey("documents", "list", "-c", "short").stdout
    assert cluster.covey("collections", "delete", "short").returncode == 0
    assert "short" not in cluster.covey("collections", "list").stdout.split()


def test_eval_measures_a_set_of_beir_layout(cluster, tmp_path):
    birds = {"a": "The robin has a red breast.", "b": "The kiwi cannot fly.", "c": "The swift sleeps on the wing."}
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"_id": k, "title": "", "text": v}) + "\n" for k, v in birds.items()))
    queries = {"1": "Which bird has a red breast?", "2": "Which bird cannot fly?", "3": "not judged"}
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps({"_id": k, "text": v}) + "\n" for k, v in queries.items()))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t1\n")
    result = cluster.covey("eval", str(tmp_path))
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["queries"] == 2
    assert figures["ndcg@10"] == figures["recall@5"] == figures["mrr@10"] == 1


def test_a_missing_cluster_is_explained(cluster):
    result = cluster.covey("ask", "x", environment={"COVEY_URL": "http://127.0.0.1:9"})
    assert result.returncode == 1 and "no Covey answers" in result.stderr and "covey serve" in result.stderr

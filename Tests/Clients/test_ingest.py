"""`covey ingest`: formats, bad input, folders that change, what left the folder leaves the index."""

import io
import json
import os
import signal
import socket
import subprocess
import tempfile
import zipfile
from pathlib import Path

import openai
import pytest

import document_files
from conftest import BINARY


@pytest.fixture(scope="module")
def served(make_cluster):
    return make_cluster(serve=True)


@pytest.fixture
def ingest(served, tmp_path):
    """Runs the verb; returns its result and, from its report, each file's entry by name."""

    def run(*arguments, collection, **options):
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        ended = served.covey("ingest", *map(str, arguments), "-c", collection, "--report", str(report), **options)
        ended.report = json.loads(report.read_text()) if report.exists() else None
        ended.files = {entry["path"].split("/")[-1]: entry for entry in ended.report["files"]} if ended.report else {}
        return ended

    return run


def points(cluster, collection):
    """All points of a collection by id, as payloads without the time of their making."""
    found, offset = {}, None
    while True:
        body = {"limit": 1000, "with_payload": True, "with_vector": True, "offset": offset}
        result = cluster.json("POST", f"/collections/{collection}/points/scroll", body)[1]["result"]
        for point in result["points"]:
            point["payload"].get("file", {}).pop("created_at", None)
            found[point["id"]] = point
        offset = result["next_page_offset"]
        if offset is None:
            return found


def chunks(cluster, collection, document):
    found = [point["payload"] for point in points(cluster, collection).values() if point["payload"]["document"] == document]
    return sorted(found, key=lambda payload: payload["chunk"])


@pytest.fixture(scope="module")
def birds(served, tmp_path_factory):
    """A file of each format in one collection."""
    folder = tmp_path_factory.mktemp("birds")
    document_files.write_all(folder)
    ended = served.covey("ingest", str(folder), "-c", "birds", "--report", str(folder / ".report"))
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return folder


# --- formats ---


@pytest.mark.parametrize("extension", document_files.PLACES)
def test_a_document_of_each_format_is_found_by_what_it_says(served, birds, extension):
    words = document_files.PLACES[extension]
    found = [payload for payload in chunks(served, "birds", f"birds.{extension}") if words in payload["text"]]
    assert found, chunks(served, "birds", f"birds.{extension}")
    for payload in found:
        assert len(payload["text"].encode()) == payload["end"] - payload["start"]
    entry = next(each for each in json.loads((birds / ".report").read_text())["files"] if each["document"] == f"birds.{extension}")
    assert entry["status"] == "added" and entry["chunks"] >= 1 and entry["bytes"] > 0 and entry["document_id"].startswith("file-")


@pytest.mark.parametrize(
    "extension, words, place",
    [
        ("pdf", "church towers", {"page": 2}), ("pptx", "waterfalls", {"slide": 2}), ("odp", "bare ground", {"slide": 2}),
        ("xlsx", "reed beds", {"sheet": 2}), ("ods", "river banks", {"sheet": 1}), ("mbox", "heather", {"message": 2}),
        ("ipynb", "shingle", {"cell": 3}), ("xls", "ploughed fields", {"sheet": 1}),
    ],
)
def test_a_chunk_names_its_page_slide_sheet_cell_or_message(served, birds, extension, words, place):
    [payload] = [payload for payload in chunks(served, "birds", f"birds.{extension}") if words in payload["text"]]
    [(unit, number)] = place.items()
    assert payload["place"][unit] <= number <= payload["place"].get("end", payload["place"][unit])


def test_what_formats_say_beside_their_text(served, birds):
    def text(extension):
        return "\n".join(payload["text"] for payload in chunks(served, "birds", f"birds.{extension}"))

    assert "Bittern | reed beds | 2025-04-03 | 0.3" in text("xlsx") and "Avocet |  | 2025-05-01 13:30 | TRUE" in text("xlsx")
    assert "Kittiwake | 2" in text("docx") and chunks(served, "birds", "birds.docx")[0]["title"] == "Cliffs"
    assert "Dipper | 5" in text("pptx") and "Notes: Ask who has seen one." in text("pptx")
    mail = text("eml")
    assert "Größere Reiher: where they nest" in mail and "From: Ann Fjord <ann@example.org>" in mail and "Date: Mon, 03 Mar 2025" in mail
    assert "Écrit à la hâte." in mail and "Attachments: Zählung.pdf (application/pdf)" in mail and mail.count("grey heron") == 1
    assert "An older count" in mail and "nine nests in 2019" in mail
    assert "From now on:" in text("mbox")
    notebook = text("ipynb")
    assert "count_nests()" in notebook and "17 nests" in notebook and "\x1b" not in notebook and "KeyError: 'tern'" in notebook and "aGVsbG8" not in notebook


def test_a_citation_names_the_page(served, birds):
    asked = served.covey("ask", "Where does the barn owl nest?", "-c", "birds")
    assert "church towers" in asked.stdout and "birds.pdf, page" in asked.stdout, asked.stdout


def test_an_upload_of_openais_client_is_read_the_same_way(served):
    client = openai.OpenAI(base_url=served.url + "/v1", api_key="-")
    store = client.vector_stores.create(name="uploads")
    for name, content in [("nests.docx", document_files.docx()), ("nests", document_files.pptx()), ("sheet", document_files.xlsx())]:
        file = client.files.create(file=(name, content), purpose="assistants")
        assert client.vector_stores.files.create(vector_store_id=store.id, file_id=file.id).status == "completed"
    found = client.vector_stores.search(vector_store_id=store.id, query="dipper").data
    assert any("waterfalls" in hit.content[0].text for hit in found)
    broken = client.files.create(file=("nests.docx", document_files.docx()[:9_000]), purpose="assistants")
    failed = client.vector_stores.files.create(vector_store_id=store.id, file_id=broken.id)
    assert failed.status == "failed" and "damaged ZIP archive" in failed.last_error.message


# --- encodings ---


@pytest.mark.parametrize(
    "name, content, wanted, note",
    [
        ("bom.txt", b"\xef\xbb\xbfna\xc3\xafve caf\xc3\xa9", "naïve café", None),
        ("le.txt", b"\xff\xfe" + "naïve café".encode("utf-16-le"), "naïve café", None),
        ("be.md", b"\xfe\xff" + "naïve café".encode("utf-16-be"), "naïve café", None),
        ("unmarked.txt", "naïve café, said nobody".encode("utf-16-le"), "naïve café", "UTF-16"),
        ("utf32.txt", "naïve café".encode("utf-32"), "naïve café", None),
        ("latin.txt", "naïve café costs 5 €".encode("cp1252"), "naïve café costs 5 €", "windows-1252"),
        ("broken.txt", "naïve café ".encode() * 5 + b"\xff\xfe \xc3( end", "naïve café", "U+FFFD"),
        ("koi.html", '<meta charset="koi8-r"><p>Привет, сова</p>'.encode("koi8-r"), "Привет, сова", None),
        ("sjis.html", '<meta charset="Shift_JIS"><p>梟は森に棲む</p>'.encode("shift_jis"), "梟は森に棲む", None),
        ("xhtml.xhtml", '<?xml version="1.0" encoding="iso-8859-2"?><html><body><p>żółw</p></body></html>'.encode("iso-8859-2"), "żółw", None),
        ("latin.tex", "\\section{X}\nna\xefve caf\xe9".encode("latin-1"), "naïve café", "windows-1252"),
    ],
)
def test_encodings(served, ingest, tmp_path, name, content, wanted, note):
    (tmp_path / name).write_bytes(content)
    ended = ingest(tmp_path / name, collection="encodings")
    assert ended.returncode == 0, ended.stderr
    assert wanted in "".join(payload["text"] for payload in chunks(served, "encodings", name))
    notes = " ".join(ended.files[name].get("notes", []))
    assert note in notes if note else notes == ""


# --- bad input ---


def archive(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return file.getvalue()


def deep_xml(depth):
    relation = '<Relationship Id="r" Type="x/officeDocument" Target="xl/workbook.xml"/>'
    return archive({"_rels/.rels": f"<Relationships>{relation}</Relationships>", "xl/workbook.xml": "<a>" * depth + "</a>" * depth})


def encrypted_office(content):
    import msoffcrypto.format.ooxml as ooxml

    out = io.BytesIO()
    ooxml.OOXMLFile(io.BytesIO(content)).encrypt("secret", out)
    return out.getvalue()


def encrypted_pdf():
    import pypdf

    writer = pypdf.PdfWriter(io.BytesIO(document_files.pdf([["secret"]])))
    writer.encrypt("secret", algorithm="RC4-128")
    return document_files.saved(writer.write)


def encrypted_zip(content):
    """The first entry's flag says that it needs a password."""
    changed = bytearray(content)
    for signature, offset in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)]:
        changed[changed.index(signature) + offset] |= 1
    return bytes(changed)


def laughs():
    entities = '<!ENTITY a "ha">' + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12))
    text = f"<!DOCTYPE x [{entities}]><sst><si><t>&m;</t></si></sst>"
    with zipfile.ZipFile(io.BytesIO(document_files.xlsx())) as book:
        return archive({**{name: book.read(name) for name in book.namelist()}, "xl/workbook.xml": text})


BAD = {
    "empty.md": (lambda: b"", "skipped", "the file is empty"),
    "blank.txt": (lambda: b" \n\t\n", "failed", "has no text"),
    "binary.md": (lambda: bytes(range(256)) * 20, "failed", "binary data"),
    "image.txt": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "failed", "a PNG image"),
    "picture.png": (lambda: b"\x89PNG\r\n\x1a\n", "skipped", "no supported format"),
    "cut.docx": (lambda: document_files.docx()[:5_000], "failed", "cut off"),
    "none.docx": (lambda: b"this is no archive", "failed", "no archive"),
    "other.docx": (lambda: archive({"a.txt": "x"}), "failed", "no Office document"),
    "damaged.xlsx": (lambda: damaged(document_files.xlsx()), "failed", "damaged ZIP archive"),
    "encrypted.docx": (lambda: encrypted_office(document_files.docx()), "failed", "encrypted with a password"),
    "encrypted.xlsx": (lambda: encrypted_office(document_files.xlsx()), "failed", "encrypted with a password"),
    "encrypted.pdf": (encrypted_pdf, "failed", "encrypted with a password"),
    "encrypted.epub": (lambda: encrypted_zip(document_files.epub()), "failed", "encrypted with a password"),
    "renamed.xls": (lambda: document_files.xlsx(), "failed", "Office 2007 or later"),
    "bomb.docx": (lambda: archive({"word/document.xml": bytes(100 << 20)}), "failed", "bomb"),
    "huge.docx": (lambda: archive({"word/document.xml": bytes(600 << 20)}), "failed", "maximumExpandedBytes"),
    "deep.xlsx": (lambda: deep_xml(100_000), "failed", "nested too deeply"),
    "laughs.xlsx": (laughs, "failed", "XML"),
    "broken.ipynb": (lambda: b'{"cells": [', "failed", "unreadable notebook"),
    "cells.ipynb": (lambda: b"{}", "failed", "no cells"),
    "broken.eml": (lambda: b"just some words\n\nand more", "failed", "no e-mail"),
    "broken.pdf": (lambda: b"%PDF-1.4\nnothing else", "failed", "PDF"),
    "word.doc": (lambda: b"hello", "failed", "no Word document"),
    "deep.html": (lambda: b"<div>" * 200_000 + b"the bottom", "added", None),
    "good.md": (lambda: b"# Good\n\nThis one is fine.", "added", None),
}


def damaged(content):
    """A byte of the last sheet's data, flipped."""
    changed = bytearray(content)
    changed[changed.index(b"xl/worksheets/sheet2.xml") + 60] ^= 0xFF
    return bytes(changed)


def test_bad_files_are_named_with_their_reason_and_cost_nobody_else(served, ingest, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for name, (content, _, _) in BAD.items():
        (folder / name).write_bytes(content())
    with open(folder / "large.txt", "wb") as file:
        file.truncate(64 << 20)
    ended = ingest(folder, collection="bad")
    assert ended.returncode == 1
    for name, (_, status, reason) in BAD.items():
        entry = ended.files[name]
        assert entry["status"] == status, entry
        assert reason is None or reason in entry["reason"], entry
    assert ended.files["large.txt"]["status"] == "failed" and "--max-file-mib" in ended.files["large.txt"]["reason"]
    assert ended.report["complete"] and ended.report["totals"]["added"] == 2
    # The server is none the worse, and says the same a second time.
    again = ingest(folder, collection="bad")
    assert (again.report["totals"]["added"], again.report["totals"]["unchanged"]) == (0, 2)
    assert {name: entry["status"] for name, entry in again.files.items() if entry["status"] in ("failed", "skipped")} == {
        name: entry["status"] for name, entry in ended.files.items() if entry["status"] in ("failed", "skipped")
    }


def test_markup_that_pandoc_cannot_read_is_read_as_text(served, ingest, tmp_path):
    (tmp_path / "paper.tex").write_text("\\section{Owls}\n\nThe owl \\begin{unknown sleeps by day.\n")
    ended = ingest(tmp_path / "paper.tex", collection="markup")
    assert ended.returncode == 0 and ended.files["paper.tex"]["notes"][0].startswith("read as plain text")
    assert "sleeps by day" in chunks(served, "markup", "paper.tex")[0]["text"]


def test_latex_reads_no_other_file(served, ingest, tmp_path):
    (tmp_path / "secret.tex").write_text("The password is xyzzy.\n")
    (tmp_path / "paper.tex").write_text(f"Before.\n\n\\input{{{tmp_path}/secret.tex}}\n\n\\input{{/etc/passwd}}\n\nBehind.\n")
    assert ingest(tmp_path / "paper.tex", collection="sandbox").returncode == 0
    text = chunks(served, "sandbox", "paper.tex")[0]["text"]
    assert "Behind" in text and "xyzzy" not in text and "root:" not in text


# --- folders ---


def test_what_is_no_file_is_never_opened_and_links_do_not_lead_away(served, ingest, tmp_path):
    folder, away = tmp_path / "folder", tmp_path / "away"
    (folder / "sub").mkdir(parents=True)
    away.mkdir()
    (away / "private.md").write_text("# Private\n\nNothing for the index.\n")
    (folder / "sub/note.md").write_text("# Note\n\nA note.\n")
    os.mkfifo(folder / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.md"))
    (folder / "loop").symlink_to(folder)
    (folder / "sub/up").symlink_to("..")
    (folder / "itself.md").symlink_to("itself.md")
    (folder / "nowhere.md").symlink_to("missing.md")
    (folder / "inside.md").symlink_to("sub/note.md")
    (folder / "out.md").symlink_to(away / "private.md")
    (folder / "outside").symlink_to(away)
    (folder / "zero.md").symlink_to("/dev/zero")
    ended = ingest(folder, collection="odd", timeout=120)
    assert ended.returncode == 1  # a link leads nowhere
    assert {name: (entry["status"], entry.get("reason")) for name, entry in ended.files.items()} == {
        "note.md": ("added", None), "inside.md": ("added", None), "pipe.md": ("skipped", "a pipe, not a file"),
        "socket.md": ("skipped", "a socket, not a file"), "itself.md": ("failed", "the link leads nowhere"), "nowhere.md": ("failed", "the link leads nowhere"),
        **{name: ("skipped", "the link leads out of the folder; --follow-links follows it") for name in ["out.md", "outside", "zero.md"]},
    }
    followed = ingest(folder, "--follow-links", collection="followed", timeout=120)
    assert followed.files["private.md"]["status"] == "added" and followed.files["out.md"]["status"] == "added"
    assert followed.files["zero.md"]["reason"] == "a device, not a file"


def test_names_that_are_not_utf8_keep_apart(served, ingest, tmp_path):
    folder = os.fsencode(tmp_path / "names")
    os.mkdir(folder)
    for name, words in [(b"caf\xe9.md", "latin"), (b"caf\xe8.md", "grave"), ("café.md".encode(), "utf-8")]:
        Path(os.fsdecode(folder + b"/" + name)).write_text(f"# Name\n\nThis one is {words}.\n")
    assert ingest(os.fsdecode(os.path.dirname(folder)) + "/names", collection="names").returncode == 0
    assert "latin" in chunks(served, "names", "caf\\xE9.md")[0]["text"] and "grave" in chunks(served, "names", "caf\\xE8.md")[0]["text"]
    assert "utf-8" in chunks(served, "names", "café.md")[0]["text"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else who may not read")
def test_what_may_not_be_read_is_said_and_not_deleted(served):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir()
        for path in ["open.md", "secret.md", "closed/deep.md"]:
            (folder / path).write_text(f"# {path}\n\nSome words.\n")
        report = folder / "report.json"
        report.touch()
        assert served.covey("ingest", name, "-c", "rights", "--sync").returncode == 0
        (folder / "secret.md").chmod(0)
        (folder / "closed").chmod(0)
        (folder / "open.md").unlink()
        folder.chmod(0o777)
        command = [BINARY, "ingest", name, "-c", "rights", "--sync", "--report", str(report)]
        # The folder's owner may still be root: whoever reads is nobody.
        ended = subprocess.run(command, env={**os.environ, "COVEY_URL": served.url, "HOME": "/"}, capture_output=True, text=True, user=65534, timeout=120)
        assert ended.returncode == 1, ended.stderr
        entries = {entry["path"].split("/")[-1]: entry for entry in json.loads(report.read_text())["files"]}
        assert "permission denied" in entries["secret.md"]["reason"] and "permission denied" in entries["closed"]["reason"]
        assert entries["open.md"]["status"] == "deleted"
        left = {point["payload"]["document"] for point in points(served, "rights").values()}
        assert left == {"secret.md", "closed/deep.md"}


# --- sync ---


def documents(cluster, collection):
    return {point["payload"]["document"] for point in points(cluster, collection).values()}


def write_notes(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"# {name}\n\nWhat {name} of {folder.name} says.\n")


def test_what_left_the_folder_leaves_the_index_and_nothing_else(served, ingest, tmp_path):
    write_notes(tmp_path / "one", "a.md", "b.md", "c.md", "d.md")
    write_notes(tmp_path / "two", "x.md", "y.md")
    write_notes(tmp_path, "alone.md")
    ingest(tmp_path / "one", collection="synced")
    ingest(tmp_path / "two", collection="synced")
    ingest(tmp_path / "alone.md", collection="synced")
    (tmp_path / "one/b.md").unlink()
    (tmp_path / "one/c.md").write_text("")
    (tmp_path / "one/e.md").write_text("# New\n\nWords.\n")
    everything = {"a.md", "b.md", "c.md", "d.md", "x.md", "y.md", "alone.md"}
    dry = ingest(tmp_path / "one", "--sync", "--dry-run", collection="synced")
    assert dry.returncode == 0 and dry.report["dry_run"] and documents(served, "synced") == everything
    assert "would delete b.md" in dry.stderr and dry.files["b.md"]["status"] == "deleted" and dry.files["e.md"]["status"] == "added"
    # Without --sync nothing goes, and a filter takes nothing away.
    ingest(tmp_path / "one", collection="synced")
    ingest(tmp_path / "one", "--sync", "--include", "d.md", collection="synced")
    assert documents(served, "synced") == everything - {"b.md"} | {"e.md"}
    ended = ingest(tmp_path / "one", "--sync", collection="synced")
    assert ended.returncode == 0, ended.stderr
    assert documents(served, "synced") == {"a.md", "d.md", "e.md", "x.md", "y.md", "alone.md"}
    assert ended.files["c.md"]["status"] in ("deleted", "skipped")


def test_an_empty_folder_is_taken_for_one_that_is_not_mounted(served, ingest, tmp_path):
    write_notes(tmp_path / "disk", "a.md", "b.md", "c.md")
    ingest(tmp_path / "disk", collection="mounted")
    for name in ["a.md", "b.md"]:
        (tmp_path / "disk" / name).unlink()
    refused = ingest(tmp_path / "disk", "--sync", collection="mounted")
    assert refused.returncode == 1 and "2 of 3 documents, more than half" in refused.stderr and "--force" in refused.stderr
    assert documents(served, "mounted") == {"a.md", "b.md", "c.md"} and refused.report["complete"] is False
    (tmp_path / "disk/c.md").unlink()
    assert ingest(tmp_path / "disk", "--sync", collection="mounted").returncode == 1
    (tmp_path / "disk").rmdir()
    assert ingest(tmp_path / "disk", "--sync", "--force", collection="mounted").returncode == 1
    assert len(documents(served, "mounted")) == 3  # a folder that is missing says nothing of its documents
    (tmp_path / "disk").mkdir()
    forced = ingest(tmp_path / "disk", "--sync", "--force", collection="mounted")
    assert forced.returncode == 0 and documents(served, "mounted") == set() and forced.report["totals"]["deleted"] == 3


def test_a_folder_that_moved_is_known_by_the_name_given_to_it(served, ingest, tmp_path):
    write_notes(tmp_path / "old", "a.md", "b.md", "c.md")
    ingest(tmp_path / "old", "--root", "notes", collection="moved")
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new/c.md").unlink()
    assert ingest(tmp_path / "new", "--sync", "--root", "notes", collection="moved").returncode == 0
    assert documents(served, "moved") == {"a.md", "b.md"}
    # Another folder of the same collection, not told apart by name, takes nothing of it away.
    write_notes(tmp_path / "other", "z.md")
    assert ingest(tmp_path / "other", "--sync", collection="moved").returncode == 0
    assert documents(served, "moved") == {"a.md", "b.md", "z.md"}


# --- interruptions ---


def test_an_ingest_that_was_killed_goes_on_where_it_stopped(served, ingest, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(150):
        sentences = " ".join(f"Bird {number} was seen {count} times near post {count * number}." for count in range(40))
        (folder / f"{number:03}.md").write_text(f"# Bird {number}\n\n{sentences}\n")
    command = [BINARY, "ingest", str(folder), "-c", "killed", "--sync"]
    process = subprocess.Popen(command, env={**os.environ, "COVEY_URL": served.url}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    served.wait_for(lambda: stored(served, "killed") >= 20, "some documents to be there")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = stored(served, "killed")
    assert 20 <= done < 150
    again = ingest(folder, "--sync", collection="killed")
    assert again.returncode == 0, again.stderr
    assert again.report["totals"]["unchanged"] >= done and again.report["totals"]["added"] + again.report["totals"]["unchanged"] == 150
    assert ingest(folder, "--sync", collection="whole").returncode == 0
    assert points(served, "killed") == points(served, "whole")
    files = served.json("GET", "/v1/files")[1]["data"]
    assert len([file for file in files if file["filename"] in {f"{number:03}.md" for number in range(150)}]) == 150


def stored(cluster, collection):
    status, reply = cluster.json("GET", f"/v1/vector_stores/{collection}")
    return reply["file_counts"]["completed"] if status == 200 else 0


def test_ctrl_c_leaves_a_report_of_what_was_done(served, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:03}.md").write_text(f"# Fish {number}\n\n" + " ".join(f"Fish {number} swam {count} miles." for count in range(60)))
    report = tmp_path / "report.json"
    command = [BINARY, "ingest", str(folder), "-c", "fish", "--report", str(report)]
    process = subprocess.Popen(command, env={**os.environ, "COVEY_URL": served.url}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    served.wait_for(lambda: stored(served, "fish") >= 5, "some documents to be there")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 1 and "interrupted" in process.stderr.read()
    found = json.loads(report.read_text())
    assert found["complete"] is False and found["error"] == "interrupted" and found["totals"]["added"] < 200
    on_their_way = [entry for entry in found["files"] if entry["status"] == "failed"]
    assert all("may be in the collection" in entry["reason"] for entry in on_their_way) and len(on_their_way) <= 4
    there = {point["payload"]["document"] for point in points(served, "fish").values()}
    added = {entry["document"] for entry in found["files"] if entry["status"] == "added"}
    assert added <= there <= added | {entry["document"] for entry in on_their_way} and len(there) >= 5


def test_files_that_come_go_and_grow_meanwhile_are_in_the_report(served, ingest, tmp_path):
    folder = tmp_path / "busy"
    write_notes(folder, *[f"{number:02}.md" for number in range(40)])
    report = tmp_path / "busy.json"
    command = [BINARY, "ingest", str(folder), "-c", "busy", "--concurrency", "1", "--report", str(report)]
    process = subprocess.Popen(command, env={**os.environ, "COVEY_URL": served.url}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    served.wait_for(lambda: stored(served, "busy") >= 1, "the first document")
    (folder / "39.md").unlink()
    (folder / "38.md").write_text("# Thirty-eight\n\nWhat it says by now.\n")
    assert process.wait(120) == 0
    entries = {entry["document"]: entry for entry in json.loads(report.read_text())["files"]}
    assert entries["39.md"]["status"] == "skipped" and "vanished" in entries["39.md"]["reason"]
    assert entries["38.md"]["status"] == "added" and "by now" in chunks(served, "busy", "38.md")[0]["text"]

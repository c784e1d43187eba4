"""Makes the set `debian-docs-256`: sentences of Debian's documentation, 256 dimensions, metric cosine.

Base: 1,000,000 distinct sentences of 5 to 60 words out of the packages that `debian-packages.txt` names. Queries: 1,000 other
sentences (`query`) and 1,000 section headings (`query-headings`), which are unlike the base, as questions are. Which
sentences are which is a shuffle with a seed. Vectors: see `sentence_embedder.py`. The texts stand beside the vectors.

    debian_docs.py FOLDER PACKAGES WHEEL      FOLDER gets the set, PACKAGES has the .deb files
"""

import json
import multiprocessing
import sys
import time
from pathlib import Path

import numpy

from exact_neighbors import write_truth
from package_text import paragraphs_and_headings
from sentence_embedder import SentenceEmbedder
from sentences import identity, is_query_heading, sentences
from vector_file import VectorFile, write_halves, write_vectors

BASE_COUNT, QUERY_COUNT, SEED = 1_000_000, 1_000, 256


def texts_of(package):
    """(sentences, headings) of one package, each distinct within it, in order."""
    found, headings = {}, {}
    for kind, text in paragraphs_and_headings(package):
        if kind == "heading":
            text = text.rstrip("¶# ")  # a heading's link to itself
            if is_query_heading(text):
                headings.setdefault(identity(text), text)
        else:
            for sentence in sentences(text):
                found.setdefault(identity(sentence), sentence)
    return found, headings


def collect(packages):
    """All distinct sentences and headings; the first package (by name) that has one keeps it."""
    all_sentences, all_headings = {}, {}
    with multiprocessing.Pool(2) as pool:
        for package, (found, headings) in zip(packages, pool.imap(texts_of, packages)):
            before = len(all_sentences)
            for key, text in found.items():
                all_sentences.setdefault(key, text)
            for key, text in headings.items():
                all_headings.setdefault(key, text)
            print(f"{package.name.split('_')[0]}: {len(found)} sentences, {len(all_sentences) - before} of them new", file=sys.stderr)
    headings = [text for key, text in all_headings.items() if key not in all_sentences]
    return list(all_sentences.values()), headings


def write_texts(path, texts):
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def main(folder, packages, wheel):
    found, headings = collect(packages)
    if len(found) < BASE_COUNT + QUERY_COUNT or len(headings) < QUERY_COUNT:
        sys.exit(f"the packages have {len(found)} sentences and {len(headings)} headings, {BASE_COUNT + QUERY_COUNT} and {QUERY_COUNT} are needed")
    random = numpy.random.default_rng(SEED)
    order = random.permutation(len(found))[: BASE_COUNT + QUERY_COUNT]
    queries = {
        "query": [found[row] for row in order[:QUERY_COUNT]],
        "query-headings": [headings[row] for row in random.permutation(len(headings))[:QUERY_COUNT]],
    }
    base_texts = [found[row] for row in order[QUERY_COUNT:]]
    write_texts(folder / "base-texts.txt", base_texts)

    embedder = SentenceEmbedder(wheel)
    started = time.monotonic()
    base = folder / "base.f16bin"
    write_halves(base, BASE_COUNT, embedder.dimension, embedder.blocks(base_texts))
    print(f"{BASE_COUNT / (time.monotonic() - started):.0f} texts/s embedded", file=sys.stderr)
    for name, texts in queries.items():
        write_texts(folder / f"{name}-texts.txt", texts)
        write_vectors(folder / f"{name}.fvecs", embedder.embed(texts))
        truth = "groundtruth" + name.removeprefix("query") + ".ivecs"
        write_truth(folder / truth, base, VectorFile(folder / f"{name}.fvecs").rows(), "cosine")
    made = {
        "count": BASE_COUNT, "dimension": embedder.dimension, "metric": "cosine", "seed": SEED, "sentences_found": len(found),
        "queries": {"query": "groundtruth", "query-headings": "groundtruth-headings"}, "packages": [package.name for package in packages],
    }
    (folder / "set.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.deb")), Path(sys.argv[3]))

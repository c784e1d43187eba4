"""Fits the two linear models of EvidenceModel.swift on the evidence that `loadtest/fit-answers` wrote, and prints them as Swift.

rank: conditional logit over the sentences of each answerable question. answers: logistic regression on the sentence that
rank puts first, answerable against not. Both with a small L2 penalty on standardized features. What was held out (half of SQuAD's
articles, half of the documentation's pages) is only judged.

usage: fit_answers.py EVIDENCE COVEY VECTORS    (COVEY: the program, which embeds; VECTORS: a file that keeps vectors for the next run)
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np
from scipy.optimize import minimize

RANK = (
    "coverage contextCoverage nextCoverage sourceCoverage windowCoverage names numbers typeMiss reason negationMissing rank scoreGap length news"
    " placeCoverage opening cosine"
)
ANSWERS = (
    "coverage contextCoverage nextCoverage sourceCoverage names numbers rarestMissing namesMissing typeMiss negationMissing antonym terms"
    " placeCoverage wish cosine agreement"
)
EMBEDDED = 8  # GenerationConfiguration.embeddedSentences
MARGIN = 1.0  # ExtractiveAnswerer.margin
# What a question of each kind counts. Retrieved sources are what a cluster answers from. Vectors tell another subject well enough, so
# that leniency towards documentation costs little; words alone do not.
WEIGHTS = {
    "lexical": {"right": 1.0, "nearest": 3.0, "offTopic": 3.0, "documentation": 1.0},
    "withVectors": {"right": 1.0, "nearest": 3.0, "offTopic": 1.0, "documentation": 3.0},
}

with open(sys.argv[1]) as file:
    names = json.loads(next(file))["names"]
    questions = [json.loads(line) for line in file]
for question in questions:
    question["features"] = np.array([sentence["features"] for sentence in question["sentences"]]).reshape(-1, len(names))
    question["labels"] = np.array([sentence["answers"] for sentence in question["sentences"]], bool)


def fit_rank(columns):
    chosen = [q for q in questions if not q["heldOut"] and q["answerable"] and q["labels"].any() and not q["labels"].all()]
    features = np.vstack([q["features"][:, columns] for q in chosen])
    scale = np.maximum(features.std(0), 1e-6)
    features = features / scale
    labels = np.concatenate([q["labels"] for q in chosen])
    group = np.repeat(np.arange(len(chosen)), [len(q["labels"]) for q in chosen])
    start = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    weight = np.array([q["weight"] for q in chosen])

    def loss(beta):
        score = features @ beta
        exponential = np.exp(score - np.maximum.reduceat(score, start)[group])
        total = np.add.reduceat(exponential, start)
        right = np.maximum(np.add.reduceat(exponential * labels, start), 1e-300)
        gradient = features.T @ (weight[group] * (exponential / total[group] - exponential * labels / right[group]))
        return -(weight * np.log(right / total)).sum() + beta @ beta / 2, gradient + beta

    return minimize(loss, np.zeros(len(columns)), jac=True, method="L-BFGS-B").x / scale


def fit_answers(columns, rank_columns, rank):
    chosen = [q for q in questions if not q["heldOut"] and len(q["labels"])]
    best = np.array([q["features"][np.argmax(q["features"][:, rank_columns] @ rank)] for q in chosen])[:, columns]
    labels = np.array([q["answerable"] for q in chosen], float)
    weight = np.array([q["weight"] for q in chosen])
    # Both classes weigh the same in each of these; the documentation's answerable questions stand against foreign ones.
    for conditions in BALANCED:
        here = np.array([q["condition"] in conditions for q in chosen])
        for label in (0, 1):
            rows = here & (labels == label)
            weight[rows] *= here.sum() / 2 / max(rows.sum(), 1)
    scale = np.maximum(best.std(0), 1e-6)
    features = np.column_stack([best / scale, np.ones(len(best))])

    def loss(beta):
        score = features @ beta
        penalty = beta * np.r_[np.full(len(columns), 3.0), 0]
        value = (weight * (np.logaddexp(0, score) - labels * score)).sum() + penalty @ beta / 2
        return value, features.T @ (weight * (1 / (1 + np.exp(-score)) - labels)) + penalty

    beta = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x
    return beta[:-1] / scale, beta[-1]


DOCUMENTATION = sorted({q["condition"] for q in questions} - {"right", "nearest", "offTopic"})
BALANCED = [["right"], ["nearest"], DOCUMENTATION]


def judge(rank_columns, rank, columns, answers, bias, threshold):
    """One line a condition and half: answer in quote, refused."""
    table = {}
    for q in questions:
        score = q["features"][:, rank_columns] @ rank
        refused, right = True, False
        if len(score):
            best = np.argmax(score)
            refused = 1 / (1 + np.exp(-(q["features"][best, columns] @ answers + bias))) < threshold
            quoted = np.argsort(-score)[:2]
            right = not refused and q["labels"][quoted[score[quoted] >= score[best] - MARGIN]].any()
        table.setdefault((q["heldOut"], q["condition"], q["answerable"]), []).append((refused, right))
    for (held_out, condition, answerable), rows in sorted(table.items()):
        refused, right = np.mean(rows, axis=0) * 100
        print(f"//   {'held out' if held_out else 'fitted':9} {condition:30} {'answerable' if answerable else 'unanswerable':13} {len(rows):5}"
              f"  in quote {right:5.1f} %  refused {refused:5.1f} %")


def swift(columns, weights):
    lines, line = [], ""
    for column, weight in zip(columns, weights):
        entry = f'"{names[column]}": {weight:.2f}, '
        if len(line) + len(entry) > 120:
            lines, line = lines + [line], ""
        line += entry
    return "[\n" + "\n".join("            " + text.rstrip() for text in lines + [line]) + "\n        ]"


def embed(texts, covey, kept):
    """Unit vectors of texts, by the embedded model in `covey serve`; those known from earlier runs are kept in a file."""
    vectors = dict(np.load(kept, allow_pickle=True)["vectors"].item()) if kept.exists() else {}
    missing = sorted(set(texts) - vectors.keys(), key=len)
    if missing:
        with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            free.close()
            server = subprocess.Popen([covey, "serve", "--store-path", folder, "--gateway-address", address], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                for first in range(0, len(missing), 256):
                    batch = missing[first:first + 256]
                    request = urllib.request.Request(f"http://{address}/v1/embeddings", json.dumps({"model": "all-MiniLM-L6-v2", "input": batch}).encode(), {"Content-Type": "application/json"})
                    for attempt in range(300):
                        try:
                            with urllib.request.urlopen(request, timeout=600) as reply:
                                data = json.load(reply)["data"]
                            break
                        except urllib.error.HTTPError as error:
                            sys.exit(error.read().decode())
                        except OSError:  # it is not up yet
                            time.sleep(0.2)
                    for text, one in zip(batch, data):
                        vectors[text] = np.array(one["embedding"], np.float32)
                    print(f"embedded {first + len(batch)} of {len(missing)}", end="\r", file=sys.stderr, flush=True)
            finally:
                server.terminate()
                server.wait()
        np.savez(kept, vectors=vectors)
    return vectors


def columns_of(text):
    return [names.index(name) for name in text.split() if name in names]


def fit(model, rank_columns, answer_columns, threshold):
    for q in questions:
        q["weight"] = WEIGHTS[model].get(q["condition"], WEIGHTS[model]["documentation"])
    rank = fit_rank(rank_columns)
    answers, bias = fit_answers(answer_columns, rank_columns, rank)
    print(f"    static let {model} = EvidenceModel(")
    print(f"        rank: {swift(rank_columns, rank)},")
    print(f"        answers: {swift(answer_columns, answers)},")
    print(f"        bias: {bias:.2f})")
    judge(rank_columns, rank, answer_columns, answers, bias, threshold)
    return rank


def main():
    threshold = float(os.environ.get("THRESHOLD", "0.34"))  # GenerationConfiguration.leastProbability
    rank_columns = columns_of(RANK)
    rank = fit("lexical", rank_columns, columns_of(ANSWERS), threshold)

    # As the answerer does: vectors for the lexically best ones only.
    for q in questions:
        best = np.argsort(-(q["features"][:, rank_columns] @ rank), kind="stable")[:EMBEDDED]
        q["features"], q["labels"] = q["features"][best], q["labels"][best]
        q["sentences"] = [q["sentences"][index] for index in best]
    texts = {q["question"] for q in questions} | {s["context"] for q in questions for s in q["sentences"]}
    vectors = embed(texts, sys.argv[2], pathlib.Path(sys.argv[3]))
    for q in questions:
        cosines = np.array([vectors[q["question"]] @ vectors[s["context"]] for s in q["sentences"]])
        q["features"] = np.column_stack([q["features"], cosines, cosines * q["features"][:, names.index("contextCoverage")]])
    names.extend(["cosine", "agreement"])
    fit("withVectors", columns_of(RANK), columns_of(ANSWERS), threshold)


if __name__ == "__main__":
    main()

"""Fits the two linear models of EvidenceModel.swift on the evidence that `loadtest/fit-answers` wrote.

rank: conditional logit over the sentences of each answerable question. answers: logistic regression on the sentence that
rank puts first, answerable against not. Both with a small L2 penalty on standardized features.
"""
import json
import sys

import numpy as np
from scipy.optimize import minimize

RANK = "coverage contextCoverage nextCoverage sourceCoverage windowCoverage names numbers typeMiss reason negationMissing rank scoreGap length news"
ANSWERS = "coverage contextCoverage nextCoverage sourceCoverage names numbers rarestMissing namesMissing typeMiss negationMissing antonym terms"
# Retrieved passages are what a cluster answers from, so they count most.
WEIGHT = {"right": 1.0, "nearest": 3.0, "offTopic": 1.0}

with open(sys.argv[1]) as file:
    names = json.loads(next(file))["names"]
    questions = [json.loads(line) for line in file]
for question in questions:
    question["features"] = np.array([sentence["features"] for sentence in question["sentences"]])
    question["labels"] = np.array([sentence["answers"] for sentence in question["sentences"]])


def fit_rank(columns):
    chosen = [q for q in questions if q["answerable"] and q["labels"].any() and not q["labels"].all()]
    features = np.vstack([q["features"][:, columns] for q in chosen])
    scale = np.maximum(features.std(0), 1e-6)
    features = features / scale
    labels = np.concatenate([q["labels"] for q in chosen])
    group = np.repeat(np.arange(len(chosen)), [len(q["labels"]) for q in chosen])
    start = np.flatnonzero(np.r_[True, np.diff(group) > 0])
    weight = np.array([WEIGHT[q["condition"]] for q in chosen])

    def loss(beta):
        score = features @ beta
        exponential = np.exp(score - np.maximum.reduceat(score, start)[group])
        total = np.add.reduceat(exponential, start)
        right = np.add.reduceat(exponential * labels, start)
        gradient = features.T @ (weight[group] * (exponential / total[group] - exponential * labels / right[group]))
        return -(weight * np.log(right / total)).sum() + beta @ beta / 2, gradient + beta

    return minimize(loss, np.zeros(len(columns)), jac=True, method="L-BFGS-B").x / scale


def fit_answers(columns, rank_columns, rank):
    best = np.array([q["features"][np.argmax(q["features"][:, rank_columns] @ rank)] for q in questions])[:, columns]
    labels = np.array([q["answerable"] for q in questions], float)
    weight = np.array([WEIGHT[q["condition"]] for q in questions])
    for condition in ("right", "nearest"):  # both classes weigh the same; offTopic has only one
        here = np.array([q["condition"] == condition for q in questions])
        for label in (0, 1):
            rows = here & (labels == label)
            weight[rows] *= here.sum() / 2 / rows.sum()
    scale = np.maximum(best.std(0), 1e-6)
    features = np.column_stack([best / scale, np.ones(len(best))])

    def loss(beta):
        score = features @ beta
        penalty = beta * np.r_[np.full(len(columns), 3.0), 0]
        value = (weight * (np.logaddexp(0, score) - labels * score)).sum() + penalty @ beta / 2
        return value, features.T @ (weight * (1 / (1 + np.exp(-score)) - labels)) + penalty

    beta = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x
    return beta[:-1] / scale, beta[-1]


def swift(columns, weights):
    lines, line = [], ""
    for column, weight in zip(columns, weights):
        entry = f'"{names[column]}": {weight:.2f}, '
        if len(line) + len(entry) > 120:
            lines, line = lines + [line], ""
        line += entry
    return "[\n" + "\n".join("            " + text.rstrip() for text in lines + [line]) + "\n        ]"


for model, extra in (("lexical", ""), ("withVectors", " cosine")):
    rank_columns = [names.index(name) for name in (RANK + extra).split()]
    answer_columns = [names.index(name) for name in (ANSWERS + extra).split()]
    rank = fit_rank(rank_columns)
    answers, bias = fit_answers(answer_columns, rank_columns, rank)
    print(f"    static let {model} = EvidenceModel(")
    print(f"        rank: {swift(rank_columns, rank)},")
    print(f"        answers: {swift(answer_columns, answers)},")
    print(f"        bias: {bias:.2f})")

"""The exact nearest rows of a base for queries: the ground truth of a set."""

import sys

import faiss
import numpy

from vector_file import VectorFile, write_vectors


def exact_neighbors(base: VectorFile, queries, metric, k=100):
    """Row numbers `[queries, k]`, nearest first, equal scores by lower row.

    A float32 scan in blocks finds the best k + 50 of each query (so a block of memory is enough for any base); their order is
    that of scores in float64 on the base's values as stored. `metric`: "cosine", "dot" or "euclid". The cost is one pass over the base.
    """
    if base.count < k:
        raise ValueError(f"k = {k} neighbours of a base of {base.count}")
    if metric not in ("cosine", "dot", "euclid"):
        raise ValueError(f"metric must be cosine, dot or euclid, found {metric}")
    wide = min(k + 50, base.count)
    asked = queries.astype(numpy.float32)
    if metric == "cosine":
        asked = _unit(asked)
    kind = faiss.METRIC_L2 if metric == "euclid" else faiss.METRIC_INNER_PRODUCT
    scores = numpy.empty((len(asked), 0), dtype=numpy.float32)
    rows = numpy.empty((len(asked), 0), dtype=numpy.int64)
    for start, block in base.blocks(131_072):
        if metric == "cosine":
            block = _unit(block)
        found, where = faiss.knn(asked, block, min(wide, len(block)), metric=kind)
        scores, rows = numpy.hstack([scores, found if metric == "euclid" else -found]), numpy.hstack([rows, where + start])
        keep = numpy.argpartition(scores, min(wide, scores.shape[1]) - 1, axis=1)[:, :wide]
        scores, rows = numpy.take_along_axis(scores, keep, 1), numpy.take_along_axis(rows, keep, 1)
    truth = numpy.empty((len(asked), k), dtype=numpy.int32)
    for number, query in enumerate(queries.astype(numpy.float64)):
        candidates = base.rows_at(rows[number]).astype(numpy.float64)
        if metric == "cosine":
            distance = -(candidates @ query) / numpy.maximum(numpy.linalg.norm(candidates, axis=1), 1e-30)
        elif metric == "dot":
            distance = -(candidates @ query)
        else:
            distance = ((candidates - query) ** 2).sum(axis=1)
        truth[number] = rows[number][numpy.lexsort((rows[number], distance))[:k]]
    return truth


def write_truth(path, base_path, queries, metric, k=100):
    """Writes the `.ivecs` of ``exact_neighbors``."""
    write_vectors(path, exact_neighbors(VectorFile(base_path), queries, metric, k))


def _unit(vectors):
    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), numpy.float32(1e-30))


def local_dimension(base: VectorFile, queries, truth):
    """The local intrinsic dimension at the queries: the median of Levina and Bickel's estimate over the neighbours of `truth`."""
    estimates = []
    for query, rows in zip(_unit(queries), truth):
        distances = numpy.sort(numpy.linalg.norm(_unit(base.rows_at(rows)) - query, axis=1))
        distances = distances[distances > 1e-4]
        if len(distances) > 10 and distances[-1] > distances[0]:
            estimates.append(1 / numpy.mean(numpy.log(distances[-1] / distances[:-1])))
    return float(numpy.median(estimates))


if __name__ == "__main__":
    base, query, metric, out = sys.argv[1:]
    write_truth(out, base, VectorFile(query).rows(), metric)

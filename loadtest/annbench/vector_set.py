"""A set of vectors to compare indexes on: base, query files, exact neighbours, and how recall is judged."""

import os
import sys
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "loadtest" / "vectorsets"))

from vector_file import VectorFile  # noqa: E402

CACHE = Path(os.environ.get("COVEY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "covey")
K = 10


class VectorSet:
    """Files of a set, found beside the checkout or in the cache folder. Metric: cosine, for all of them."""

    def __init__(self, name):
        folders = [ROOT.parent / "shared" / "data" / name, CACHE / "datasets" / name]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            raise FileNotFoundError(f"no set {name}: neither {' nor '.join(map(str, folders))} exists; loadtest/datasets makes the large ones")
        self.name = name
        self.base_path = next(path for path in (folder / "base.f16bin", folder / "base.fvecs") if path.exists())
        self.base = VectorFile(self.base_path)
        # query.fvecs has groundtruth.ivecs, query-x.fvecs has groundtruth-x.ivecs.
        self.query_paths = {path.stem: path for path in sorted(folder.glob("query*.fvecs"))}
        self.truth_paths = {name: folder / f"groundtruth{name.removeprefix('query')}.ivecs" for name in self.query_paths}

    @property
    def count(self):
        return self.base.count

    @property
    def dimension(self):
        return self.base.dimension

    def unit_base(self):
        """float32 `[count, dimension]` at unit length, so that inner product is cosine for every index."""
        return unit(self.base.rows())

    def unit_queries(self, query):
        return unit(VectorFile(self.query_paths[query]).rows())


class RecallJudge:
    """Recall@10 of answers by score, as `covey bench` judges: any row no worse than the worst of the true ten counts, once."""

    def __init__(self, vectors: VectorSet, query):
        self._base = vectors.base
        self._queries = vectors.unit_queries(query).astype(numpy.float64)
        truth = VectorFile(vectors.truth_paths[query]).rows()[:, :K]
        self._bounds = self._scores(truth).min(axis=1)

    def recall(self, answers):
        """`answers`: row numbers `[queries, <= 10]`; negative ones are no answer."""
        answers = numpy.sort(numpy.asarray(answers, dtype=numpy.int64), axis=1)
        right = (answers >= 0) & (self._scores(numpy.maximum(answers, 0)) >= self._bounds[:, None])
        right[:, 1:] &= answers[:, 1:] != answers[:, :-1]
        return float(right.sum() / (K * len(answers)))

    def _scores(self, rows):
        wanted, places = numpy.unique(rows, return_inverse=True)
        vectors = unit(self._base.rows_at(wanted)).astype(numpy.float64)
        return numpy.einsum("qkd,qd->qk", vectors[places.reshape(rows.shape)], self._queries)


def unit(vectors):
    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), numpy.float32(1e-30))

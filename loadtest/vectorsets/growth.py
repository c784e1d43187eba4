"""Makes the sets `growth-1m`, `growth-3m` and `growth-10m`: generated vectors, 128 dimensions, metric cosine.

The structure is that of text embeddings, and stated so that nobody takes it for real data. A hierarchical mixture of Gaussians:

- 1,024 topics, each with 32 subjects (32,768 leaves). A leaf's share of the vectors is its topic's times its own within the
  topic, both a power law of the rank (exponents 0.8 and 1.0): the largest leaf has 1.6 % of all vectors, the median one 0.0008 %.
- Centres of topics are normal with a spectrum that falls with the dimension's number (i^-0.35, then rotated), around a mean that
  all vectors share, as embeddings have one. Centres of subjects are normal around the topic's, in the topic's own 64 dimensions.
- A vector lies around its subject's centre in 48 dimensions of its topic, with a spread that differs from leaf to leaf
  (log-normal, sigma 0.35) and falls with the dimension's number (i^-0.3), plus weak noise in all 128. Leaves overlap: the spreads
  were set so that 50,000 of these vectors have the local intrinsic dimension of `ann-minilm-384` (21) and inverted lists find as
  much with as many probes.
- Lengths are made one. The distribution does not depend on the count, and blocks have seeds of their own: a smaller set is the
  beginning of a larger one, as a collection that grows.

Queries: 1,000 further vectors. Truth: exact. `set.json` has the local intrinsic dimension at the queries (maximum likelihood over
the 100 nearest), to compare with real sets.

    growth.py FOLDER COUNT
"""

import json
import sys
from pathlib import Path

import numpy

from exact_neighbors import exact_neighbors, local_dimension
from vector_file import VectorFile, write_halves, write_vectors

DIMENSION, SEED, BLOCK = 128, 10, 65_536
TOPICS, SUBJECTS, SUBJECT_SPACE, LOCAL_SPACE = 1_024, 32, 64, 48
QUERY_COUNT, QUERY_BLOCK = 1_000, 1 << 30


class GrowthMixture:
    """The mixture; `block(number, count)` are vectors of it, the same for the same number."""

    def __init__(self):
        random = numpy.random.default_rng(SEED)
        spectrum = numpy.arange(1, DIMENSION + 1, dtype=numpy.float32) ** -0.35
        rotation = numpy.linalg.qr(random.standard_normal((DIMENSION, DIMENSION)))[0].astype(numpy.float32)
        spectrum *= numpy.sqrt(1 / (spectrum**2).sum())  # topics have length 1 on average
        mean = rotation[0] * 0.6
        topics = mean + (random.standard_normal((TOPICS, DIMENSION), dtype=numpy.float32) * spectrum) @ rotation

        # Subspaces of a topic: orthonormal rows, the first are the local ones.
        self._bases = numpy.empty((TOPICS, SUBJECT_SPACE, DIMENSION), dtype=numpy.float32)
        for topic in range(TOPICS):
            self._bases[topic] = numpy.linalg.qr(random.standard_normal((DIMENSION, SUBJECT_SPACE)))[0].T
        offsets = random.standard_normal((TOPICS, SUBJECTS, SUBJECT_SPACE), dtype=numpy.float32) * numpy.float32(0.4 / SUBJECT_SPACE**0.5)
        self._centres = topics[:, None] + numpy.einsum("tsk,tkd->tsd", offsets, self._bases)

        falling = numpy.arange(1, LOCAL_SPACE + 1, dtype=numpy.float32) ** -0.3
        self._local_scale = falling * (1.2 / numpy.sqrt((falling**2).sum()))
        self._spread = random.lognormal(0, 0.35, (TOPICS, SUBJECTS)).astype(numpy.float32)
        self._topic_shares = _power_law(TOPICS, 0.8)
        self._subject_shares = _power_law(SUBJECTS, 1.0)

    def block(self, number, count=BLOCK):
        """float32 `[count, 128]` of unit length."""
        random = numpy.random.default_rng([SEED, number])
        topic = random.choice(TOPICS, count, p=self._topic_shares)
        subject = random.choice(SUBJECTS, count, p=self._subject_shares)
        local = random.standard_normal((count, LOCAL_SPACE), dtype=numpy.float32) * self._local_scale * self._spread[topic, subject][:, None]
        vectors = self._centres[topic, subject] + random.standard_normal((count, DIMENSION), dtype=numpy.float32) * numpy.float32(0.4 / DIMENSION**0.5)
        order = numpy.argsort(topic, kind="stable")
        for rows in numpy.split(order, numpy.flatnonzero(numpy.diff(topic[order])) + 1):
            vectors[rows] += local[rows] @ self._bases[topic[rows[0]], :LOCAL_SPACE]
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)

    def blocks(self, count):
        for start in range(0, count, BLOCK):
            # A block is always made whole, so that a shorter last one is the beginning of the same numbers.
            yield self.block(start // BLOCK)[: count - start]


def _power_law(count, exponent):
    shares = numpy.arange(1, count + 1, dtype=numpy.float64) ** -exponent
    return shares / shares.sum()


def main(folder, count):
    mixture = GrowthMixture()
    base = folder / "base.f16bin"
    write_halves(base, count, DIMENSION, mixture.blocks(count))
    queries = mixture.block(QUERY_BLOCK, QUERY_COUNT)
    write_vectors(folder / "query.fvecs", queries)
    truth = exact_neighbors(VectorFile(base), queries, "cosine")
    write_vectors(folder / "groundtruth.ivecs", truth)
    made = {
        "count": count, "dimension": DIMENSION, "metric": "cosine", "seed": SEED, "queries": {"query": "groundtruth"},
        "local_dimension": round(local_dimension(VectorFile(base), queries, truth), 1),
    }
    (folder / "set.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

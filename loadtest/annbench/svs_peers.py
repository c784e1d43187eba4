"""Intel's Scalable Vector Search: Vamana graphs over float32.

Its compressed vectors (LVQ, LeanVec) refuse to run on processors of other makers, so they are not compared here.
"""

import numpy
import svs

from peer import K, Peer, ladder


class Vamana(Peer):
    package = "scalable-vs"

    @staticmethod
    def configs(count, dimension):
        return [{"degree": degree, "window": 200} for degree in ((32, 64) if count <= 500_000 else (64,))]

    @staticmethod
    def ladders(config, count, dimension):
        return [[{"window": window} for window in ladder(10, 640, 28)]]

    def build(self, vectors, config):
        # On vectors of unit length Euclidean distance orders as the inner product does; its pruning makes the better graph.
        parameters = svs.VamanaBuildParameters(alpha=1.2, graph_max_degree=config["degree"], window_size=config["window"])
        self._index = svs.Vamana.build(parameters, vectors, svs.DistanceType.L2, num_threads=1)

    def save(self, folder):
        self._index.save(str(folder / "config"), str(folder / "graph"), str(folder / "data"))

    def load(self, folder, config):
        graph, data = svs.GraphLoader(str(folder / "graph")), svs.VectorDataLoader(str(folder / "data"), svs.DataType.float32)
        self._index = svs.Vamana(str(folder / "config"), graph, data, svs.DistanceType.L2, num_threads=1)

    def apply(self, setting):
        self._index.search_window_size = setting["window"]

    def prepared(self, queries):
        return [queries[row : row + 1] for row in range(len(queries))]

    def one(self, query):
        return self._index.search(query, K)[0][0]

    def batch(self, queries):
        return self._index.search(queries, K)[0].astype(numpy.int64)

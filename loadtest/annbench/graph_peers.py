"""hnswlib and USearch: HNSW graphs."""

import hnswlib
import numpy
from usearch.index import Index

from peer import K, Peer, ladder


class HNSWlib(Peer):
    package = "hnswlib"

    @staticmethod
    def configs(count, dimension):
        return [{"m": 16, "ef_construction": 200}, {"m": 32, "ef_construction": 200}]

    @staticmethod
    def ladders(config, count, dimension):
        return [[{"ef": ef} for ef in ladder(10, 640, 28)]]

    def build(self, vectors, config):
        self._index = hnswlib.Index("ip", vectors.shape[1])
        self._index.init_index(len(vectors), M=config["m"], ef_construction=config["ef_construction"], random_seed=1)
        self._index.set_num_threads(1)
        self._index.add_items(vectors, num_threads=1)

    def save(self, folder):
        self._index.save_index(str(folder / "index.hnswlib"))
        (folder / "dimension").write_text(str(self._index.dim))

    def load(self, folder, config):
        self._index = hnswlib.Index("ip", int((folder / "dimension").read_text()))
        self._index.load_index(str(folder / "index.hnswlib"))
        self._index.set_num_threads(1)

    def apply(self, setting):
        self._index.set_ef(setting["ef"])

    def one(self, query):
        return self._index.knn_query(query, K)[0][0]

    def batch(self, queries):
        return self._index.knn_query(queries, K, num_threads=1)[0]


class _USearch(Peer):
    package = "usearch"
    _type: str
    _metric: str

    @staticmethod
    def configs(count, dimension):
        return [{"m": 16, "ef_construction": 128}] + ([{"m": 32, "ef_construction": 128}] if count <= 500_000 else [])

    @staticmethod
    def ladders(config, count, dimension):
        return [[{"ef": ef} for ef in ladder(10, 640, 28)]]

    def build(self, vectors, config):
        self._index = Index(
            ndim=vectors.shape[1], metric=self._metric, dtype=self._type, connectivity=config["m"], expansion_add=config["ef_construction"],
            enable_key_lookups=False,
        )
        self._index.add(numpy.arange(len(vectors)), vectors, threads=1)

    def save(self, folder):
        self._index.save(str(folder / "index.usearch"))

    def load(self, folder, config):
        self._index = Index.restore(str(folder / "index.usearch"))

    def apply(self, setting):
        self._index.expansion_search = setting["ef"]

    def one(self, query):
        return self._index.search(query, K, threads=1).keys

    def batch(self, queries):
        return self._index.search(queries, K, threads=1).keys


class USearchF32(_USearch):
    _type, _metric = "f32", "ip"


class USearchI8(_USearch):
    # Its scaling to int8 belongs to the cosine metric.
    _type, _metric = "i8", "cos"

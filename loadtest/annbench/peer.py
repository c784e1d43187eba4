"""What the comparison asks of an index library, and the list of the libraries."""

import importlib
from abc import ABC, abstractmethod

import numpy

from vector_set import K


class Peer(ABC):
    """One kind of index of a library. Vectors and queries have unit length, the score is the inner product.

    A `config` says how an index is built, a `setting` how it is searched; both are JSON objects.
    """

    #: Where the library is installed from, for the report.
    package: str

    @staticmethod
    @abstractmethod
    def configs(count, dimension) -> list[dict]:
        """Ways to build that are worth trying for `count` vectors."""

    @staticmethod
    @abstractmethod
    def ladders(config, count, dimension) -> list[list[dict]]:
        """Settings to try, as lists from cheap to thorough; a list is left when its recall stops rising.

        Where there is a second knob, lists are of equal length and come from its thorough end: a setting is skipped when the one
        at its place in an earlier list found too little.
        """

    @abstractmethod
    def build(self, vectors, config): ...

    def build_few(self, vectors, config):
        """An index of so few vectors that a search costs next to nothing but the call, and ready for one."""
        self.build(vectors, config)
        self.apply(self.ladders(config, len(vectors), vectors.shape[1])[0][0])

    @abstractmethod
    def save(self, folder): ...

    @abstractmethod
    def load(self, folder, config): ...

    @abstractmethod
    def apply(self, setting): ...

    @abstractmethod
    def one(self, query):
        """Rows nearest to one query, as ``prepared`` gave it: the library's call for a user with one question."""

    @abstractmethod
    def batch(self, queries):
        """Rows nearest to each of `[count, dimension]`, by one call on one thread."""

    def prepared(self, queries):
        """What ``one`` takes, for each query; outside of what is timed."""
        return [query for query in numpy.ascontiguousarray(queries)]


def ladder(low, high, steps):
    """`steps` different integers from `low` to `high`, evenly spread on a logarithmic scale."""
    return sorted({int(round(value)) for value in numpy.geomspace(low, high, steps)})


#: Module and class of each, so that a process imports only the library that it measures.
PEERS = {
    "faiss-hnsw": ("faiss_peers", "FaissHNSW"),
    "faiss-ivf-rabitq-fs": ("faiss_peers", "FaissRaBitQ"),
    "faiss-ivfpq-fs": ("faiss_peers", "FaissPQ"),
    "hnswlib": ("graph_peers", "HNSWlib"),
    "scann": ("scann_peers", "ScaNN"),
    "scann-soar": ("scann_peers", "ScaNNSoar"),
    "svs-vamana": ("svs_peers", "Vamana"),
    "usearch-f32": ("graph_peers", "USearchF32"),
    "usearch-i8": ("graph_peers", "USearchI8"),
}


def peer_class(name):
    if name not in PEERS:
        raise ValueError(f"no index named {name}; there are {', '.join(PEERS)}")
    module, kind = PEERS[name]
    return getattr(importlib.import_module(module), kind)


__all__ = ["K", "PEERS", "Peer", "ladder", "peer_class"]

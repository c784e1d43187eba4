"""FAISS: HNSW, and inverted lists with 4-bit codes or RaBitQ, scanned by its fast scan and rescored with float32."""

import faiss

from peer import K, Peer, ladder

faiss.omp_set_num_threads(1)


class _Faiss(Peer):
    package = "faiss-cpu"

    def save(self, folder):
        faiss.write_index(self._index, str(folder / "index.faiss"))

    def load(self, folder, config):
        self._index = faiss.read_index(str(folder / "index.faiss"))

    def prepared(self, queries):
        return [queries[row : row + 1] for row in range(len(queries))]

    def one(self, query):
        return self._index.search(query, K)[1][0]

    def batch(self, queries):
        return self._index.search(queries, K)[1]


class FaissHNSW(_Faiss):
    @staticmethod
    def configs(count, dimension):
        return [{"m": 16, "ef_construction": 100}, {"m": 32, "ef_construction": 100}]

    @staticmethod
    def ladders(config, count, dimension):
        return [[{"ef": ef} for ef in ladder(10, 640, 28)]]

    def build(self, vectors, config):
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], config["m"], faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = config["ef_construction"]
        self._index.add(vectors)

    def apply(self, setting):
        self._index.hnsw.efSearch = setting["ef"]


class _FaissLists(_Faiss):
    """Inverted lists under `IndexRefineFlat`."""

    @staticmethod
    def ladders(config, count, dimension):
        probes = ladder(1, config["lists"] // 2, 14)
        return [[{"factor": factor, "probes": probe} for probe in probes] for factor in (40, 20, 12, 8, 5, 3, 2, 1.5, 1)]

    def build(self, vectors, config):
        self._index = faiss.index_factory(vectors.shape[1], config["factory"], faiss.METRIC_INNER_PRODUCT)
        self._index.train(vectors)
        self._index.add(vectors)

    def build_few(self, vectors, config):
        self._index = faiss.IndexFlatIP(vectors.shape[1])  # lists cannot be trained on so few; the call is the same
        self._index.add(vectors)

    def apply(self, setting):
        self._index.k_factor = setting["factor"]
        faiss.extract_index_ivf(self._index.base_index).nprobe = setting["probes"]


def _list_counts(count):
    root = count**0.5
    return [1 << max(4, int(round(root * factor)).bit_length() - 1) for factor in (2.3, 4.6)]


class FaissPQ(_FaissLists):
    @staticmethod
    def configs(count, dimension):
        widths = [1, 2] if dimension < 100 else [2, 4] if count <= 500_000 else [2]
        return [
            {"lists": lists, "factory": f"IVF{lists},PQ{dimension // width}x4fs{residual},RFlat"}
            for lists in _list_counts(count) for width in widths for residual in ("", "r") if dimension % width == 0
        ]


class FaissRaBitQ(_FaissLists):
    @staticmethod
    def configs(count, dimension):
        lists = _list_counts(count)
        bits = ("", "2", "4") if count <= 500_000 else ("", "4")
        return [{"lists": number, "factory": f"IVF{number},RaBitQfs{bit},RFlat"} for number in lists for bit in bits]

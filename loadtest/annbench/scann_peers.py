"""ScaNN: partitions, anisotropic 4-bit codes, rescoring with float32; with and without SOAR spilling."""

import os

import numpy
import scann

from peer import K, Peer, ladder


class ScaNN(Peer):
    package = "scann"
    _soar = False

    @staticmethod
    def configs(count, dimension):
        root = count**0.5
        leaves = [int(round(root * factor / 10)) * 10 for factor in (1, 2, 4)]
        widths = [2] if dimension < 100 or count > 500_000 else [2, 4]
        return [{"leaves": number, "block": width} for number in leaves for width in widths]

    @staticmethod
    def ladders(config, count, dimension):
        probes = ladder(1, config["leaves"] // 2, 20)
        reorders = ladder(12, 1_200, 10)[::-1]
        return [[{"reorder": reorder, "probes": probe} for probe in probes] for reorder in reorders]

    def build(self, vectors, config):
        builder = scann.scann_ops_pybind.builder(vectors, K, "dot_product").set_n_training_threads(1)
        soar = {"soar_lambda": 1.5, "overretrieve_factor": 2.0} if self._soar else {}
        builder = builder.tree(
            num_leaves=config["leaves"], num_leaves_to_search=32, training_sample_size=min(len(vectors), 250_000), **soar
        ).score_ah(config["block"], anisotropic_quantization_threshold=0.2).reorder(100)
        self._index = builder.build()
        self._index.set_num_threads(1)

    def build_few(self, vectors, config):
        self._index = scann.scann_ops_pybind.builder(vectors, K, "dot_product").score_brute_force().build()
        self._reorder = self._probes = -1

    def save(self, folder):
        self._index.serialize(str(folder), relative_path=True)

    def load(self, folder, config):
        # Paths in what it saved are relative to the folder of the process.
        before = os.getcwd()
        os.chdir(folder)
        try:
            self._index = scann.scann_ops_pybind.load_searcher(str(folder))
        finally:
            os.chdir(before)
        self._index.set_num_threads(1)

    def apply(self, setting):
        self._reorder, self._probes = setting["reorder"], setting["probes"]

    def one(self, query):
        return self._index.search(query, K, self._reorder, self._probes)[0]

    def batch(self, queries):
        return self._index.search_batched(queries, K, self._reorder, self._probes)[0].astype(numpy.int64)


class ScaNNSoar(ScaNN):
    _soar = True

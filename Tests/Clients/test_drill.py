"""cluster/drill: what clients notice when processes are killed and stopped; the whole drill is run by hand."""

import json
import os
import subprocess

from conftest import BINARY, ROOT


def test_a_quick_drill_keeps_every_promise(tmp_path):
    """kill -9 and SIGSTOP of shard nodes and a coordinator, on S3: no failed read or write, no acknowledged write missing. What it took is printed, not judged: others use the machine."""
    run = subprocess.run(
        [ROOT / "cluster/drill", "--quick", "--json", tmp_path / "rows.json"],
        env={**os.environ, "COVEY_BINARY": BINARY}, capture_output=True, text=True, timeout=300,
    )
    assert run.returncode == 0, run.stdout[-3_000:] + run.stderr[-3_000:]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert not rows["problems"] and rows["missing"] == 0
    assert len(rows["rows"]) == 3 and all(row["reads"] > 0 and row["acknowledged"] > 0 for row in rows["rows"])
    assert rows["takeovers"]

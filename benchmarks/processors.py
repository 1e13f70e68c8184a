"""`python -m benchmarks.processors`: the claims on other processors and with other numbers of threads, side by side.

The same seed gives other weights where sums are added in another order; verdicts should not hang on that. Older
processors are simulated by telling torch and oneDNN which instructions to leave alone. Every circumstance trains the
whole study anew, into a store of its own under `_build/bench`.
"""

import argparse
import json
import os
import subprocess
import sys
from itertools import combinations

import pandas as pd

from study.provenance import ROOT

CIRCUMSTANCES = {
    "here": {},
    "SSE4.1": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "2 threads": {"threads": "2"},
}
CODE = """
import json, sys
from study import claims, open_study
options = json.loads(sys.argv[1])
print("LEDGER" + json.dumps(claims.ledger(open_study(options.pop("profile"), None, options.pop("store"), **options))))
"""


def ledger(name: str, profile: str) -> list[dict]:
    """The claims under one of CIRCUMSTANCES, computed in a process of its own."""
    changes = dict(CIRCUMSTANCES[name])
    options = {"profile": profile, "store": str(ROOT / "_build" / "bench" / f"store {name}")}
    if threads := changes.pop("threads", None):
        options |= {"threads": int(threads), "workers": 1}
    run = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(options)],
        env=os.environ | changes,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(next(line for line in run.stdout.splitlines() if line.startswith("LEDGER"))[6:])


def compare(ledgers: dict[str, list[dict]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Verdicts by claim and circumstance with `agree`; and every part whose estimate another's interval leaves out."""
    verdicts = pd.DataFrame({name: {r["id"]: r["verdict"] for r in rows} for name, rows in ledgers.items()})
    verdicts["agree"] = verdicts.eq(verdicts.iloc[:, 0], axis=0).all(axis=1)
    outside = []
    for a, b in combinations(ledgers, 2):
        for one, other in zip(ledgers[a], ledgers[b], strict=True):
            for p, q in zip(one["parts"], other["parts"], strict=True):
                for x, y, names in ((p, q, (a, b)), (q, p, (b, a))):
                    if x["estimate"] < y["ci_low"] or x["estimate"] > y["ci_high"]:
                        row = {"claim": one["id"], "part": p["label"], "estimate of": names[0]}
                        row |= {"estimate": x["estimate"], "outside of": names[1]}
                        outside.append(row | {"low": y["ci_low"], "high": y["ci_high"]})
    return verdicts, pd.DataFrame(outside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--on", nargs="+", choices=CIRCUMSTANCES, default=list(CIRCUMSTANCES))
    options = parser.parse_args()
    ledgers = {name: ledger(name, options.profile) for name in options.on}
    verdicts, outside = compare(ledgers)
    path = ROOT / "_build" / "bench" / "processors.json"
    path.write_text(json.dumps(ledgers, indent=1) + "\n")
    parts = sum(len(r["parts"]) for r in next(iter(ledgers.values())))
    print(
        verdicts.to_string(),
        f"\n\n{len(outside)} estimates of {parts} parts lie outside of another's interval:",
    )
    print(outside.round(3).to_string(index=False), f"\n\nwritten to {path}")


if __name__ == "__main__":
    main()

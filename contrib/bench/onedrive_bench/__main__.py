"""Runs scenarios and writes the results; `run.sh` beside this folder is the way to start it."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from .clients import Native, Ours, Rclone
from .emulator import Emulator
from .report import Results
from .scenarios import ALL, Scenarios, prepare

ROOT = Path(__file__).resolve().parents[3]
STORE = ROOT / "docs" / "benchmarks.json"


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh", description="Measures mounts side by side.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(ALL)}; all if none is given")
    parser.add_argument("--list", action="store_true", help="name the scenarios and exit")
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--rclone", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3, help="runs of each scenario (3)")
    parser.add_argument("--rtt", type=int, default=50, metavar="MS", help="round-trip time of the line (50)")
    parser.add_argument("--rate", type=int, default=125_000_000, metavar="BYTES_PER_SECOND",
                        help="bandwidth in each direction (125,000,000)")
    parser.add_argument("--only", choices=("ours", "rclone"), help="measure one mount; print, store nothing")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the mounts, with their logs")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.scenarios if name not in ALL]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    return chosen


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB memory, Linux {platform.release()}"


def main() -> int:
    chosen = arguments()
    if chosen.list:
        print("\n".join(ALL))
        return 0
    names = chosen.scenarios or ALL
    Ours.program, Rclone.program = chosen.binaries / "onedrive-mount", chosen.rclone
    results = Results(json.loads(STORE.read_text()) if STORE.exists() else {})
    work = Path(tempfile.mkdtemp(prefix="onedrive-bench-"))
    failed = 0
    emulator = Emulator(chosen.binaries / "onedrive-cli", work, chosen.rtt, chosen.rate)
    try:
        prepare(emulator)
        emulator.line_on()
        kinds = {"rclone": Rclone, "onedrive-mount": Ours}
        native = Native(work / "native")
        scenarios = Scenarios(
            emulator, lambda client, core=None: kinds[client](emulator, work / client, core), native)
        if chosen.only:
            kinds = {"onedrive-mount": Ours} if chosen.only == "ours" else {"rclone": Rclone}
        for name in names:
            fresh = {client: [] for client in kinds}
            for run in range(1 if name == "idle" else chosen.runs):
                for client in kinds:
                    try:
                        figures = scenarios.run(name, client)
                    except Exception:
                        traceback.print_exc()
                        failed += 1
                        continue
                    fresh[client].append(figures)
                    shown = {key: value for key, value in figures.items() if not key.endswith(("bytes",))}
                    print(f"{name} {run + 1} {client}: {json.dumps(shown)}", flush=True)
            side = getattr(scenarios, f"{name}_native", None)
            if side and not chosen.only:
                figures = {}
                side(figures)
                fresh["ext4"] = [figures]
                print(f"{name} ext4: {json.dumps(figures)}", flush=True)
            if all(fresh.values()):
                results.runs[name] = fresh
    finally:
        emulator.close()
        if chosen.keep or failed:
            print(f"logs are in {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)
    if not chosen.only:
        counts = [len(runs) for clients in results.runs.values() for client, runs in clients.items()
                  if client != "ext4"]
        version = subprocess.run([chosen.rclone, "version"], capture_output=True, text=True, check=True).stdout
        results.about = {"machine": machine(), "rtt_ms": chosen.rtt, "bytes_per_second": chosen.rate,
                         "rclone": version.split("\n")[0].removeprefix("rclone v"),
                         "least_runs": min(counts, default=0), "most_runs": max(counts, default=0)}
        STORE.write_text(json.dumps(results.stored(), indent=1) + "\n")
        (ROOT / "docs" / "benchmarks.md").write_text(results.markdown())
        (ROOT / "docs" / "benchmarks.svg").write_text(results.svg())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

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
from contextlib import contextmanager
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
    parser.add_argument("--keep", action="store_true", help="keep the logs of the last runs")
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


@contextmanager
def workbench(kept):
    """A folder for the mounts, and what to call the disk that it is on: a new ext4 of its own where that can be made (by
    root). What the disk held and what was deleted there lately would else be measured too: an ext4 without a journal does
    not use the inodes again that were freed in the last minutes, and looks at each of them whenever a file is made
    (`recently_deleted` in the kernel's fs/ext4/ialloc.c). After some runs that made a new file thirty times as dear."""
    folder = Path(tempfile.mkdtemp(prefix="onedrive-bench-"))
    image, point = folder / "disk.img", folder / "disk"
    point.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 30)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    own = os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None \
        and subprocess.run(["mkfs.ext4", "-q", "-F", image], **quiet).returncode == 0 \
        and subprocess.run(["mount", "-o", "loop", image, point], **quiet).returncode == 0
    disk = "a new ext4 with a journal" if own else "the disk as it was"
    if not own:
        print("the mounts work on the disk as it is; as root they get a file system of their own", file=sys.stderr)
    failed = True
    try:
        yield point, disk
        failed = False
    finally:
        if failed or kept():
            logs = Path(tempfile.mkdtemp(prefix="onedrive-bench-logs-"))
            for log in point.rglob("*.log"):
                shutil.copy(log, logs / "-".join(log.relative_to(point).parts))
            print(f"logs are in {logs}", file=sys.stderr)
        # Not what cannot be unmounted: that may be another's files by now.
        if not own or subprocess.run(["umount", "-R", point], check=False).returncode == 0:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    chosen = arguments()
    if chosen.list:
        print("\n".join(ALL))
        return 0
    names = chosen.scenarios or ALL
    Ours.program, Rclone.program = chosen.binaries / "onedrive-mount", chosen.rclone
    results = Results(json.loads(STORE.read_text()) if STORE.exists() else {})
    failed = 0
    with workbench(lambda: chosen.keep or failed > 0) as (work, disk):
        failed = measure(chosen, names, work, results)
    return conclude(chosen, results, failed, disk)


def measure(chosen, names, work, results) -> int:
    """Runs the scenarios; says how many runs failed."""
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
    return failed


def conclude(chosen, results, failed, disk) -> int:
    """Writes down what was measured."""
    if not chosen.only:
        counts = [len(runs) for clients in results.runs.values() for client, runs in clients.items()
                  if client != "ext4"]
        version = subprocess.run([chosen.rclone, "version"], capture_output=True, text=True, check=True).stdout
        results.about = {"machine": machine(), "disk": disk, "rtt_ms": chosen.rtt, "bytes_per_second": chosen.rate,
                         "rclone": version.split("\n")[0].removeprefix("rclone v"),
                         "least_runs": min(counts, default=0), "most_runs": max(counts, default=0)}
        STORE.write_text(json.dumps(results.stored(), indent=1) + "\n")
        (ROOT / "docs" / "benchmarks.md").write_text(results.markdown())
        (ROOT / "docs" / "benchmarks.svg").write_text(results.svg())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

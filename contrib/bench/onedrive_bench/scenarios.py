"""What is measured. A scenario gets a way to start a mount and returns its figures by name.

Times are in seconds and end when the caller of the system call has its answer. The drive is prepared once, see
`prepare`; scenarios that write do so in folders of their own, which are removed through the cloud afterwards.
"""

import os
import random
import statistics
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
FOLDERS, FILES = 100, 100
LARGE, SEQUENTIAL = 1024 * MIB, 256 * MIB
SMALL_FILES, SMALL = 500, 4096
RANDOM_READS = 20


def prepare(emulator):
    """What is on the drive before anything is measured."""
    emulator.ask("POST", "/tree", path="tree", folders=FOLDERS, files=FILES, size=1024)
    emulator.ask("POST", "/file", path="large.bin", size=LARGE)
    emulator.ask("POST", "/file", path="sequential.bin", size=SEQUENTIAL)
    for number in range(8):
        emulator.ask("POST", "/file", path=f"streams/{number}.bin", size=128 * MIB)


def listed(point: Path):
    """Waits for the listing of the root; with how the mounts begin it is always complete or an error."""
    while "tree" not in os.listdir(point):
        time.sleep(0.002)


def settle(mount):
    """Lets what a mount does of itself after its start come to an end."""
    listed(mount.point)
    time.sleep(2.5)


def timed(call):
    begun = time.monotonic()
    result = call()
    return time.monotonic() - begun, result


def find(path: Path) -> int:
    output = subprocess.run(["find", path, "-ls"], stdout=subprocess.PIPE, check=True).stdout
    return output.count(b"\n")


def read_through(path: Path, piece: int = MIB) -> float:
    """Bytes a second of reading a file from its beginning to its end."""
    buffer = bytearray(piece)
    begun, total = time.monotonic(), 0
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total / (time.monotonic() - begun)


class Scenarios:
    """All scenarios; `run(name, client)` measures one with one client."""

    def __init__(self, emulator, start, native):
        self.emulator, self.start, self.native = emulator, start, native
        self.written = 0

    @contextmanager
    def metered(self, figures: dict, name: str):
        """Counts what a step costs the service."""
        self.emulator.reset_meter()
        yield
        meter = self.emulator.meter()
        figures[f"{name} requests"] = meter["requests"]
        figures[f"{name} kinds"] = meter["kinds"]
        figures[f"{name} bytes"] = meter["received"] + meter["sent"]

    def run(self, name: str, client: str) -> dict:
        figures = {}
        getattr(self, name.replace("-", "_"))(client, figures)
        return figures

    def remember_memory(self, mount, figures):
        figures["peak memory"] = mount.status("VmHWM")

    # One method a scenario. Those that mean something without a network run on the native file system too.

    def mount(self, client, figures):
        with self.metered(figures, "mount"), self.start(client) as mount:
            listed(mount.point)
            figures["mount"] = time.monotonic() - mount.started
            self.remember_memory(mount, figures)

    def find(self, client, figures):
        with self.start(client) as mount:
            listed(mount.point)
            with self.metered(figures, "find cold"):
                figures["find cold"], lines = timed(lambda: find(mount.point / "tree"))
            assert lines == 1 + FOLDERS + FOLDERS * FILES, f"find saw {lines} lines"
            with self.metered(figures, "find again"):
                again = [timed(lambda: find(mount.point / "tree"))[0] for _ in range(3)]
            figures["find again"] = statistics.median(again)
            self.remember_memory(mount, figures)

    def find_native(self, figures):
        root = self.native.point / "tree"
        if not root.exists():
            for folder in range(FOLDERS):
                (root / f"folder-{folder:03}").mkdir(parents=True)
                for file in range(FILES):
                    (root / f"folder-{folder:03}" / f"file-{file:04}.txt").write_bytes(b"x" * 1024)
        figures["find again"] = statistics.median(timed(lambda: find(root))[0] for _ in range(3))

    def random(self, client, figures):
        offsets = random.Random(len(figures) + 7)
        with self.start(client) as mount:
            settle(mount)
            with self.metered(figures, "first byte"):
                begun = time.monotonic()
                file = os.open(mount.point / "large.bin", os.O_RDONLY)
                os.pread(file, 1, LARGE // 2)
                figures["first byte"] = time.monotonic() - begun
            with self.metered(figures, "random reads"):
                times = []
                for _ in range(RANDOM_READS):
                    at = offsets.randrange(LARGE // 4096) * 4096
                    times.append(timed(lambda at=at: os.pread(file, 4096, at))[0])
            os.close(file)
            figures["random reads"] = statistics.median(times)
            self.remember_memory(mount, figures)

    def sequential(self, client, figures):
        with self.start(client) as mount:
            settle(mount)
            with self.metered(figures, "sequential cold"):
                figures["sequential cold"] = read_through(mount.point / "sequential.bin")
            time.sleep(1)
            figures["sequential again"] = statistics.median(
                read_through(mount.point / "sequential.bin") for _ in range(3))
            self.remember_memory(mount, figures)

    def sequential_native(self, figures):
        path = self.native.point / "sequential.bin"
        if not path.exists():
            path.write_bytes(os.urandom(SEQUENTIAL))
        read_through(path)
        figures["sequential again"] = statistics.median(read_through(path) for _ in range(3))

    def small(self, client, figures, core=None):
        with self.start(client, core=core) as mount:
            settle(mount)
            self.written += 1
            folder = f"small-{self.written}"
            os.mkdir(mount.point / folder)
            # The folder itself is in the cloud before the clock starts.
            time.sleep(4)
            with self.metered(figures, "small files"):
                figures["small files"] = self.write_small(mount.point / folder, core)
                figures["small files in the cloud"] = self.emulator.wait_for(
                    folder, SMALL_FILES, SMALL_FILES * SMALL)
            self.remember_memory(mount, figures)
        self.emulator.ask("POST", "/remove", path=folder)

    def small_one_core(self, client, figures):
        inner = {}
        self.small(client, inner, core=0)
        figures["small files, one core"] = inner["small files"]

    def small_native(self, figures):
        self.written += 1
        folder = self.native.point / f"small-{self.written}"
        folder.mkdir()
        figures["small files"] = self.write_small(folder, None)

    @staticmethod
    def write_small(folder: Path, core) -> float:
        """Files a second."""
        before = os.sched_getaffinity(0)
        if core is not None:
            os.sched_setaffinity(0, {core})
        content = os.urandom(SMALL)
        begun = time.monotonic()
        for number in range(SMALL_FILES):
            file = os.open(f"{folder}/{number:04}.dat", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(file, content)
            os.close(file)
        took = time.monotonic() - begun
        os.sched_setaffinity(0, before)
        return SMALL_FILES / took

    def upload(self, client, figures):
        with self.start(client) as mount:
            settle(mount)
            self.written += 1
            folder = f"upload-{self.written}"
            os.mkdir(mount.point / folder)
            time.sleep(4)
            piece = os.urandom(MIB)
            with self.metered(figures, "upload"):
                begun = time.monotonic()
                with open(mount.point / folder / "new.bin", "wb", buffering=0) as file:
                    for _ in range(SEQUENTIAL // MIB):
                        file.write(piece)
                figures["upload write"] = time.monotonic() - begun
                figures["upload"] = self.emulator.wait_for(folder, 1, SEQUENTIAL)
            self.remember_memory(mount, figures)
        self.emulator.ask("POST", "/remove", path=folder)

    def names(self, client, figures):
        with self.start(client) as mount:
            settle(mount)
            made, renamed, removed = [], [], []
            for number in range(15):
                one, two = mount.point / f"made-{number}", mount.point / f"renamed-{number}"
                made.append(timed(lambda path=one: os.mkdir(path))[0])
                renamed.append(timed(lambda a=one, b=two: os.rename(a, b))[0])
                removed.append(timed(lambda path=two: os.rmdir(path))[0])
            figures["mkdir"], figures["rename"], figures["rmdir"] = map(statistics.median, (made, renamed, removed))
            self.remember_memory(mount, figures)

    def names_native(self, figures):
        made, renamed, removed = [], [], []
        for number in range(15):
            one, two = self.native.point / f"made-{number}", self.native.point / f"renamed-{number}"
            made.append(timed(lambda path=one: os.mkdir(path))[0])
            renamed.append(timed(lambda a=one, b=two: os.rename(a, b))[0])
            removed.append(timed(lambda path=two: os.rmdir(path))[0])
        figures["mkdir"], figures["rename"], figures["rmdir"] = map(statistics.median, (made, renamed, removed))

    def busy(self, client, figures):
        """Metadata calls while eight transfers saturate the line."""
        with self.start(client) as mount:
            settle(mount)
            find(mount.point / "tree")
            stop = threading.Event()

            def stream(number):
                buffer = bytearray(MIB)
                with open(mount.point / "streams" / f"{number}.bin", "rb", buffering=0) as file:
                    while not stop.is_set() and file.readinto(buffer):
                        pass

            threads = [threading.Thread(target=stream, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            time.sleep(1)
            times, missing = [], random.Random(3)
            until = time.monotonic() + 4
            while time.monotonic() < until:
                # A name that is not there has to be answered by the mount, whatever the kernel remembers.
                path = mount.point / "tree" / f"folder-{missing.randrange(FOLDERS):03}" / f"no-{missing.random()}"
                times.append(timed(lambda path=path: os.path.exists(path))[0])
                time.sleep(0.002)
            stop.set()
            for thread in threads:
                thread.join()
            figures["lookup while busy, p99"] = statistics.quantiles(times, n=100)[98]
            self.remember_memory(mount, figures)

    def idle(self, client, figures):
        with self.start(client) as mount:
            settle(mount)
            find(mount.point / "tree")
            time.sleep(10)
            self.emulator.reset_meter()
            cpu, seconds = mount.cpu_seconds(), 120
            time.sleep(seconds)
            figures["idle requests a minute"] = self.emulator.meter()["requests"] * 60 / seconds
            figures["idle processor"] = (mount.cpu_seconds() - cpu) / seconds
            figures["idle memory"] = mount.status("VmRSS")


ALL = ("mount", "find", "random", "sequential", "small", "small-one-core", "upload", "names", "busy", "idle")

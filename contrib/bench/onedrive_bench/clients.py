"""The mounts that are compared. Each mount starts with nothing stored, in folders of its own."""

import json
import os
import shutil
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from .emulator import Emulator

CLIENT_ID = "bench"


def is_mounted(point: Path) -> bool:
    # The kernel's table answers also when a mount does not.
    with open("/proc/self/mountinfo") as table:
        return any(line.split(" ")[4] == str(point) for line in table)


class Mount:
    """A mount under way. Use as a context: whatever happens inside, it is unmounted at the end."""

    name = ""

    def __init__(self, emulator: Emulator, folder: Path, core: int | None = None):
        self.emulator, self.folder, self.core = emulator, folder, core
        self.point = folder / "mnt"
        shutil.rmtree(folder, ignore_errors=True)
        self.point.mkdir(parents=True)
        self.process = None
        self.started = 0.0

    def command(self) -> list:
        raise NotImplementedError

    def environment(self) -> dict:
        home = {name: str(self.folder / name.lower()) for name in
                ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")}
        for path in home.values():
            Path(path).mkdir(exist_ok=True, mode=0o700)
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8",
                **home, **self.emulator.environment()}

    def __enter__(self):
        self.log = open(self.folder / "daemon.log", "wb")
        command, environment = self.command(), self.environment()
        pin = (lambda: os.sched_setaffinity(0, {self.core})) if self.core is not None else None
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, preexec_fn=pin)
        while not is_mounted(self.point):
            if self.process.poll() is not None or time.monotonic() - self.started > 30:
                self.__exit__()
                raise RuntimeError(f"{self.name} does not mount; see {self.folder}/daemon.log")
            time.sleep(0.002)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if is_mounted(self.point):
            subprocess.run(["fusermount3", "-uz", self.point], check=False)
        self.log.close()

    def status(self, field: str) -> int:
        """A memory figure of the daemon, in bytes: VmHWM (the peak so far) or VmRSS."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Ours(Mount):
    """onedrive-mount with its default settings."""

    name = "onedrive-mount"
    program = Path()

    def command(self) -> list:
        tokens = self.emulator.tokens()
        config = self.folder / "config.yaml"
        config.write_text(f"client:\n  id: {CLIENT_ID}\n")
        state = self.folder / "state"
        state.mkdir(mode=0o700)
        token = state / "token.json"
        token.write_text(json.dumps({
            "version": 1, "identity": f"application {CLIENT_ID} at https://login.microsoftonline.com",
            "access_token": tokens["access"], "refresh_token": tokens["refresh"],
            "expires_at": int(time.time()) + tokens["expires_in"], "lifetime": tokens["expires_in"],
            "scope": "Files.ReadWrite User.Read offline_access"}))
        token.chmod(0o600)
        return [self.program, "--foreground", "--config", config, "--state-dir", state,
                "--cache-dir", self.folder / "cache", self.point]


class Rclone(Mount):
    """rclone mount as its manual recommends it for use as a file system."""

    name = "rclone"
    program = Path()

    def command(self) -> list:
        tokens = self.emulator.tokens()
        expiry = datetime.now(timezone.utc) + timedelta(seconds=tokens["expires_in"])
        token = {"access_token": tokens["access"], "token_type": "Bearer", "refresh_token": tokens["refresh"],
                 "expiry": expiry.isoformat()}
        config = self.folder / "rclone.conf"
        config.write_text("[cloud]\ntype = onedrive\n"
                          f"drive_id = {tokens['drive']}\ndrive_type = personal\ntoken = {json.dumps(token)}\n")
        return [self.program, "mount", "cloud:", self.point, "--config", config,
                "--cache-dir", self.folder / "cache", "--vfs-cache-mode", "full", "--vfs-cache-max-age", "24h",
                "--vfs-cache-max-size", "20G", "--vfs-read-ahead", "128M"]


class Native:
    """The local file system: what no mount can beat. The same files, already there."""

    name = "ext4"

    def __init__(self, folder: Path):
        self.point = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

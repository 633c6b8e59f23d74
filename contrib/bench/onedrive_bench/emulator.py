"""The emulator as a process of its own, and its desk (src/emulator/lab/desk.rs says what that can do)."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path


class Emulator:
    """One emulated service on one simulated line."""

    def __init__(self, program: Path, folder: Path, rtt_ms: int, bytes_per_second: int):
        self.line = {"rtt_ms": rtt_ms, "bytes_per_second": bytes_per_second}
        self.authority = folder / "ca.pem"
        self.log = open(folder / "emulator.log", "wb")
        self.process = subprocess.Popen(
            [program, "emulator", "--items", "0", "--lab", "127.0.0.1:0", "--log-level", "warn"],
            stdout=subprocess.PIPE, stderr=self.log)
        self.proxy = self._proxy()
        # The desk itself is asked directly, whatever the environment says.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.authority.write_text(self.ask("GET", "/ca.pem"))

    def _proxy(self) -> str:
        for line in self.process.stdout:
            text = line.decode()
            if "HTTPS_PROXY=" in text:
                return text.split("HTTPS_PROXY=")[1].strip()
        raise RuntimeError("the emulator ended; see its log")

    def ask(self, method: str, route: str, /, timeout: float = 300, **query) -> str:
        """One request to the desk."""
        url = f"{self.proxy}{route}?{urllib.parse.urlencode(query)}"
        with self.opener.open(urllib.request.Request(url, method=method), timeout=timeout) as answer:
            return answer.read().decode()

    def environment(self) -> dict:
        """What leads a program into the emulator."""
        return {"HTTPS_PROXY": self.proxy, "SSL_CERT_FILE": str(self.authority)}

    def tokens(self) -> dict:
        return json.loads(self.ask("POST", "/tokens"))

    def line_on(self):
        # As SharePoint does (https://github.com/OneDrive/onedrive-api-docs/issues/133). The emulator's default is the
        # harsher reading, that it cannot be relied on.
        self.ask("POST", "/etag", on=1)
        self.ask("POST", "/link", **self.line)

    def meter(self) -> dict:
        return json.loads(self.ask("GET", "/meter"))

    def reset_meter(self):
        self.ask("POST", "/reset")

    def wait_for(self, path: str, files: int, size: int, seconds: int = 120) -> float:
        """Seconds until so many files with so many bytes in all are in a folder of the cloud."""
        begun = time.monotonic()
        self.ask("GET", "/wait", timeout=seconds + 10, path=path, files=files, bytes=size, seconds=seconds)
        return time.monotonic() - begun

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()

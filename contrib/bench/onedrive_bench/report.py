"""From figures to docs/benchmarks.md and docs/benchmarks.svg. All runs are kept; tables show medians."""

import statistics
from html import escape

MIB, MB = 1 << 20, 1_000_000


def seconds(value):
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def rate(value):
    return f"{value / MB:,.0f} MB/s"


def files(value):
    return f"{value:,.0f} files/s"


def memory(value):
    return f"{value / MIB:,.0f} MiB"


def number(value):
    return f"{value:.1f}"


def share(value):
    return f"{value * 100:.2f} %"


# Figure, words, how it is written, whether more is better, what must be reached, what we aim at.
LINES = (
    ("mount", "mount to first root listing, nothing stored", seconds, False, 1.0, 0.3),
    ("find cold", "cold `find -ls` of 10,000 files in 100 folders", seconds, False, 3.0, 1.0),
    ("find again", "the same again", seconds, False, 0.3, "twice ext4's time"),
    ("first byte", "first byte of a cold 1 GiB file, middle", seconds, False, 0.130, "1 round trip + 5 ms"),
    ("random reads", "20 random 4 KiB reads in it, median", seconds, False, 0.070, "1 round trip + 5 ms"),
    ("sequential cold", "256 MiB sequential, cold", rate, True, "85 % of the line", "95 %"),
    ("sequential again", "the same again", rate, True, 3000 * MB, "60 % of ext4"),
    ("small files", "500 × 4 KiB files, return to the prompt", files, True, 1600, None),
    ("small files, one core", "the same, program and daemon on one core", files, True, 1600, 4000),
    ("small files in the cloud", "from there until all are in the cloud", seconds, False, 4.0, None),
    ("upload", "256 MiB file, from close until in the cloud", seconds, False, 3.2, "within 10 % of the line"),
    ("mkdir", "mkdir", seconds, False, 0.001, 0.0003),
    ("rename", "rename", seconds, False, 0.001, 0.0003),
    ("rmdir", "rmdir", seconds, False, 0.001, 0.0003),
    ("lookup while busy, p99", "lookup of a missing name while 8 transfers saturate the line, p99", seconds, False,
     0.002, None),
    ("peak memory", "resident memory at the worst moment", memory, False, 100 * MIB, 60 * MIB),
    ("idle requests a minute", "idle: requests a minute", number, False, 1.0, None),
    ("idle processor", "idle: processor", share, False, 0.001, None),
    ("idle memory", "idle: resident memory", memory, False, None, 60 * MIB),
)

CLIENTS = ("rclone", "onedrive-mount")


class Results:
    """`runs[scenario][client]` is a list of figures by name."""

    def __init__(self, stored: dict):
        self.about, self.runs = stored.get("about", {}), stored.get("runs", {})

    def stored(self) -> dict:
        return {"about": self.about, "runs": self.runs}

    def values(self, client: str, name: str) -> list:
        return [figures[name] for runs in self.runs.values() for figures in runs.get(client, []) if name in figures]

    def median(self, client: str, name: str):
        values = self.values(client, name)
        if not values:
            return None
        return max(values) if name == "peak memory" else statistics.median(values)

    def wanted(self, value, write):
        if value is None:
            return ""
        return value if isinstance(value, str) else write(value)

    def table(self) -> str:
        rows = ["| scenario | rclone | onedrive-mount | ratio | ext4 | to reach | aim |",
                "|---|---:|---:|---:|---:|---:|---:|"]
        for name, words, write, more, reach, aim in LINES:
            cells = {client: self.median(client, name) for client in (*CLIENTS, "ext4")}
            if all(value is None for value in cells.values()):
                continue
            texts = {client: "" if value is None else write(value) for client, value in cells.items()}
            rows.append(f"| {words} | {texts['rclone']} | **{texts['onedrive-mount']}** | "
                        f"{self.ratio(cells, more)} | {texts['ext4']} | "
                        f"{self.wanted(reach, write)} | {self.wanted(aim, write)} |")
        return "\n".join(rows)

    @staticmethod
    def factor(cells, more):
        theirs, ours = cells["rclone"], cells["onedrive-mount"]
        if not theirs or not ours:
            return None
        return ours / theirs if more else theirs / ours

    def ratio(self, cells, more):
        factor = self.factor(cells, more)
        return "" if factor is None else f"{factor:.3g} ×"

    def costs(self) -> str:
        rows = ["| step | rclone: requests | bytes | onedrive-mount: requests | bytes |", "|---|---:|---:|---:|---:|"]
        steps = ("mount", "find cold", "find again", "first byte", "random reads", "sequential cold", "small files",
                 "upload")
        for step in steps:
            cells = []
            for client in CLIENTS:
                requests, size = self.median(client, f"{step} requests"), self.median(client, f"{step} bytes")
                cells += ["" if requests is None else f"{requests:,.0f}", "" if size is None else f"{size:,.0f}"]
            if any(cells):
                rows.append(f"| {step} | " + " | ".join(cells) + " |")
        return "\n".join(rows)

    def memories(self) -> str:
        rows = ["| scenario | rclone | onedrive-mount |", "|---|---:|---:|"]
        for scenario, runs in self.runs.items():
            peaks = {client: [figures["peak memory"] for figures in runs.get(client, []) if "peak memory" in figures]
                     for client in CLIENTS}
            if any(peaks.values()):
                rows.append(f"| {scenario} | " + " | ".join(
                    memory(max(values)) if values else "" for values in peaks.values()) + " |")
        return "\n".join(rows)

    def markdown(self) -> str:
        about = self.about
        return f"""# Benchmarks

Made by `./contrib/bench/run.sh`; figures of single runs are in `benchmarks.json`. Do not edit.

{about.get('machine', '')}. Both mounts talk to the same emulator on the same machine, through TLS, over a simulated
line of {about.get('rtt_ms')} ms round-trip time and {about.get('bytes_per_second', 0) / MB:,.0f} MB/s in each direction
(a new connection costs two round trips more). rclone {about.get('rclone')} with `--vfs-cache-mode full
--vfs-read-ahead 128M`, everything else as it comes; onedrive-mount with its default settings. Emulator, mount and
reading program share the machine; caches and the files of the comparison are on {about.get('disk')}. A file rests
after its last close before it is sent: 5 s with rclone, 0.5 s with onedrive-mount; both are part of the figures.

Medians of {about.get('least_runs')} to {about.get('most_runs')} runs, taken in turn, each with a fresh mount that has
nothing stored; memory is the largest of all runs. The ratio says how many times better onedrive-mount is.

{self.table()}

![How many times better than rclone](benchmarks.svg)

## What each step costs the service

{self.costs()}

## Largest resident memory

{self.memories()}
"""

    def svg(self) -> str:
        """Bars of ratios on a logarithmic scale; 1 is as good as rclone."""
        import math
        bars = []
        for name, words, _, more, _, _ in LINES:
            cells = {client: self.median(client, name) for client in CLIENTS}
            factor = self.factor(cells, more)
            if factor:
                bars.append((words.replace("`", ""), factor))
        left, width, height = 470, 880, 26
        top = 40
        most = max([2.0, *(factor for _, factor in bars)])
        least = min([0.5, *(factor for _, factor in bars)])
        span = math.log10(most) - math.log10(least)

        def x(factor):
            return left + (math.log10(factor) - math.log10(least)) / span * (width - left - 70)

        out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + height * len(bars) + 12}" '
               'font-family="sans-serif" font-size="12">',
               '<rect width="100%" height="100%" fill="white"/>',
               '<text x="10" y="20" font-size="14">How many times better than rclone (logarithmic; the line is 1)'
               '</text>']
        for row, (words, factor) in enumerate(bars):
            y = top + row * height
            start, end = sorted((x(1), x(factor)))
            colour = "#2a7f62" if factor >= 1 else "#b3432b"
            out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(words)}</text>')
            out.append(f'<rect x="{start:.1f}" y="{y + 2}" width="{max(end - start, 1):.1f}" height="16" '
                       f'fill="{colour}"/>')
            out.append(f'<text x="{max(end, x(1)) + 5:.1f}" y="{y + 14}">{factor:.3g} ×</text>')
        out.append(f'<line x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{top - 6}" y2="{top + height * len(bars)}" '
                   'stroke="#555"/>')
        return "\n".join([*out, "</svg>", ""])

"""What the benches that set whole programs against each other share: the peer's Python, measured runs, medians, reports.

Input, environments and outputs are made below target; nothing else is written but benches/runs/.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "benches" / "peers"
RUNS = ROOT / "benches" / "runs"
WORK = ROOT / "target" / "bench"
VENV = ROOT / "target" / "peers-venv"
PYTHON = VENV / "bin" / "python"
GUSTFRONT = ROOT / "target" / "release" / "gustfront"
SAMPLE_SECONDS = 0.1  # between two looks at the memory of all processes of a run
MEGABYTE = 1e6


def shell(command, **options):
    """Runs a command to its end and returns what it printed."""
    return subprocess.run([str(c) for c in command], check=True, cwd=ROOT, text=True, stdout=subprocess.PIPE, **options).stdout


def prepare():
    """The program is there, and the Python of the peers, made once."""
    if not GUSTFRONT.exists():
        sys.exit(f"{GUSTFRONT.relative_to(ROOT)} is missing: make build")
    WORK.mkdir(parents=True, exist_ok=True)
    if not PYTHON.exists():
        print(f"making {VENV.relative_to(ROOT)} with the packages of benches/peers/requirements.txt", flush=True)
        shell([sys.executable, "-m", "venv", VENV])
    shell([PYTHON, "-m", "pip", "install", "--quiet", "--requirement", PEERS / "requirements.txt"])


def tree(root):
    """Process ids of a process and of everything below it."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def resident(pid):
    """Bytes of memory of one process, pages shared with others counted by share; 0 once it has ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure(command):
    """Wall and processor seconds of a command, and the peak memory of all its processes together."""
    log, load = WORK / "last-run.log", os.getloadavg()[0]
    with log.open("w") as out:
        start = time.monotonic()
        process = subprocess.Popen([str(c) for c in command], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        peak, ended = [0], threading.Event()

        def watch():
            while not ended.wait(SAMPLE_SECONDS):
                peak[0] = max(peak[0], sum(resident(pid) for pid in tree(process.pid)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        ended.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{log.read_text()[-4000:]}")
    scale = 1 if sys.platform == "darwin" else 1024
    largest = usage.ru_maxrss * scale
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": max(peak[0], largest), "load_before": load}


def told(run):
    """A run in few words."""
    return f"{run['wall_s']:.2f} s, {run['peak_bytes'] / MEGABYTE:.0f} MB"


def medians(runs):
    """The median of each figure of some runs."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def ratio(runs, others, key):
    """How many times more the others take: the median of the ratios of the two runs of each round."""
    return statistics.median(other[key] / run[key] for run, other in zip(runs, others))


def machine(packages):
    """What was measured on, and with which versions of gustfront and of the peer's packages."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    pinned = [line for line in (PEERS / "requirements.txt").read_text().splitlines() if line.split("==")[0] in packages]
    return {"cores": os.cpu_count(), "processor": model, "system": platform.platform(), "load_before": os.getloadavg()[0],
            "gustfront": shell([GUSTFRONT, "--version"]).strip(), "commit": shell(["git", "describe", "--always", "--dirty"]).strip(),
            "rustc": shell(["rustc", "--version"]).strip(), "python": shell([PYTHON, "--version"]).strip(), "peer": pinned}


def row(*cells):
    """One row of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(title, report):
    """The first lines of a report in Markdown: what was run, on what."""
    m = report["machine"]
    return [f"# {title}, {report['date']}", "",
            f"`{report['command']}` on {m['cores']} cores ({m['processor']}; {m['system']}), load at the start {m['load_before']:.1f}. "
            f"{m['gustfront']} at {m['commit']}, {m['rustc']}; {m['python']}, {', '.join(m['peer'])}.", ""]


def save(folder, name, report, text):
    """Writes a report as JSON and as Markdown, and prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{report['date']}-{name}"
    target.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    target.with_suffix(".md").write_text(text)
    print(text)

"""Reads files from end to end and writes so many bytes, nothing else: what any program with this input and output must do.

usage: raw_copy.py INPUT OUTPUT --read BYTES --write BYTES [--workers N]
Of every file below INPUT its share of --read is read, from its start on; as much is written, in files of 116 MB, after each
buffer as there was read into it.
"""

import argparse
import multiprocessing
import pathlib

BUFFER = 8 << 20
OUTPUT_FILE = 49 * 384 * 384 * 2 * 8  # bytes of 16-bit frames of eight events


def copy(jobs, output, worker, ratio):
    """Reads the leading bytes of some files and writes `ratio` times as many."""
    buffer, made, room, target, owed = memoryview(bytearray(BUFFER)), 0, 0, None, 0.0
    for path, length in jobs:
        with open(path, "rb", buffering=0) as source:
            while length > 0 and (count := source.readinto(buffer[:min(length, BUFFER)])):
                length, owed = length - count, owed + count * ratio
                while owed >= 1:
                    if room == 0:
                        target = open(output / f"{worker}-{made}", "wb", buffering=0)
                        made, room = made + 1, OUTPUT_FILE
                    wrote = target.write(buffer[:min(int(owed), room, BUFFER)])
                    owed, room = owed - wrote, room - wrote


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--read", type=int, required=True)
    parser.add_argument("--write", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    options.output.mkdir(parents=True)
    files = [(path, path.stat().st_size) for path in sorted(options.input.rglob("*.h5"))]
    share = options.read / sum(size for _, size in files)
    jobs = [(path, int(size * share)) for path, size in files]
    ratio = options.write / options.read
    # The largest first, each to the worker with the least.
    loads = [(0, []) for _ in range(options.workers)]
    for path, length in sorted(jobs, key=lambda job: -job[1]):
        least = min(range(options.workers), key=lambda worker: loads[worker][0])
        loads[least] = (loads[least][0] + length, [*loads[least][1], (path, length)])
    processes = [multiprocessing.Process(target=copy, args=(load, options.output, worker, ratio)) for worker, (_, load) in enumerate(loads)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a process failed")


if __name__ == "__main__":
    main()

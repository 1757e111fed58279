"""A ring of your own for stormglass: 160 points a node on a circle of MD5 hashes."""
import bisect
import hashlib
import sys


def place(text):
    return int.from_bytes(hashlib.md5(text).digest()[:8], "big")


circle, points = [], []
while head := sys.stdin.buffer.readline().split():
    lines = [sys.stdin.buffer.readline().rstrip(b"\n") for _ in range(int(head[1]))]
    if head[0] == b"nodes":  # who the nodes are from now on: name, weight, zone
        names = [line.split(b"\t")[0] for line in lines]
        circle = sorted((place(b"%b-%d" % (name, i)), name) for name in names for i in range(160))
        points = [point for point, _ in circle]
        answers = []
    else:  # the owners of these keys, one a line
        answers = [circle[bisect.bisect(points, place(key)) % len(circle)][1] for key in lines]
    sys.stdout.buffer.write(b"\n".join(answers + [b"ok"]) + b"\n")
    sys.stdout.buffer.flush()

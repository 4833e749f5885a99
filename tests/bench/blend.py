"""Copies the numbers that `thaw evaluate --blend-out` wrote, with some of them set for every number of known items.

usage: blend.py IN OUT NAME=VALUE...        names of `Known` in src/proto/thaw.proto; needs libxxhash
"""
import ctypes
import os
import re
import struct
import sys

MAGIC = b"THAWPB1\n"  # then XXH3 of the message, and the message
PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/proto/thaw.proto")


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """(key, payload as it lies there, content) of each field."""
    at = 0
    while at < len(data):
        key, start = read_varint(data, at)
        size, begin = (8, start) if key & 7 == 1 else read_varint(data, start)
        at = begin if key & 7 == 0 else begin + size
        yield key, data[start:at], data[begin:at]


def main():
    known = re.search(r"message Known \{(.*?)\n\}", open(PROTO).read(), re.S)[1]
    kind = {name: (word, int(number)) for word, name, number in re.findall(r"(\w+) (\w+) = (\d+);", known)}
    more = b""
    for setting in sys.argv[3:]:
        name, value = setting.split("=")
        word, number = kind[name]
        more += varint(number << 3 | (word == "double"))
        more += struct.pack("<d", float(value)) if word == "double" else varint(int(value))
    message, out = open(sys.argv[1], "rb").read()[16:], b""
    for key, payload, content in fields(message):
        if key == 3 << 3 | 2:  # Blend.known; of a field that comes twice, the last counts
            payload = varint(len(content + more)) + content + more
        out += varint(key) + payload
    xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    xxh3.restype, xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
    with open(sys.argv[2], "wb") as file:
        file.write(MAGIC + struct.pack("<Q", xxh3(out, len(out))) + out)


main()

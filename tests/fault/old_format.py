"""old_format.py MANIFEST NUMBER: give a manifest another format number, checksum and all."""

import ctypes
import struct
import sys

path, number = sys.argv[1], int(sys.argv[2])
xxh3 = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
xxh3.restype, xxh3.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
raw = open(path, "rb").read()
body = raw[16:]
assert raw[:8] == b"THAWPB1\n" and body[0] == 0x08 and body[1] < 0x80, "no manifest, or no format number in it"
body = body[:1] + bytes([number]) + body[2:]
open(path, "wb").write(raw[:8] + struct.pack("<Q", xxh3(body, len(body))) + body)

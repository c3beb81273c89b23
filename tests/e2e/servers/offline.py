"""Runs a program in a network namespace that has nothing but loopback: offline.py COMMAND ARGUMENT..."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys

NEW_USER, NEW_NET = 0x10000000, 0x40000000
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1

libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEW_NET if os.getuid() == 0 else NEW_USER | NEW_NET):
    sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
with socket.socket() as sock:
    asked = struct.pack("16sH14s", b"lo", 0, b"")
    flags = struct.unpack("16sH14s", fcntl.ioctl(sock, GET_FLAGS, asked))[1]
    fcntl.ioctl(sock, SET_FLAGS, struct.pack("16sH14s", b"lo", flags | UP, b""))
os.execvp(sys.argv[1], sys.argv[1:])

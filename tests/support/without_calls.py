"""Runs a program as on a kernel, or in a container, where some system calls fail:

    without_calls.py clone3=ENOSYS mount_setattr=EPERM -- PROGRAM [ARGUMENT…]

`CALL=ERRNO` fails the call always. x86_64 and aarch64.
"""
import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {"x86_64": {"fork": 57, "setns": 308, "seccomp": 317, "keyctl": 250, "unshare": 272},
           "aarch64": {"setns": 268, "seccomp": 277, "keyctl": 219, "unshare": 97}}
COMMON = {"pidfd_send_signal": 424, "clone3": 435, "close_range": 436, "mount_setattr": 442,
          "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446}
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LD_W_ABS, JEQ_K, RET_K = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38


def program_of(refusals):
    machine = platform.machine()
    numbers = {**COMMON, **NUMBERS[machine]}
    code = [(LD_W_ABS, 0, 0, 4), (JEQ_K, 1, 0, AUDIT_ARCH[machine]), (RET_K, 0, 0, ALLOW), (LD_W_ABS, 0, 0, 0)]
    for call, name in refusals:
        code += [(JEQ_K, 0, 1, numbers[call]), (RET_K, 0, 0, ERRNO | getattr(errno, name))]
    code.append((RET_K, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code), len(code)


def main():
    split = sys.argv.index("--")
    text, count = program_of([word.split("=") for word in sys.argv[1:split]])
    buffer = ctypes.create_string_buffer(text, len(text))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    filter_program = Program(count, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0:
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_program), 0, 0) != 0:
        sys.exit(f"cannot load the filter: {os.strerror(ctypes.get_errno())}")
    os.execv(sys.argv[split + 1], sys.argv[split + 1:])


if __name__ == "__main__":
    main()

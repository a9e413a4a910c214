"""A helper that eats memory once /run/eat exists."""
import os
import time

kept = []
while True:
    if os.path.exists("/run/eat"):
        kept.append(bytearray(os.urandom(1 << 20)))
    else:
        time.sleep(0.1)

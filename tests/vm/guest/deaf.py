"""A helper that leaves a daemon behind, in a session of its own and deaf to TERM."""
import os
import signal
import time

if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    time.sleep(1000)

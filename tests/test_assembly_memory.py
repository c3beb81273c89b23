"""What a running hub has let go of is given back, however old it was."""

from __future__ import annotations

import subprocess
import sys

OLD_AND_LEFT = """
import gc, weakref
from hub.assembly import _settle_memory

class Session:
    pass

_settle_memory()
old = [Session() for _ in range(5000)]
for each in old:
    each.own = each  # nothing but the collector frees it
gone = weakref.ref(old[0])
gc.collect(0), gc.collect(1)  # it grows old
del old, each
made = 0
while gone() is not None and made < 2_000_000:
    new = []
    new.append(new)
    made += 1
print(made)
"""


def test_what_grew_old_and_was_left_does_not_wait_for_the_restart() -> None:
    done = subprocess.run([sys.executable, "-c", OLD_AND_LEFT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_500_000  # a quarter of an hour of a busy hub was 20 million

"""Threads may begin to read at the same moment: nothing is left to be prepared at first use.

msgspec looks into a struct's types when it first decodes one; two threads that do so at once crash the interpreter. So
every decoder must exist once the module is imported, and this is what is checked, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, threading
import msgspec
from svckube import access, stream
from svckube.objects import EndpointSlice, Namespace, Node, Pod, Service

def refuse(*arguments, **more):
    raise AssertionError("a decoder was made after the import")

msgspec.json.Decoder = msgspec.json.decode = msgspec.convert = refuse
kinds = (Service, EndpointSlice, Node, Namespace, Pod)
item = b'{"metadata":{"name":"a","labels":{"x":"y"}}}'
barrier = threading.Barrier(len(kinds))
read = []

def begin(kind):
    barrier.wait()
    good = stream.page(b'{"metadata":{"resourceVersion":"1"},"items":[' + item + b']}', kind)
    bad = stream.page(b'{"metadata":{"resourceVersion":"1"},"items":[' + item + b',{"metadata":5}]}', kind)
    events = stream.Stream(kind).feed(
        b'{"type":"ADDED","object":' + item + b'}\\n'
        b'{"type":"ERROR","object":{"code":410}}\\n'
        b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"2"}}}\\n'
    )
    read.append((len(good.objects), len(bad.objects), len(bad.skipped), len(events)))

threads = [threading.Thread(target=begin, args=(kind,)) for kind in kinds]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert read == [(1, 1, 1, 3)] * len(kinds), read
"""


def test_no_decoder_is_made_after_the_import() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

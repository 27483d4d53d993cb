"""Whose process is at the other end of a connection on loopback, as Linux knows it."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

TABLES = "/proc/net/tcp", "/proc/net/tcp6"
"""Connections of this machine, each with the number of its user (proc(5))."""

ESTABLISHED = "01"
"""The state of a connection that its process holds; of one that was closed the user reads as 0."""

ROOT = 0


def is_own(client: tuple[Any, ...] | None, server: tuple[Any, ...] | None) -> bool:
    """Tell whether a connection comes from this process's user, or from root, who can read all there is.

    ``client``, ``server``: address and port of either end. Where the system does not say, it counts as own.
    """
    table = Path(TABLES[client is not None and ":" in str(client[0])])
    if not hasattr(os, "getuid") or not table.exists():
        return True
    if client is None or server is None:
        return False
    ends = [_written(*client[:2]), _written(*server[:2])]
    lines = table.read_text(encoding="ascii").splitlines()[1:]
    for line in lines:
        fields = line.split()
        if fields[1:4] == [*ends, ESTABLISHED]:
            return int(fields[7]) in (os.getuid(), ROOT)
    # In some sandboxes the table is empty, and so says nothing.
    return not lines


def _written(host: str, port: int) -> str:
    """Return one end as the table has it: words of the address in the machine's order, and the port."""
    packed = ipaddress.ip_address(host).packed
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"

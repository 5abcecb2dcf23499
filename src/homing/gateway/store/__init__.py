"""What the gateway keeps for good, in SQLite or PostgreSQL."""

from __future__ import annotations

from homing.gateway.store.store import UNSET, Store, Unset

__all__ = ["UNSET", "Store", "Unset"]

"""Figures for Prometheus, in a registry of their own. No label names a conversation, and none holds text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["Metrics"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
POSITIONS = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


class Metrics:
    """Counts of one service."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.running = Gauge("homing_requests_running", "Requests on their way.", registry=r)
        self.prompt_tokens = Counter("homing_prompt_tokens", "Tokens of prompts.", registry=r)
        self.new_tokens = Counter("homing_generation_tokens", "Tokens generated for replies.", registry=r)
        self.first = Histogram(
            "homing_time_to_first_token_seconds", "From the request to the first token.", buckets=SECONDS, registry=r
        )
        self.whole = Histogram(
            "homing_e2e_request_latency_seconds", "From the request to its end.", buckets=SECONDS, registry=r
        )
        self.added = Histogram(
            "homing_added_seconds", "Of a turn, not spent on the reply itself.", buckets=SECONDS, registry=r
        )
        self.turns = Counter("homing_turns", "Turns kept, by hold.", ["hold"], registry=r)
        self.position = Histogram(
            "homing_position_ratio", "Position of replies: 1 is home.", buckets=POSITIONS, registry=r
        )
        self.alarms = Counter("homing_alarms", "Alarms by detector.", ["detector"], registry=r)
        self.capped = Counter("homing_capped_tokens", "Tokens that a cap moved.", registry=r)
        self.homed = Counter("homing_returns", "Conversations shown to be home again.", registry=r)
        self.failed = Counter(
            "homing_unkept_turns", "Turns that were answered and could not be kept or read.", registry=r
        )
        self.untold = Counter("homing_webhook_dropped", "Events that the webhook was not told.", registry=r)
        self.events = Gauge("homing_event_readers", "Readers of the event stream.", registry=r)

    def text(self) -> bytes:
        """The figures as Prometheus reads them."""
        return generate_latest(self.registry)

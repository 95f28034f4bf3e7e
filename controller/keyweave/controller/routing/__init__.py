"""Step 4, routing: (snapshot, previous plan) to plan. Pure functions; every decision carries its reason."""

from keyweave.controller.routing.explain import explain
from keyweave.controller.routing.network import OVERHEAD, link_load
from keyweave.controller.routing.plan import KEEP_RATIO, plan_streams
from keyweave.controller.routing.repair import Planner, repair

__all__ = ["KEEP_RATIO", "OVERHEAD", "Planner", "explain", "link_load", "plan_streams", "repair"]

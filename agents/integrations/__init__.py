"""The integrations and webhooks that are in force: followed by every worker, changed by one.

Table ``integrations`` lies on one partition. Its owner leads: it alone decides on changes, one after the other, and writes
them under its claim. Every worker, the leader too, follows the changelog and puts to work what it reads there.
"""

from agents.integrations.in_force import Integrations
from agents.integrations.leader import PARTITION

__all__ = ["PARTITION", "Integrations"]

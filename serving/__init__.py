"""Answers requests from the newest version; must not know who trained it."""

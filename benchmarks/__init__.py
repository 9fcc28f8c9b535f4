"""Measures what is claimed; every command prints a table and writes build/bench/NAME.json."""

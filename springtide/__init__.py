"""The door: command line, wiring and demo; the only room that constructs everything."""

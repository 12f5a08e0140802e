"""Bounded child processes for everything that reads a file of unknown origin."""

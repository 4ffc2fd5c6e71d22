"""Tests that nobody writes: the example requests, and the checks of every pipeline."""

"""What the services of a run are made of (processes, containers), and their end, whatever ends the run.

Knows nothing of fixtures and of `services`.
"""

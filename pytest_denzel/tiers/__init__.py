"""The tiers: what the services of a run are made of, and their end, whatever ends the run.

    tier            what every tier offers (`services.stack` chooses one by its name)
    local, docker   processes of this machine; containers
    queue, http     how tests reach the services: tasks without an API; requests
    session         the folders and names of a run
    sweep           what ends everything when the run was killed

Knows nothing of fixtures and of `services`.
"""

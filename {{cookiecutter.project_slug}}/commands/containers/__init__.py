"""``make launch`` and what is done with the containers from then on."""

"""With the running service, in containers or under `make dev`: what it is at, and what it is asked."""

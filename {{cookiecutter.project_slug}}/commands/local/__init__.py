"""Without Docker: the project's `.venv`, `make dev`, and the project's tests."""

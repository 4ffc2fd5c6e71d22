"""What several commands use. Nothing in here imports a command."""

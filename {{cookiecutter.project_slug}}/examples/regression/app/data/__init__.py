"""Where the model's data come from: connectors, each of which turns rows into a table."""

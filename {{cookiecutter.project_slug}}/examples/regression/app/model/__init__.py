"""The models: what is fitted, and how it is kept in a file."""

"""The model's own commands: fit anew, judge."""

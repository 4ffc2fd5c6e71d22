"""What tests hold in their hands of a running service, on whichever tier. Uses `tiers`, never the reverse."""

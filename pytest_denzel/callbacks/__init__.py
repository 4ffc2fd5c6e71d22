"""The other end of a callback: a server that receives it, and the check of its signature."""

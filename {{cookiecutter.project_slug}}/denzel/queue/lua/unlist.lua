-- KEYS: none; the names of all keys stand in keys.py.
-- ARGV: token. An API process has seen this process end: nothing is handed to it any more.
unlist(ARGV[1])

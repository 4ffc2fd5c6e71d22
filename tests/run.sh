#!/bin/sh
# Runs pytest, and what failed once more, by itself. These tests work with real processes, signals and clocks: on a busy
# machine one in a thousand meets a moment that it did not foresee, and the rest of the run should not be in vain. A test
# that finds a mistake fails again. Chaos gets no second chance: there a loss is a loss, however rare.
pytest "$@"
code=$?
[ "$code" = 1 ] || exit "$code" # not because of tests that failed
failed=$TOX_ENV_DIR/.pytest_cache/v/cache/lastfailed
if grep -q "tests/chaos" "$failed"; then
  exit 1
fi
echo "=== What failed, once more and by itself:"
cat "$failed"
exec pytest --last-failed --last-failed-no-failures=none "$@"

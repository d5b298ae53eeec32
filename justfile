# What CI runs, and nothing else: `just check` is `.ci/run`.

# All tests, formatting, lints and docs
check:
    .ci/run

# The tests against a real Collector, all or those with NAME in their name
collector NAME="":
    tests/collector/run {{NAME}}

#!/usr/bin/env bash
# Puts and gets at 1, 64 and 256 in flight on the cluster at KVCTL_ZOOKEEPER. Run by `make bench`.
set -euo pipefail

duration=${BENCH_DURATION:-5s}

for operation in put get; do
    for in_flight in 1 64 256; do
        echo "== $operation, $in_flight in flight"
        kvctl bench "$operation" --in-flight "$in_flight" --duration "$duration" --value-bytes 100
    done
done

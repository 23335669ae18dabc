#!/bin/sh
# The official one writes a zoo.cfg where there is none. Ours always have one.
set -eu
if [ ! -f "$ZOO_CONF_DIR/zoo.cfg" ]; then
    echo "docker-entrypoint.sh: there is no $ZOO_CONF_DIR/zoo.cfg" >&2
    exit 1
fi
exec "$@"

#!/bin/sh
# `start-foreground` of the script of the same name in ZooKeeper's distribution, with the same variables.
set -eu
if [ "${1:-}" != start-foreground ]; then
    echo "usage: zkServer.sh start-foreground" >&2
    exit 2
fi
home=/apache-zookeeper-3.9.4-bin
SERVER_JVMFLAGS="-Xmx${ZK_SERVER_HEAP:-1000}m ${SERVER_JVMFLAGS:-}"
# Flags are words.
# shellcheck disable=SC2086
exec java "-Dzookeeper.log.dir=$ZOO_LOG_DIR" -XX:+ExitOnOutOfMemoryError \
    -cp "$ZOOCFGDIR:$home/lib/*" $SERVER_JVMFLAGS ${JVMFLAGS:-} \
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$ZOOCFGDIR/${ZOOCFG:-zoo.cfg}"

//! What a page says of the systems beside their figures. A change of how one is started or driven belongs here too.

pub(super) const DIFFERENCES: &str = "\
| | kv | kv-three-copies | etcd | zookeeper |
|---|---|---|---|---|
| copies of a key | 2 | 3 | 3 | 3 |
| copies that have synced a put before it is acknowledged | all in sync: 2 | all in sync: 3 | a majority: 2 | a majority: 2 |
| copies that sync it in all | 2 | 3 | 3 | 3 |
| nodes that may be lost at once without loss of an acknowledged put | 1 | 2 | 1 | 1 |
| and what goes on then | the other copy, alone until a third is made | the others | two of three | two of three |
| syncs per put, at each of these | one of its log, shared by all puts that wait | the same | one of its log, shared; its database every \
100 ms | one of its log, shared |
| who orders writes | each node its third of the shards | the same | one leader | one leader |
| who decides a failover | the copy that takes over, by a compare-and-set in ZooKeeper | the same | a majority | a majority |
| where a linearizable read is answered | at the primary, under its lease: the rates of clocks must not differ by more than 15 % | the same \
| at the leader, after a round to a majority | by `sync` and then a read |
| client | one stream to each node, requests in any order | the same | HTTP/2, a call for each request | one connection a \
session, answers in order |
| connections of the client | one to each node: 3 | the same | its tool: one to the leader for ten in flight; from here at most 3 | one \
to the leader for ten in flight |
| a put that is repeated | is applied once: the client has a session | the same | may be applied twice | may be applied twice |
| keeps | the last value, and results of sessions | the same | every revision until compacted | the last value, in memory |
| processes whose processor time counts | 3 nodes, 1 ZooKeeper | the same | 3 members | 3 servers |
";

pub(super) const FAIRNESS: &str = "\
In favour of this store:

- With its two copies it sends each put once between nodes and writes it twice, the others send it twice and write it three times. \
kv-three-copies does what they do, and waits for all three where they wait for two.
- Its writes are spread over three logs of primaries; etcd and ZooKeeper have one leader. All nodes share one disk here, so this brings less than on \
machines of their own.
- Its own client sends many requests in one message. kv-unary sends each in a call of its own, as etcd's clients do; compare that one with \
etcd-tonic for the servers alone.
- Its reads rely on clocks that run at about the same rate; etcd's and ZooKeeper's do not. Neither offers the other's way.

In favour of the others:

- All gets of etcd's tool are of one key, which is always in the processor's cache; etcd-tonic reads all keys.
- etcd's and ZooKeeper's clients know the leader before they start, and are connected to it: no request is passed on by a follower. After a \
crash they are connected to servers that are left, and that of this store has to find out.
- A ZooKeeper get is linearizable unless a leader is replaced unnoticed; this store's and etcd's are in any case.
- This store's writes carry sessions; theirs may be applied twice after a failure.
- This store has a ZooKeeper running beside it on the same processors, and its processor time counts.

Neither: stale reads are spread over all members and servers (etcd, ZooKeeper). A put of ZooKeeper is `setData` of a znode that is there, those of the others \
also make keys, the first time. ZooKeeper's heap is as its scripts give it, or four times the data where that is more; etcd's and this store's memory is as \
they come. All loads but those of etcd's tool come from one program, `kv-bench`, whose allocator is jemalloc.
";

pub(super) const TRIALS: &str = "\
All else has a cluster of its own, started empty. **Handovers**: one shard after the other is handed over to its other copy by the administrator's call, \
under writes to all shards and one writer at a time to that shard; the pause is the longest that one of that writer's requests took. Homes take their shards back by \
themselves; failures of that count too. The client is the one that users have, with its retries. **Memory** is what `/proc` gives as resident, of the node \
that has most, after a time without requests: etcd maps its database, so most of it is the kernel's cache; what is no file's stands beside it. \
**Start**: a node that does not lead (for kv: any) has ended in order and is started again, its files still in the kernel's cache, until it says that \
it serves. **Catch-up**: such a node is killed, values of 4 KiB are written, and it is started: until all copies are in sync again \
(etcd, ZooKeeper: until it has applied what the leader had by then). **Full load for long**: writes of 1 KiB over keys that are all there; *late by early* \
is mean memory of the last fifth by that of the second; the disk is what all files take, and of it the log that kv keeps in any case (256 MiB for each volume) is \
not counted against the live data. **Limits**: of the disk, one log whose records in flight are synced together, and several logs \
beside each other, as the volumes of three nodes are here. Of the wire, three processes that only send back what they read (a read), or pass it on to another one first and send back what comes from there \
(a write), and a client with one connection to each, which shares its messages in flight among them. **Growth**: writes of 100 bytes; more shards than 256 come of splits. kv's own memory is that of its nodes, without the ZooKeeper beside them.
";

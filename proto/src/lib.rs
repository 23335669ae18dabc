//! The wire format of KvCluster, generated from `proto/kv/v1/*.proto`. Nothing else lives here but how an error
//! lies in a status.

mod details;

/// Messages, clients and servers of the package `kv.v1`.
pub mod v1 {
    #![allow(clippy::all, missing_docs)]
    tonic::include_proto!("kv.v1");
}

/// The encoded `FileDescriptorSet` of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

//! The details of a status, as gRPC wants them: a `google.rpc.Status` with the error within. Libraries of other languages
//! report anything else as a fault of the server.

use prost::{Message as _, Name as _, bytes::Bytes};
use prost_types::Any;

use crate::v1::ErrorInfo;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

impl prost::Name for ErrorInfo {
    const NAME: &'static str = "ErrorInfo";
    const PACKAGE: &'static str = "kv.v1";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}

impl ErrorInfo {
    /// The details of a status of this gRPC code, with the same message.
    #[must_use]
    pub fn to_details(&self, code: tonic::Code) -> Bytes {
        let own = Any { type_url: Self::type_url(), value: self.encode_to_vec() };
        let status = RpcStatus { code: code.into(), message: self.message.clone(), details: vec![own] };
        status.encode_to_vec().into()
    }

    /// The error in a status; `None` if gRPC itself or the connection has made the status.
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Option<Self> {
        let RpcStatus { details, .. } = RpcStatus::decode(status.details()).ok()?;
        let own = details.into_iter().find(|any| any.type_url.ends_with("/kv.v1.ErrorInfo"))?;
        Self::decode(own.value.as_slice()).ok().filter(|info| info.reason != 0)
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    #[test]
    fn an_error_comes_back_out_of_a_status() {
        let info = ErrorInfo { reason: 5, message: "no".into(), actual_revision: 7, ..ErrorInfo::default() };
        let status = Status::with_details(Code::FailedPrecondition, "no", info.to_details(Code::FailedPrecondition));
        assert_eq!(ErrorInfo::from_status(&status), Some(info));
        let rpc = RpcStatus::decode(status.details()).expect("it is a google.rpc.Status");
        assert_eq!((rpc.code, rpc.message.as_str()), (9, "no"));
        assert_eq!(rpc.details[0].type_url, "type.googleapis.com/kv.v1.ErrorInfo");
    }

    #[test]
    fn other_details_are_none_of_ours() {
        for details in [&b""[..], b"\xff\xff", b"\x08\x03"] {
            let status = Status::with_details(Code::Internal, "", Bytes::copy_from_slice(details));
            assert_eq!(ErrorInfo::from_status(&status), None);
        }
    }
}

//! Which service a request is for.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use kv_proto::v1::kv_server::KvServer;
use tonic::{
    body::Body,
    codegen::{Service, http},
    service::Routes,
};

use super::{connections::Admission, kv::KvService};

const KV: &str = "/kv.v1.Kv/";

type Response = http::Response<Body>;
type Answered<S> = <S as Service<http::Request<Body>>>::Future;

/// All services of the port. Requests for keys and values go to theirs at once: what a router of paths puts around each request is a good
/// part of what a unary get costs.
#[derive(Clone)]
pub(crate) struct Dispatch {
    kv: KvServer<KvService>,
    admission: Admission,
    others: Routes,
}

impl Dispatch {
    pub(crate) fn new(kv: KvServer<KvService>, admission: Admission, others: Routes) -> Self {
        Self { kv, admission, others: others.prepare() }
    }
}

impl Service<http::Request<Body>> for Dispatch {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Answered<KvServer<KvService>>, Either<Ready<Result<Response, Infallible>>, Answered<Routes>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // That of `Kv` always is.
        Service::<http::Request<Body>>::poll_ready(&mut self.others, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !request.uri().path().starts_with(KV) {
            return Either::Right(Either::Right(self.others.call(request)));
        }
        match self.admission.admit(request.extensions()) {
            Ok(()) => Either::Left(self.kv.call(request)),
            Err(refused) => Either::Right(Either::Left(ready(Ok(refused.into_http())))),
        }
    }
}

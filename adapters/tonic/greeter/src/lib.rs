//! A gRPC service with a method of each kind, for tests and examples. It is written down in Rust: messages here, methods in `build.rs`. With
//! `protoc` at hand, `tonic-prost-build` makes the same of a `.proto` file.

/// Who is to be greeted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// A name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often, for `greet_often`.
    #[prost(uint32, tag = "2")]
    pub times: u32,
}

/// A greeting.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Greeting {
    /// What is said.
    #[prost(string, tag = "1")]
    pub text: String,
}

impl Hello {
    /// To be greeted once.
    pub fn from(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            times: 1,
        }
    }
}

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/greeter.Greeter.rs"));
}

pub use generated::{greeter_client, greeter_server};

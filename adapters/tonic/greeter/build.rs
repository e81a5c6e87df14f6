//! The service's client and server, from a description in Rust: nothing but cargo is needed.

use tonic_build::manual::{Builder, Method, Service};

fn method(name: &str, route: &str) -> tonic_build::manual::MethodBuilder {
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type("crate::Hello")
        .output_type("crate::Greeting")
        .codec_path("tonic_prost::ProstCodec")
}

fn main() {
    let greeter = Service::builder()
        .name("Greeter")
        .package("greeter")
        .method(method("greet", "Greet").build())
        .method(
            method("greet_often", "GreetOften")
                .server_streaming()
                .build(),
        )
        .method(method("greet_all", "GreetAll").client_streaming().build())
        .method(
            method("greet_each", "GreetEach")
                .client_streaming()
                .server_streaming()
                .build(),
        )
        .build();
    Builder::new().compile(&[greeter]);
    println!("cargo::rerun-if-changed=build.rs");
}

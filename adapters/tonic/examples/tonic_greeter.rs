//! gRPC on heist, without a tokio runtime: tonic's generated server and client, a call and its deadline, a stream each way.
//!
//! ```sh
//! cargo run -p heist-tonic --example tonic_greeter                                # server and client in one process
//! cargo run -p heist-tonic --example tonic_greeter -- serve 127.0.0.1:50051       # one here; ends with Ctrl-C
//! cargo run -p heist-tonic --example tonic_greeter -- greet 127.0.0.1:50051       # one there
//! ```
//!
//! The service is described in `adapters/tonic/greeter`, in Rust, so that nothing but cargo is needed to build it.
#![allow(clippy::print_stdout)]

use futures_util::stream::{self, BoxStream, StreamExt};
use greeter::greeter_client::GreeterClient;
use greeter::greeter_server::{Greeter, GreeterServer};
use greeter::{Greeting, Hello};
use heist::net::TcpListener;
use heist_tonic::Channel;
use std::error::Error;
use std::io;
use std::time::Duration;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

/// How long calls under way may take once the server is to end.
const GRACE: Duration = Duration::from_secs(5);

type Failure = Box<dyn Error + Send + Sync>;
type Greetings = BoxStream<'static, Result<Greeting, Status>>;

/// Greets at its leisure.
struct Polite;

fn greeting(name: &str) -> Greeting {
    Greeting {
        text: format!("Hello, {name}!"),
    }
}

#[tonic::async_trait]
impl Greeter for Polite {
    async fn greet(&self, hello: Request<Hello>) -> Result<Response<Greeting>, Status> {
        heist::sleep(Duration::from_millis(100)).await;
        Ok(Response::new(greeting(&hello.get_ref().name)))
    }

    type GreetOftenStream = Greetings;

    async fn greet_often(&self, hello: Request<Hello>) -> Result<Response<Greetings>, Status> {
        let Hello { name, times } = hello.into_inner();
        let greetings = stream::iter(0..times).then(move |_| {
            let greeting = greeting(&name);
            async move {
                heist::sleep(Duration::from_millis(10)).await;
                Ok(greeting)
            }
        });
        Ok(Response::new(greetings.boxed()))
    }

    async fn greet_all(
        &self,
        hellos: Request<Streaming<Hello>>,
    ) -> Result<Response<Greeting>, Status> {
        let mut hellos = hellos.into_inner();
        let mut names = Vec::new();
        while let Some(hello) = hellos.message().await? {
            names.push(hello.name);
        }
        Ok(Response::new(greeting(&names.join(" and "))))
    }

    type GreetEachStream = Greetings;

    async fn greet_each(
        &self,
        hellos: Request<Streaming<Hello>>,
    ) -> Result<Response<Greetings>, Status> {
        let greetings = hellos.into_inner().map(|hello| Ok(greeting(&hello?.name)));
        Ok(Response::new(greetings.boxed()))
    }
}

/// Serves until `stop` is ready.
async fn serve(
    listener: TcpListener,
    stop: impl Future<Output: Send> + Send + 'static,
) -> io::Result<()> {
    let routes = Routes::new(GreeterServer::new(Polite));
    let report = heist_tonic::serve(listener, routes)
        .graceful_shutdown(stop, GRACE)
        .await?;
    println!("answered {} calls", report.requests_answered());
    Ok(())
}

async fn greet(address: &str) -> Result<(), Failure> {
    let channel = Channel::new(format!("http://{address}").parse()?);
    let mut client = GreeterClient::new(channel);

    let answer = client.greet(Hello::from("Ada")).await?;
    println!("one call: {}", answer.get_ref().text);

    // Less than the server takes. Both sides keep the time.
    let mut hasty = Request::new(Hello::from("Ada"));
    hasty.set_timeout(Duration::from_millis(20));
    match client.greet(hasty).await {
        Err(status) if status.code() == Code::DeadlineExceeded => {
            println!("in a hurry: {}", status.message())
        }
        other => println!("in a hurry: {other:?}"),
    }

    let often = Hello {
        name: "Bea".to_owned(),
        times: 3,
    };
    let mut greetings = client.greet_often(often).await?.into_inner();
    while let Some(greeting) = greetings.message().await? {
        println!("a stream of answers: {}", greeting.text);
    }

    let hellos = stream::iter(["Ada", "Bea", "Cleo"].map(Hello::from));
    let answer = client.greet_all(hellos.clone()).await?;
    println!("a stream of hellos: {}", answer.get_ref().text);

    let mut greetings = client.greet_each(hellos).await?.into_inner();
    while let Some(greeting) = greetings.message().await? {
        println!("both ways: {}", greeting.text);
    }
    Ok(())
}

#[heist::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words {
        [] => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            let (stop, stopped) = heist::promise::<()>();
            let server = heist::spawn(serve(listener, stopped));
            greet(&address).await?;
            let _ = stop.set(());
            server.await??;
        }
        ["serve", address] => {
            let listener = TcpListener::bind(address).await?;
            println!(
                "serving gRPC on {} (end it with Ctrl-C)",
                listener.local_addr()?
            );
            let end = heist::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
            serve(listener, end).await?;
        }
        ["greet", address] => greet(address).await?,
        _ => return Err("usage: [serve ADDRESS:PORT | greet ADDRESS:PORT]".into()),
    }
    Ok(())
}

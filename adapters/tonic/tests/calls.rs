//! gRPC over real sockets: every kind of call, deadlines, connections that come back.

#[path = "../../../tests/it/limit.rs"]
mod limit;

use futures_util::stream::{self, BoxStream, StreamExt};
use greeter::greeter_client::GreeterClient;
use greeter::greeter_server::{Greeter, GreeterServer};
use greeter::{Greeting, Hello};
use heist::net::TcpListener;
use heist::sync::Event;
use heist::{Promise, Runtime, Task, catch_cancel, sleep};
use heist_hyper::ServeReport;
use heist_tonic::{Channel, serve};
use limit::limited;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(20);

/// Greets everybody but "nobody", whom it keeps waiting.
#[derive(Clone, Default)]
struct Polite(Arc<Seen>);

#[derive(Default)]
struct Seen {
    begun: AtomicUsize,
    cleaned_up: AtomicBool,
    released: Event,
}

fn greeting(name: &str) -> Greeting {
    Greeting {
        text: format!("Hello, {name}!"),
    }
}

#[tonic::async_trait]
impl Greeter for Polite {
    type GreetOftenStream = BoxStream<'static, Result<Greeting, Status>>;
    type GreetEachStream = BoxStream<'static, Result<Greeting, Status>>;

    async fn greet(&self, hello: Request<Hello>) -> Result<Response<Greeting>, Status> {
        self.0.begun.fetch_add(1, SeqCst);
        let hello = hello.into_inner();
        match &*hello.name {
            "" => Err(Status::invalid_argument("who?")),
            "tokio" => {
                let tokio = tokio::runtime::Handle::try_current();
                Ok(Response::new(greeting(&format!("{}", tokio.is_ok()))))
            }
            "slow" => {
                self.0.released.wait().await;
                Ok(Response::new(greeting("slow")))
            }
            "nobody" => {
                if let Err(cancelled) = catch_cancel(pending::<()>()).await {
                    sleep(MS).await;
                    self.0.cleaned_up.store(true, SeqCst);
                    cancelled.propagate().await;
                }
                unreachable!("nobody comes")
            }
            name => Ok(Response::new(greeting(name))),
        }
    }

    async fn greet_often(
        &self,
        hello: Request<Hello>,
    ) -> Result<Response<Self::GreetOftenStream>, Status> {
        let Hello { name, times } = hello.into_inner();
        let greetings = stream::iter(0..times).map({
            let name = name.clone();
            move |_| Ok(greeting(&name))
        });
        let then = match &*name {
            "nobody" => stream::pending().boxed(),
            _ => stream::empty().boxed(),
        };
        Ok(Response::new(greetings.chain(then).boxed()))
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

    async fn greet_each(
        &self,
        hellos: Request<Streaming<Hello>>,
    ) -> Result<Response<Self::GreetEachStream>, Status> {
        let greetings = hellos.into_inner().map(|hello| Ok(greeting(&hello?.name)));
        Ok(Response::new(greetings.boxed()))
    }
}

struct Server {
    address: SocketAddr,
    stop: Promise<()>,
    task: Task<io::Result<ServeReport>>,
    polite: Polite,
}

impl Server {
    async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let polite = Polite::default();
        let routes = Routes::new(GreeterServer::new(polite.clone()));
        let (stop, stopped) = heist::promise();
        let server = serve(listener, routes).graceful_shutdown(stopped, LONG);
        Self {
            address,
            stop,
            task: heist::spawn(server.into_future()),
            polite,
        }
    }

    fn channel(&self) -> Channel {
        channel(self.address)
    }

    fn client(&self) -> GreeterClient<Channel> {
        GreeterClient::new(self.channel())
    }

    async fn stop(self) -> ServeReport {
        let _ = self.stop.set(());
        self.task.await.unwrap().unwrap()
    }
}

fn channel(address: SocketAddr) -> Channel {
    Channel::new(format!("http://{address}").parse().unwrap())
}

fn run<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    limited(|| {
        let runtime = Runtime::new().unwrap();
        runtime.run(test()).unwrap();
        assert!(runtime.shutdown(LONG).is_complete());
    });
}

fn hello(name: &str) -> Hello {
    Hello::from(name)
}

fn text(response: Result<Response<Greeting>, Status>) -> String {
    response.unwrap().into_inner().text
}

#[test]
fn every_kind_of_call_is_answered() {
    run(|| async {
        let server = Server::start().await;
        let mut client = server.client();
        assert_eq!(text(client.greet(hello("Ada")).await), "Hello, Ada!");

        let often = Hello {
            name: "Bea".into(),
            times: 1000,
        };
        let mut greetings = client.greet_often(often).await.unwrap().into_inner();
        for _ in 0..1000 {
            let greeting = greetings.message().await.unwrap().unwrap();
            assert_eq!(greeting.text, "Hello, Bea!");
        }
        assert_eq!(greetings.message().await.unwrap(), None);

        let all = stream::iter(["Ada", "Bea", "Cleo"].map(hello));
        assert_eq!(
            text(client.greet_all(all).await),
            "Hello, Ada and Bea and Cleo!"
        );

        // One by one: each is sent after the answer to the one before.
        let (send, hellos) = async_channel::bounded(1);
        let mut greetings = client.greet_each(hellos).await.unwrap().into_inner();
        for name in ["Ada", "Bea"] {
            send.send(hello(name)).await.unwrap();
            let greeting = greetings.message().await.unwrap().unwrap();
            assert_eq!(greeting.text, format!("Hello, {name}!"));
        }
        drop(send);
        assert_eq!(greetings.message().await.unwrap(), None);

        let refused = client.greet(hello("")).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "who?")
        );
        drop((client, greetings));
        let report = server.stop().await;
        assert_eq!((report.connections(), report.requests_answered()), (1, 5));
    });
}

#[test]
fn many_calls_at_a_time_share_a_connection() {
    run(|| async {
        let server = Server::start().await;
        let client = server.client();
        let calls = (0..200).map(|n| {
            let mut client = client.clone();
            heist::spawn(async move {
                let name = format!("number {n}");
                assert_eq!(
                    text(client.greet(hello(&name)).await),
                    format!("Hello, {name}!")
                );
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        drop(client);
        let report = server.stop().await;
        assert_eq!((report.connections(), report.requests_answered()), (1, 200));
    });
}

#[test]
fn there_is_no_tokio_runtime_round_a_call() {
    run(|| async {
        let server = Server::start().await;
        assert_eq!(
            text(server.client().greet(hello("tokio")).await),
            "Hello, false!"
        );
        server.stop().await;
    });
}

fn within(name: &str, times: u32, timeout: Duration) -> Request<Hello> {
    let mut request = Request::new(Hello {
        name: name.into(),
        times,
    });
    request.set_timeout(timeout);
    request
}

#[test]
fn a_call_ends_with_its_time_and_the_next_is_answered() {
    run(|| async {
        let server = Server::start().await;
        let mut client = server.client();
        let began = Instant::now();
        let late = client
            .greet(within("nobody", 1, 50 * MS))
            .await
            .unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert!(began.elapsed() >= 50 * MS);
        assert_eq!(
            text(client.greet(within("Ada", 1, LONG)).await),
            "Hello, Ada!"
        );
        drop(client);
        server.stop().await;
    });
}

/// By a client without a clock. One that has one drops its stream as it gives up, and hyper the handler with it, which then may not clean up.
#[test]
fn the_server_keeps_time_by_itself_and_handlers_clean_up() {
    run(|| async {
        let server = Server::start().await;
        let address = server.address;
        let plain = plain_client(address).await;
        let mut client = GreeterClient::new(plain);
        let late = client
            .greet(within("nobody", 1, 50 * MS))
            .await
            .unwrap_err();
        assert_eq!(
            (late.code(), late.message()),
            (Code::DeadlineExceeded, "the call's time is up")
        );
        let often = within("nobody", 3, 100 * MS);
        let mut greetings = client.greet_often(often).await.unwrap().into_inner();
        for _ in 0..3 {
            assert_eq!(
                greetings.message().await.unwrap().unwrap().text,
                "Hello, nobody!"
            );
        }
        let late = greetings.message().await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);

        // Always ready, for some minutes.
        let often = within("Ada", 1 << 30, 100 * MS);
        let mut greetings = client.greet_often(often).await.unwrap().into_inner();
        let began = Instant::now();
        let late = loop {
            match greetings.message().await {
                Ok(Some(_)) => assert!(began.elapsed() < LONG / 2),
                Ok(None) => panic!("it ended by itself"),
                Err(late) => break late,
            }
        };
        assert_eq!(late.code(), Code::DeadlineExceeded);
        let polite = server.polite.clone();
        drop((client, greetings));
        server.stop().await;
        assert!(polite.0.cleaned_up.load(SeqCst));
    });
}

#[derive(Clone)]
struct Plain(
    hyper::client::conn::http2::SendRequest<tonic::body::Body>,
    SocketAddr,
);

async fn plain_client(address: SocketAddr) -> Plain {
    let stream = heist::net::TcpStream::connect(address).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(heist_hyper::HeistExecutor::new());
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    heist::spawn(async move { drop(connection.await) }).detach();
    Plain(sender, address)
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Plain {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = futures_util::future::BoxFuture<'static, hyper::Result<Self::Response>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<tonic::body::Body>) -> Self::Future {
        let uri = format!("http://{}{}", self.1, request.uri().path());
        *request.uri_mut() = uri.parse().unwrap();
        Box::pin(self.0.send_request(request))
    }
}

#[test]
fn a_client_does_not_wait_for_a_server_that_says_nothing() {
    run(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = GreeterClient::new(channel(listener.local_addr().unwrap()));
        let began = Instant::now();
        let late = client.greet(within("Ada", 1, 50 * MS)).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
        assert!(began.elapsed() >= 50 * MS);

        let limited = channel(listener.local_addr().unwrap()).limit(50 * MS);
        let late = GreeterClient::new(limited)
            .greet(hello("Ada"))
            .await
            .unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
    });
}

#[test]
fn who_waits_for_a_connection_shares_its_failure() {
    run(|| async {
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = attempts.clone();
        let channel = Channel::with_connector("http://nowhere".parse().unwrap(), move |_| {
            counted.fetch_add(1, SeqCst);
            pending::<io::Result<heist::net::TcpStream>>()
        });
        let channel = channel.connect_timeout(100 * MS);
        let call = || GreeterClient::new(channel.clone());
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let mut client = call();
                heist::spawn(async move { client.greet(hello("Ada")).await.unwrap_err() })
            })
            .collect();
        for call in calls {
            let failed = call.await.unwrap();
            assert_eq!(failed.code(), Code::Unavailable, "{failed}");
        }
        // One that came when the first had failed already begins anew.
        let before = attempts.load(SeqCst);
        assert!(before < 10, "{before} attempts");
        call().greet(hello("Ada")).await.unwrap_err();
        assert_eq!(attempts.load(SeqCst), before + 1);
    });
}

#[test]
fn a_channel_finds_its_server_again() {
    run(|| async {
        let server = Server::start().await;
        let address = server.address;
        let mut client = server.client();
        assert_eq!(text(client.greet(hello("Ada")).await), "Hello, Ada!");
        server.stop().await;

        let gone = client.greet(hello("Ada")).await.unwrap_err();
        assert_eq!(gone.code(), Code::Unavailable, "{gone}");

        let server = Server::at(address).await;
        for _ in 0..10 {
            assert_eq!(text(client.greet(hello("Ada")).await), "Hello, Ada!");
        }
        drop(client);
        assert_eq!(server.stop().await.connections(), 1);
    });
}

#[test]
fn calls_find_a_new_connection_when_theirs_idles_out() {
    run(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Routes::new(GreeterServer::new(Polite::default()));
        let server = serve(listener, routes).idle_timeout(20 * MS);
        let server = heist::spawn(server.into_future());
        let mut client = GreeterClient::new(channel(address));
        for pause in [0, 5, 10, 15, 20, 25, 30, 35, 40, 60] {
            sleep(pause * MS).await;
            let mut answer = client.greet(hello("Ada")).await;
            while answer
                .as_ref()
                .is_err_and(|status| status.code() == Code::Unavailable)
            {
                // It met the goodbye, and hyper does not give it back.
                answer = client.greet(hello("Ada")).await;
            }
            assert_eq!(text(answer), "Hello, Ada!", "after {pause} ms");
        }
        server.cancel(None);
        assert!(server.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn what_is_not_the_server_is_an_error() {
    run(|| async {
        let uris = ["https://localhost:1", "/path"];
        for uri in uris {
            let channel = Channel::new(uri.parse().unwrap());
            let refused = GreeterClient::new(channel)
                .greet(hello("Ada"))
                .await
                .unwrap_err();
            assert!(
                matches!(refused.code(), Code::Unavailable | Code::InvalidArgument),
                "{refused}"
            );
        }
        // It accepts and hangs up.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let rude = heist::spawn(async move { while listener.accept().await.is_ok() {} });
        let failed = GreeterClient::new(channel(address))
            .greet(hello("Ada"))
            .await
            .unwrap_err();
        assert_eq!(failed.code(), Code::Unavailable, "{failed}");
        rude.cancel(None);
        let _ = rude.await;
    });
}

#[test]
fn calls_under_way_are_answered_at_the_end() {
    run(|| async {
        let server = Server::start().await;
        let client = server.client();
        let calls: Vec<_> = (0..10)
            .map(|_| {
                let mut client = client.clone();
                heist::spawn(async move { client.greet(hello("slow")).await })
            })
            .collect();
        let polite = server.polite.clone();
        while polite.0.begun.load(SeqCst) < 10 {
            sleep(MS).await;
        }
        drop(client);
        let _ = server.stop.set(());
        while heist::net::TcpStream::connect(server.address).await.is_ok() {
            sleep(MS).await;
        }
        polite.0.released.set();
        for call in calls {
            assert_eq!(text(call.await.unwrap()), "Hello, slow!");
        }
        let report = server.task.await.unwrap().unwrap();
        assert_eq!(
            (report.requests_drained(), report.requests_cut_off()),
            (10, 0)
        );
    });
}

//! How a server ends: drained, cut off, cancelled.

use crate::support::{Client, GET, Gauge, LONG, MS, Server, hello, http2_client, limited, until};
use axum::Router;
use axum::routing::get;
use heist::sync::Event;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::{Request, Version};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests that wait until they may be answered.
#[derive(Clone, Default)]
struct Held(Arc<(Gauge, Event)>);

impl Held {
    fn app(&self) -> Router {
        let held = self.clone();
        let slow = move || async move {
            let _inside = held.0.0.enter();
            held.0.1.wait().await;
            "at last"
        };
        hello().route("/slow", get(slow))
    }

    /// Waits until so many are there.
    #[track_caller]
    fn are(&self, count: usize) {
        until("the requests are under way", || self.0.0.now() == count);
    }

    fn release(&self) {
        self.0.1.set();
    }
}

#[track_caller]
fn no_more_are_accepted(address: SocketAddr) {
    until("the listener is closed", || {
        TcpStream::connect(address).is_err()
    });
}

#[test]
fn requests_under_way_are_answered_and_idle_connections_closed_at_once() {
    limited(|| {
        let held = Held::default();
        let server = Server::start(held.app());
        let mut slow: Vec<Client> = (0..10).map(|_| server.connect()).collect();
        slow.iter_mut().for_each(|client| client.ask("/slow"));
        let mut idle = server.connect();
        idle.send(GET);
        assert_eq!(idle.answer(), "hello");
        let mut silent = server.connect();
        held.are(10);

        let Server {
            runtime,
            address,
            stop,
            task,
        } = server;
        let _ = stop.set(());
        assert_eq!(idle.rest(), b"");
        assert_eq!(silent.rest(), b"");
        no_more_are_accepted(address);
        held.are(10);
        held.release();
        for client in &mut slow {
            let (head, body) = client.whole_answer();
            assert_eq!(body, "at last");
            assert!(head.contains("connection: close"), "{head}");
            assert_eq!(client.rest(), b"");
        }
        let report = runtime.block_on(task).unwrap().unwrap().unwrap();
        assert_eq!(report.requests_drained(), 10);
        assert_eq!((report.requests(), report.requests_answered()), (11, 11));
        assert_eq!(
            (report.requests_cut_off(), report.connections_cut_off()),
            (0, 0)
        );
    });
}

async fn ask(mut client: http2::SendRequest<Empty<Bytes>>, path: &str) -> hyper::Result<Bytes> {
    let request = Request::get(format!("http://here{path}")).body(Empty::new());
    let answer = client.send_request(request.unwrap()).await?;
    assert_eq!(answer.version(), Version::HTTP_2);
    Ok(answer.into_body().collect().await?.to_bytes())
}

#[test]
fn streams_under_way_are_answered_over_http2() {
    limited(|| {
        let held = Held::default();
        let Server {
            runtime,
            address,
            stop,
            task,
        } = Server::start(held.app());
        let (client, connection) = runtime.run(http2_client(address)).unwrap();
        let (idle, idles) = runtime.run(http2_client(address)).unwrap();
        assert_eq!(
            runtime.run(ask(idle.clone(), "/")).unwrap().unwrap(),
            "hello"
        );
        let slow: Vec<_> = (0..10)
            .map(|_| runtime.spawn(ask(client.clone(), "/slow")))
            .collect();
        held.are(10);

        let _ = stop.set(());
        // The idle one is told to go away, though its client would have stayed.
        runtime.block_on(idles).unwrap().unwrap().unwrap();
        held.are(10);
        held.release();
        for asked in slow {
            assert_eq!(
                runtime.block_on(asked).unwrap().unwrap().unwrap(),
                "at last"
            );
        }
        let report = runtime.block_on(task).unwrap().unwrap().unwrap();
        assert_eq!((report.requests_drained(), report.requests()), (10, 11));
        assert_eq!(report.connections_cut_off(), 0);
        runtime.block_on(connection).unwrap().unwrap().unwrap();
        drop((client, idle));
    });
}

/// A handler that never answers, and takes its time to clean up.
#[derive(Clone, Default)]
struct Hanging(Arc<(Gauge, AtomicBool)>);

impl Hanging {
    fn app(&self) -> Router {
        let hanging = self.clone();
        let hang = move || async move {
            let _inside = hanging.0.0.enter();
            if let Err(cancelled) = heist::catch_cancel(std::future::pending::<()>()).await {
                heist::sleep(MS).await;
                hanging.0.1.store(true, Ordering::SeqCst);
                cancelled.propagate().await
            }
        };
        hello().route("/hang", get(hang))
    }

    #[track_caller]
    fn is_under_way(&self) {
        until("the request is under way", || self.0.0.now() == 1);
    }

    fn has_cleaned_up(&self) -> bool {
        self.0.1.load(Ordering::SeqCst) && self.0.0.now() == 0
    }
}

fn is_cut_off(report: &heist_hyper::ServeReport) {
    assert_eq!(report.requests_cut_off(), 1, "{report:?}");
    assert_eq!(report.connections_cut_off(), 1, "{report:?}");
    assert_eq!(report.requests(), 2, "{report:?}");
    assert_eq!(report.requests_answered(), 1, "{report:?}");
}

#[test]
fn after_the_deadline_what_is_left_is_cancelled_and_may_clean_up() {
    limited(|| {
        let hanging = Hanging::default();
        let server = Server::configured(hanging.app(), 100 * MS, |serve| serve);
        let mut client = server.connect();
        client.ask("/");
        assert_eq!(client.answer(), "hello");
        client.ask("/hang");
        hanging.is_under_way();
        is_cut_off(&server.stop());
        assert_eq!(client.rest(), b"");
        assert!(hanging.has_cleaned_up());
    });
}

#[test]
fn after_the_deadline_streams_are_cancelled_too() {
    limited(|| {
        let hanging = Hanging::default();
        let server = Server::configured(hanging.app(), 100 * MS, |serve| serve);
        let runtime = heist::Runtime::new().unwrap();
        let (client, connection) = runtime.run(http2_client(server.address)).unwrap();
        let other = runtime.run(ask(client.clone(), "/")).unwrap();
        assert_eq!(other.unwrap(), "hello");
        let asked = runtime.spawn(ask(client, "/hang"));
        hanging.is_under_way();
        is_cut_off(&server.stop());
        assert!(hanging.has_cleaned_up());
        assert!(runtime.block_on(asked).unwrap().unwrap().is_err());
        // It ends, well or not: the connection was cut off.
        drop(runtime.block_on(connection).unwrap().unwrap());
    });
}

#[test]
fn a_cancelled_server_cancels_its_connections_and_waits_for_them() {
    limited(|| {
        for http2 in [false, true] {
            let hanging = Hanging::default();
            let server = Server::start(hanging.app());
            let clients = heist::Runtime::new().unwrap();
            let mut silent = server.connect();
            let mut plain = server.connect();
            if http2 {
                let (client, _) = clients.run(http2_client(server.address)).unwrap();
                clients.spawn(ask(client, "/hang")).detach();
            } else {
                plain.ask("/hang");
            }
            hanging.is_under_way();
            server.task.cancel("enough");
            let error = server.runtime.block_on(server.task).unwrap().unwrap_err();
            assert_eq!(error.cancel_message(), Some("enough"));
            assert!(hanging.has_cleaned_up(), "HTTP/2: {http2}");
            assert_eq!((silent.rest(), plain.rest()), (vec![], vec![]));
            no_more_are_accepted(server.address);
            assert!(server.runtime.shutdown(LONG).is_complete());
        }
    });
}

#[test]
fn a_dropped_server_aborts_its_connections() {
    limited(|| {
        let hanging = Hanging::default();
        let server = Server::start(hanging.app());
        let mut client = server.connect();
        client.ask("/hang");
        hanging.is_under_way();
        assert!(server.task.abort(None));
        assert_eq!(client.rest(), b"");
        until("the handler is dropped", || hanging.0.0.now() == 0);
        assert!(!hanging.has_cleaned_up());
        assert!(server.runtime.shutdown(LONG).is_complete());
    });
}

#[test]
fn the_body_of_an_answer_belongs_to_its_request() {
    limited(|| {
        let held = Held::default();
        let app = hello().route(
            "/stream",
            get({
                let held = held.clone();
                move || async move {
                    let parts = futures_util::stream::unfold(0, move |n| {
                        let held = held.clone();
                        async move {
                            if n == 1 {
                                let _inside = held.0.0.enter();
                                held.0.1.wait().await;
                            }
                            (n < 3).then(|| (Ok::<_, std::io::Error>("part"), n + 1))
                        }
                    });
                    axum::body::Body::from_stream(parts)
                }
            }),
        );
        let server = Server::start(app);
        let mut client = server.connect();
        client.ask("/stream");
        held.are(1);
        let Server {
            runtime,
            address,
            stop,
            task,
        } = server;
        let _ = stop.set(());
        no_more_are_accepted(address);
        assert!(!task.is_done());
        held.release();
        let mut answer = String::new();
        client.0.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.matches("part").count(), 3, "{answer}");
        assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
        let report = runtime.block_on(task).unwrap().unwrap().unwrap();
        assert_eq!(report.requests_drained(), 1);
    });
}

#[test]
fn an_upgraded_connection_is_its_handlers() {
    async fn echo(request: axum::extract::Request) -> axum::http::Response<axum::body::Body> {
        let upgrade = hyper::upgrade::on(request);
        heist::spawn(async move {
            let mut upgraded = upgrade.await.unwrap();
            let mut bytes = [0; 4];
            let mut room = hyper::rt::ReadBuf::new(&mut bytes);
            let read = |cx: &mut std::task::Context<'_>| {
                hyper::rt::Read::poll_read(std::pin::Pin::new(&mut upgraded), cx, room.unfilled())
            };
            std::future::poll_fn(read).await.unwrap();
            let write = |cx: &mut std::task::Context<'_>| {
                hyper::rt::Write::poll_write(std::pin::Pin::new(&mut upgraded), cx, room.filled())
            };
            assert_eq!(std::future::poll_fn(write).await.unwrap(), 4);
        })
        .detach();
        let response = axum::http::Response::builder().status(101);
        let response = response.header("connection", "upgrade");
        response
            .header("upgrade", "echo")
            .body(Default::default())
            .unwrap()
    }
    limited(|| {
        let server = Server::start(Router::new().route("/", get(echo)));
        let mut client = server.connect();
        client
            .send(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        let (head, _) = client.whole_answer();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        // The server does not wait for it.
        let _ = server.stop.set(());
        let report = server
            .runtime
            .block_on(server.task)
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(report.connections_cut_off(), 0);
        client.send(b"echo");
        assert_eq!(client.rest(), b"echo");
    });
}

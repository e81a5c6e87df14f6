//! hyper-util's pooled client on heist's sockets.

use crate::support::{MS, Server, hello, limited};
use heist_hyper::client::{HeistConnector, client};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use std::io;
use std::net::TcpListener;
use tower::Service;

#[test]
fn requests_one_after_the_other_share_a_connection() {
    limited(|| {
        let server = Server::start(hello());
        let url: hyper::Uri = format!("http://{}/", server.address).parse().unwrap();
        let asking = async move {
            let client = client::<Empty<Bytes>>();
            for _ in 0..10 {
                let answer = client.get(url.clone()).await.unwrap();
                let body = answer.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "hello");
            }
        };
        server.runtime.run(asking).unwrap();
        let report = server.stop();
        assert_eq!(report.requests(), 10);
        assert!(report.connections() < 10, "{report:?}");
    });
}

fn refused(connector: &HeistConnector, uri: &str) -> io::Error {
    let connecting = connector.clone().call(uri.parse().unwrap());
    heist::run(connecting).unwrap().unwrap_err()
}

#[test]
fn what_cannot_be_connected_to_is_an_error_in_time() {
    limited(|| {
        let connector = HeistConnector::new().connect_timeout(50 * MS);
        assert_eq!(
            refused(&connector, "https://localhost/").kind(),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(
            refused(&connector, "/path").kind(),
            io::ErrorKind::InvalidInput
        );
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let url = format!("http://{closed}/");
        assert_eq!(
            refused(&connector, &url).kind(),
            io::ErrorKind::ConnectionRefused
        );

        // A queue that is full takes no more.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let filling: Vec<_> = (0..4)
            .map_while(|_| std::net::TcpStream::connect_timeout(&address, 200 * MS).ok())
            .collect();
        let url = format!("http://{address}/");
        let late = refused(&connector, &url);
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "{late}");
        drop(filling);
    });
}

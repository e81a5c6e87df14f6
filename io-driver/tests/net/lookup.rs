//! Names and addresses.

use super::*;

/// A rig whose blocking calls end as told.
fn with_offload(
    offload: impl Fn(heist_io_driver::Job) -> Result<(), Refused> + Send + Sync + 'static,
) -> Rig {
    Rig::new(Config {
        offload: Arc::new(offload),
        ..Config::default()
    })
}

fn refused() -> Refused {
    Refused::new(io::Error::other("no pool"))
}

#[test]
fn addresses_need_no_lookup() {
    let rig = with_offload(|_| Err(refused()));
    rig.block_on(async {
        let v4: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        let (ip4, ip6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        let found = async |host| lookup_host::<&str>(host).await.unwrap().collect::<Vec<_>>();
        assert_eq!(found("127.0.0.1:80").await, [v4]);
        assert_eq!(found("[::1]:80").await, [v6]);
        let mut all = Vec::new();
        all.extend(lookup_host(v4).await.unwrap());
        all.extend(lookup_host((ip4, 80)).await.unwrap());
        all.extend(lookup_host((v4.ip(), 80)).await.unwrap());
        all.extend(lookup_host(("127.0.0.1", 80)).await.unwrap());
        all.extend(lookup_host(("127.0.0.1".to_owned(), 80)).await.unwrap());
        all.extend(lookup_host("127.0.0.1:80".to_owned()).await.unwrap());
        all.extend(lookup_host(&&v4).await.unwrap());
        assert_eq!(all, [v4; 7]);
        let all: Vec<_> = lookup_host((ip6, 80)).await.unwrap().collect();
        assert_eq!(all, [v6]);
        let both = lookup_host([v4, v6]).await.unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both.collect::<Vec<_>>(), [v4, v6]);
        let slice = lookup_host(&[v4, v6][..]).await.unwrap();
        assert_eq!(slice.collect::<Vec<_>>(), [v4, v6]);

        for text in [
            "127.0.0.1",
            "localhost",
            "localhost:",
            "localhost:http",
            "a:99999",
            "",
        ] {
            assert_eq!(
                kind(lookup_host(text).await),
                io::ErrorKind::InvalidInput,
                "{text}"
            );
        }
        let error = lookup_host("localhost:80").await.unwrap_err();
        assert!(error.to_string().contains("no pool"), "{error}");
    });
}

#[test]
fn names_are_looked_up_elsewhere() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let addrs: Vec<_> = lookup_host("localhost:80").await.unwrap().collect();
            assert!(!addrs.is_empty());
            assert!(
                addrs
                    .iter()
                    .all(|addr| addr.ip().is_loopback() && addr.port() == 80)
            );
            let listener = TcpListener::bind("localhost:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let (accepted, client) =
                join(listener.accept(), TcpStream::connect(("localhost", port))).await;
            accepted.unwrap();
            client.unwrap();
            // A name that the resolver refuses before it asks any server.
            lookup_host("local\0host:80").await.unwrap_err();
        });
    });
}

#[test]
fn a_lookup_that_is_given_up_is_an_error() {
    let rig = with_offload(|job| {
        drop(job);
        Ok(())
    });
    let error = rig.block_on(lookup_host("localhost:80")).unwrap_err();
    assert!(error.to_string().contains("given up"), "{error}");
    // The same when it happens later, to a lookup that waits.
    let rig = with_offload(|job| {
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            drop(job);
        });
        Ok(())
    });
    rig.block_on(lookup_host("localhost:80")).unwrap_err();
}

//! UDP sockets.

use super::*;
use std::mem::MaybeUninit;
use std::net::UdpSocket as System;

async fn udp() -> UdpSocket {
    UdpSocket::bind(LOOPBACK).await.unwrap()
}

/// Two sockets, each the other's peer.
async fn connected() -> (UdpSocket, UdpSocket) {
    let (a, b) = (udp().await, udp().await);
    a.connect(b.local_addr().unwrap()).await.unwrap();
    b.connect(a.local_addr().unwrap()).await.unwrap();
    (a, b)
}

#[test]
fn datagrams_arrive_whole_and_say_who_sent_them() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (a, b) = (udp().await, udp().await);
            let (from_a, to_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
            let mut buf = [0; 16];
            for message in [b"one".as_slice(), b"", b"three"] {
                assert_eq!(a.send_to(message, to_b).await.unwrap(), message.len());
                let peeked = b.peek_from(&mut buf).await.unwrap();
                assert_eq!(peeked, (message.len(), from_a));
                assert_eq!(&buf[..peeked.0], message);
                buf.fill(0);
                let (n, from) = b.recv_from(&mut buf).await.unwrap();
                assert_eq!((&buf[..n], from), (message, from_a));
            }

            // Into memory that nobody has written to.
            let mut memory = [MaybeUninit::uninit(); 16];
            a.send_to(b"raw", to_b).await.unwrap();
            let (bytes, from) = b.recv_from_uninit(&mut memory).await.unwrap();
            assert_eq!((&*bytes, from), (b"raw".as_slice(), from_a));

            // What does not fit is lost, and nothing else.
            a.send_to(b"too long for it", to_b).await.unwrap();
            a.send_to(b"next", to_b).await.unwrap();
            assert_eq!(b.recv(&mut buf[..8]).await.unwrap(), 8);
            assert_eq!(&buf[..8], b"too long");
            assert_eq!(b.recv(&mut buf).await.unwrap(), 4);
        });
    });
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (a, b) = connected().await;
            assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
            let stranger = udp().await;
            let to_b = b.local_addr().unwrap();
            stranger.send_to(b"stranger", to_b).await.unwrap();
            a.send(b"peer").await.unwrap();
            let mut buf = [0; 16];
            assert_eq!(b.peek(&mut buf).await.unwrap(), 4);
            let mut memory = [MaybeUninit::uninit(); 16];
            assert_eq!(b.recv_uninit(&mut memory).await.unwrap(), b"peer");
            assert_eq!(kind(b.try_recv(&mut buf)), io::ErrorKind::WouldBlock);
        });
    });
}

#[test]
fn errors_say_what_is_wrong() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let a = udp().await;
            let mut buf = [0; 16];
            assert_eq!(kind(a.try_recv_from(&mut buf)), io::ErrorKind::WouldBlock);
            assert_eq!(kind(a.peer_addr()), io::ErrorKind::NotConnected);
            a.send(b"x").await.unwrap_err();

            let long = vec![0; 70_000];
            let to = udp().await.local_addr().unwrap();
            let refused = a.send_to(&long, to).await.unwrap_err().raw_os_error();
            assert!(refused.is_some());
            #[cfg(unix)]
            assert_eq!(refused, Some(libc::EMSGSIZE));

            let taken = a.local_addr().unwrap();
            assert_eq!(kind(UdpSocket::bind(taken).await), io::ErrorKind::AddrInUse);

            // Nobody is there: the answer to the datagram is the next operation's error.
            a.connect(to).await.unwrap();
            a.send(b"hello?").await.unwrap();
            #[cfg(target_os = "linux")]
            assert_eq!(
                kind(a.recv(&mut buf).await),
                io::ErrorKind::ConnectionRefused
            );
        });
    });
}

#[test]
fn many_receivers_get_a_datagram_each() {
    const RECEIVERS: usize = 8;
    const DATAGRAMS: u32 = 200;
    on_both_paths(|rig| {
        let server = Arc::new(rig.block_on(udp()));
        let addr = server.local_addr().unwrap();
        let receivers: Vec<_> = (0..RECEIVERS)
            .map(|_| {
                let server = server.clone();
                rig.spawn(async move {
                    let (mut buf, mut count) = ([0; 8], 0);
                    loop {
                        let (n, from) = server.recv_from(&mut buf).await.unwrap();
                        if n == 0 {
                            return count;
                        }
                        count += 1;
                        server.send_to(&buf[..n], from).await.unwrap();
                    }
                })
            })
            .collect();
        rig.block_on(async {
            let client = udp().await;
            client.connect(addr).await.unwrap();
            for n in 0..DATAGRAMS {
                client.send(&n.to_le_bytes()).await.unwrap();
                let mut back = [0; 8];
                assert_eq!(client.recv(&mut back).await.unwrap(), 4);
                assert_eq!(back[..4], n.to_le_bytes());
            }
            for _ in 0..RECEIVERS {
                client.send(b"").await.unwrap();
            }
        });
        let received: u32 = receivers.into_iter().map(|r| r.join().unwrap()).sum();
        assert_eq!(received, DATAGRAMS);
    });
}

#[test]
fn a_dropped_receive_loses_no_datagram() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (a, b) = connected().await;
            for n in 0..50_u8 {
                let mut byte = [0];
                let count = Arc::new(Count::default());
                {
                    let waker = Waker::from(count.clone());
                    let mut recv = pin!(b.recv(&mut byte));
                    let poll = recv.as_mut().poll(&mut Context::from_waker(&waker));
                    assert!(poll.is_pending());
                    a.send(&[n]).await.unwrap();
                    while count.0.load(Ordering::Relaxed) == 0 {
                        thread::yield_now();
                    }
                }
                assert_eq!(b.recv(&mut byte).await.unwrap(), 1);
                assert_eq!(byte[0], n);
            }
        });
    });
}

#[test]
fn a_spent_budget_yields_and_takes_nothing() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (a, b) = connected().await;
            a.send(b"a").await.unwrap();
            a.send(b"b").await.unwrap();
            b.peek(&mut [0]).await.unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            let mut byte = [0];
            leaf::begin_poll(1, false);
            let first = pin!(b.recv(&mut byte)).poll(&mut cx);
            assert!(matches!(first, Poll::Ready(Ok(1))));
            assert!(b.poll_recv(&mut cx, &mut byte).is_pending());
            assert!(leaf::end_poll().forced_yield);
            assert_eq!((b.recv(&mut byte).await.unwrap(), &byte), (1, b"b"));
        });
    });
}

/// What QUIC implementations do: readiness, then a system call of their own on std's socket.
#[test]
fn poll_forms_and_operations_of_ones_own() {
    use std::future::poll_fn;

    on_both_paths(|rig| {
        rig.block_on(async {
            let (a, b) = connected().await;
            let receive = |socket: &System| socket.recv_from(&mut [0; 16]);
            assert_eq!(kind(b.try_read_with(receive)), io::ErrorKind::WouldBlock);
            let received = poll_fn(|cx| {
                loop {
                    match b.poll_recv_ready(cx) {
                        Poll::Ready(ready) => ready.unwrap(),
                        Poll::Pending => return Poll::Pending,
                    }
                    match b.try_read_with(receive) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return Poll::Ready(result),
                    }
                }
            });
            let send = async {
                poll_fn(|cx| a.poll_send_ready(cx)).await.unwrap();
                a.try_write_with(|socket| socket.send(b"one")).unwrap();
            };
            let (received, ()) = join(received, send).await;
            assert_eq!(received.unwrap(), (3, a.local_addr().unwrap()));

            let mut buf = [0; 16];
            let recv = poll_fn(|cx| b.poll_recv(cx, &mut buf));
            let (n, sent) = join(recv, poll_fn(|cx| a.poll_send(cx, b"two"))).await;
            assert_eq!((n.unwrap(), sent.unwrap()), (3, 3));
            // The peer is given once more where the system lets one.
            #[cfg(target_os = "linux")]
            {
                let recv = poll_fn(|cx| b.poll_recv_from(cx, &mut buf));
                let to_b = b.local_addr().unwrap();
                let send = poll_fn(|cx| a.poll_send_to(cx, b"four", to_b));
                let (received, sent) = join(recv, send).await;
                assert_eq!(received.unwrap(), (4, a.local_addr().unwrap()));
                assert_eq!(sent.unwrap(), 4);
            }
            let own = b.read_with(|socket| socket.recv(&mut buf));
            let (n, sent) = join(own, a.write_with(|socket| socket.send(b"seven"))).await;
            assert_eq!((n.unwrap(), sent.unwrap()), (5, 5));
            let own = poll_fn(|cx| b.poll_read_with(cx, |socket| socket.recv(&mut [0; 16])));
            let sent = poll_fn(|cx| a.poll_write_with(cx, |socket| socket.send(b"x")));
            let (n, sent) = join(own, sent).await;
            assert_eq!((n.unwrap(), sent.unwrap()), (1, 1));

            assert_eq!(a.try_send(b"8").unwrap(), 1);
            b.readable().await.unwrap();
            assert_eq!(b.try_recv_from(&mut buf).unwrap().0, 1);
        });
    });
}

#[test]
fn a_socket_goes_to_std_and_back() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let (a, b) = connected().await;
            let b = b.into_std().unwrap();
            b.set_nonblocking(false).unwrap();
            a.send(b"x").await.unwrap();
            assert_eq!(b.recv(&mut [0; 4]).unwrap(), 1);
            let b = UdpSocket::from_std(b).unwrap();
            let (n, sent) = join(b.recv(&mut [0; 4]), a.send(b"yz")).await;
            assert_eq!((n.unwrap(), sent.unwrap()), (2, 2));
            assert!(b.take_error().unwrap().is_none());
        });
    });
}

#[test]
fn options_are_the_systems() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let socket = udp().await;
            socket.set_ttl(33).unwrap();
            assert_eq!(socket.ttl().unwrap(), 33);
            socket.set_broadcast(true).unwrap();
            assert!(socket.broadcast().unwrap());
            socket.set_multicast_loop_v4(false).unwrap();
            assert!(!socket.multicast_loop_v4().unwrap());
            socket.set_multicast_ttl_v4(7).unwrap();
            assert_eq!(socket.multicast_ttl_v4().unwrap(), 7);
        });
    });
}

#[test]
fn multicast_is_heard_by_those_who_joined() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let group = Ipv4Addr::new(239, 255, 77, 1);
            let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
            let to = (group, member.local_addr().unwrap().port());
            let sender = udp().await;
            socket2::SockRef::from(&sender)
                .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
                .unwrap();
            member
                .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
                .unwrap();
            sender.send_to(b"all", to).await.unwrap();
            let mut buf = [0; 8];
            assert_eq!(member.recv(&mut buf).await.unwrap(), 3);

            member
                .leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
                .unwrap();
            sender.send_to(b"nobody", to).await.unwrap();
            // What is sent to the member itself comes after it, and is the first that it gets.
            let direct = (Ipv4Addr::LOCALHOST, to.1);
            sender.send_to(b"you", direct).await.unwrap();
            assert_eq!(member.recv(&mut buf).await.unwrap(), 3);
            assert_eq!(&buf[..3], b"you");
        });
    });
}

/// Of the scope of an interface: what is sent to it never leaves the machine.
#[cfg(target_os = "linux")]
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x4845, 1);

/// The number of an interface over which std's sockets hear IPv6 groups. The loopback interface is seldom one.
#[cfg(target_os = "linux")]
fn interface_v6() -> Option<u32> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let mut numbers = table.lines().filter_map(|line| {
        let number = line.split_whitespace().nth(1)?;
        u32::from_str_radix(number, 16).ok()
    });
    let hears = |number: u32| {
        let probe = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        let port = probe.local_addr()?.port();
        probe.set_read_timeout(Some(Duration::from_secs(1)))?;
        probe.join_multicast_v6(&GROUP_V6, number)?;
        socket2::SockRef::from(&probe).set_multicast_if_v6(number)?;
        probe.send_to(b"probe", (GROUP_V6, port))?;
        probe.recv(&mut [0; 8])
    };
    numbers.find(|&number| hears(number).is_ok())
}

#[test]
#[cfg(target_os = "linux")]
fn multicast_over_ip_version_6_is_heard_by_those_who_joined() {
    let Some(interface) = interface_v6() else {
        eprintln!("skipped: no socket of this machine hears IPv6 groups");
        return;
    };
    on_both_paths(|rig| {
        rig.block_on(async {
            let group = GROUP_V6;
            let member = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
            let port = member.local_addr().unwrap().port();
            let sender = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
            socket2::SockRef::from(&sender)
                .set_multicast_if_v6(interface)
                .unwrap();
            member.join_multicast_v6(&group, interface).unwrap();
            let twice = member.join_multicast_v6(&group, interface);
            assert_eq!(kind(twice), io::ErrorKind::AddrInUse);
            sender.send_to(b"all", (group, port)).await.unwrap();
            let mut buf = [0; 8];
            let (len, from) = member.recv_from(&mut buf).await.unwrap();
            assert_eq!(&buf[..len], b"all");
            assert_eq!(from.port(), sender.local_addr().unwrap().port());

            member.leave_multicast_v6(&group, interface).unwrap();
            sender.send_to(b"nobody", (group, port)).await.unwrap();
            // What is sent to the member itself comes after it, and is the first that it gets.
            let direct = (Ipv6Addr::LOCALHOST, port);
            sender.send_to(b"you", direct).await.unwrap();
            let len = member.recv(&mut buf).await.unwrap();
            assert_eq!(&buf[..len], b"you");
            let left = member.leave_multicast_v6(&group, interface);
            assert_eq!(kind(left), io::ErrorKind::AddrNotAvailable);

            // Heard by this machine too, if nothing else was said.
            assert!(sender.multicast_loop_v6().unwrap());
            sender.set_multicast_loop_v6(false).unwrap();
            assert!(!sender.multicast_loop_v6().unwrap());
        });
    });
}

#[test]
fn broadcast_must_be_allowed() {
    on_both_paths(|rig| {
        rig.block_on(async {
            let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
            let to = (
                Ipv4Addr::new(127, 255, 255, 255),
                receiver.local_addr().unwrap().port(),
            );
            let sender = udp().await;
            assert_eq!(
                kind(sender.send_to(b"x", to).await),
                io::ErrorKind::PermissionDenied
            );
            sender.set_broadcast(true).unwrap();
            sender.send_to(b"x", to).await.unwrap();
            assert_eq!(receiver.recv(&mut [0; 8]).await.unwrap(), 1);
        });
    });
}

#[test]
fn a_stopped_driver_ends_receiving() {
    for portable in [false, true] {
        let mut rig = Rig::new(Config {
            portable,
            ..Config::default()
        });
        let socket = rig.block_on(udp());
        rig.stop();
        rig.block_on(socket.recv(&mut [0])).unwrap_err();
    }
}

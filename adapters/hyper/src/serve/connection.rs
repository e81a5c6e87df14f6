//! One connection's life.

use super::answer::Answers;
use super::links::{Guard, Link};
use super::stream::{Greeting, Stream};
use super::{Brood, ConnectionError, Settings, Version};
use heist::time::{self, Sleep};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tower_service::Service;

/// Everything that a connection's task has.
pub(super) struct Connection<S, P> {
    pub(super) settings: Arc<Settings<P>>,
    pub(super) service: S,
    pub(super) peer: Arc<P>,
    pub(super) guard: Guard,
    pub(super) brood: Brood,
}

impl<S, B, P> Connection<S, P>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    P: Send + Sync + 'static,
{
    /// From accepted to closed.
    pub(super) async fn run<T>(mut self, opening: impl Future<Output = io::Result<T>>)
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let settings = self.settings.clone();
        let opening = open(&settings, self.guard.link().clone(), opening);
        let opened = heist::timeout(settings.header_timeout, opening);
        let answered = match self.guard.unless_told(opened).await {
            // The server stops, or the peer has thought better of it.
            None | Some(Ok(Ok(None))) => return,
            Some(Ok(Ok(Some((stream, version))))) => self.answer(stream, version).await,
            Some(Ok(Err(error))) => Err(ConnectionError::opening(error)),
            Some(Err(late)) => Err(ConnectionError::opening(io::Error::new(
                io::ErrorKind::TimedOut,
                late,
            ))),
        };
        if let Err(error) = answered {
            self.brood.report(&error);
        }
    }

    async fn answer<T>(
        &mut self,
        stream: Stream<T>,
        version: Version,
    ) -> Result<(), ConnectionError>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let patience = Patience::of(&self.settings);
        let answers = Answers {
            service: self.service.clone(),
            link: self.guard.link().clone(),
            peer: self.peer.clone(),
            on_request: self.settings.on_request.clone(),
        };
        match version {
            #[cfg(feature = "http1")]
            Version::Http1 => {
                let connection = self.settings.http1.serve_connection(stream, answers);
                let finish = |connection: Pin<&mut _>| {
                    hyper::server::conn::http1::UpgradeableConnection::graceful_shutdown(connection)
                };
                drive(
                    &mut self.guard,
                    patience,
                    connection.with_upgrades(),
                    finish,
                )
                .await
            }
            #[cfg(feature = "http2")]
            Version::Http2 => {
                let builder = self.settings.http2(&self.brood);
                let connection = builder.serve_connection(stream, answers);
                let finish = |connection: Pin<&mut _>| {
                    hyper::server::conn::http2::Connection::graceful_shutdown(connection)
                };
                drive(&mut self.guard, patience, connection, finish).await
            }
        }
    }
}

/// What is done before the first request. None: the peer closed without a word.
async fn open<T, P>(
    settings: &Settings<P>,
    link: Arc<Link>,
    opening: impl Future<Output = io::Result<T>>,
) -> io::Result<Option<(Stream<T>, Version)>>
where
    T: Read + Write + Unpin,
{
    let mut stream = Stream::new(opening.await?, settings.write_timeout, link);
    #[cfg(feature = "http1")]
    if settings.only == Some(Version::Http1) || !cfg!(feature = "http2") {
        // hyper itself times the first head.
        return Ok(Some((stream, Version::Http1)));
    }
    let version = match stream.greeting().await? {
        Greeting::Nothing => return Ok(None),
        #[cfg(feature = "http2")]
        Greeting::Http2 => Version::Http2,
        #[cfg(feature = "http1")]
        Greeting::Other if settings.only.is_none() => Version::Http1,
        _ => {
            let error = "the peer does not speak HTTP/2, and nothing else is served here";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
    };
    Ok(Some((stream, version)))
}

/// How long a connection that was told to finish may do nothing.
#[derive(Clone, Copy)]
struct Patience {
    /// Without requests: HTTP/2 says goodbye to its peer and waits for the answer, which may be dead.
    idle: Duration,
    /// With answers that the peer does not read.
    held: Duration,
}

impl Patience {
    fn of<P>(settings: &Settings<P>) -> Self {
        Self {
            idle: settings.header_timeout,
            held: settings.write_timeout,
        }
    }
}

/// A connection that finishes: how it was found when its time began to run.
struct Finishing {
    is_held: bool,
    writes: u64,
    sleep: Sleep,
}

impl Finishing {
    fn new(link: &Link, patience: Patience) -> Self {
        let is_held = link.is_held();
        Self {
            is_held,
            writes: link.writes(),
            sleep: time::sleep(if is_held {
                patience.held
            } else {
                patience.idle
            }),
        }
    }

    /// Ready when nothing has moved for as long as may be.
    fn poll_late(&mut self, link: &Link, patience: Patience, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(Pin::new(&mut self.sleep).poll(cx));
            let is_same = (self.is_held, self.writes) == (link.is_held(), link.writes());
            if is_same && !link.is_busy() {
                return Poll::Ready(());
            }
            *self = Self::new(link, patience);
        }
    }
}

/// Runs a connection to its end, and lets it finish when it is told to.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    guard: &mut Guard,
    patience: Patience,
    connection: C,
    finish: impl Fn(Pin<&mut C>),
) -> Result<(), ConnectionError> {
    let mut connection = pin!(connection);
    let mut finishing: Option<Finishing> = None;
    poll_fn(|cx| {
        if finishing.is_none() && guard.poll_told(cx).is_ready() {
            finishing = Some(Finishing::new(guard.link(), patience));
            finish(connection.as_mut());
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended.map_err(Into::into));
        }
        let Some(finishing) = &mut finishing else {
            return Poll::Pending;
        };
        ready!(finishing.poll_late(guard.link(), patience, cx));
        Poll::Ready(match finishing.is_held {
            true => Err(ConnectionError::unread()),
            false => Ok(()),
        })
    })
    .await
}

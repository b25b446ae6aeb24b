//! Sockets: who may connect, and for how long a connection may be slow. axum's own loop sets no timer, so this one builds each
//! connection itself.
//!
//! A connection may be idle for [`IDLE_SECONDS`]. From its first byte on a request's head must come within [`HEAD_SECONDS`];
//! what is written must be taken within [`WRITE_SECONDS`]. Bodies have a limit of their own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::ServiceExt;

use super::app;
use super::framing::{Framing, Phase};
use super::guard::{MAX_HEADER_BYTES, MAX_HEADERS, Peer};
use super::shared::Shared;
use super::worker::Stage;

/// Longer than the minute for which most clients and proxies keep connections.
const IDLE_SECONDS: Duration = Duration::from_secs(75);
const HEAD_SECONDS: Duration = Duration::from_secs(10);
const WRITE_SECONDS: Duration = Duration::from_secs(30);
/// Connections at once.
const MOST: usize = 1024;
/// Of these, from one address beyond the loopback. A proxy on this machine speaks for many.
const MOST_PER_ADDRESS: usize = 64;
/// A rest after the system had no more files to give: the first, and the longest of a row.
const REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How often that is told.
const WARNING: Duration = Duration::from_secs(60);
/// What is left to write when all answers have ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often the end of all answers is looked for.
const TICK: Duration = Duration::from_millis(20);

/// Serves until `stop` resolves or the engine is lost for good: then it accepts nobody, gives answers in the making `drain`
/// to end, and ends the rest. Errors: why there is no engine.
pub(crate) async fn serve(
    listener: TcpListener,
    server: &Shared,
    drain: Duration,
    stop: impl Future<Output = ()>,
) -> lyn::Result<()> {
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stage = server.worker.stage();
    let failed = async move {
        match stage.wait_for(|stage| matches!(stage, Stage::Failed(_) | Stage::Stopped)).await.as_deref() {
            Ok(Stage::Failed(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    };
    let accepting = accept(async || listener.accept().await, app(server), &mut connections, &closed);
    let ended = tokio::select! {
        () = accepting => Ok(()),
        () = stop => Ok(()),
        failure = failed => failure,
    };
    server.drain();
    let patience = Instant::now() + drain;
    while server.answers() > 0 && ended.is_ok() && Instant::now() < patience {
        sleep(TICK).await;
    }
    server.stop();
    let _ = timeout(LAST_WORDS, async {
        while server.answers() > 0 {
            sleep(TICK).await;
        }
        let _ = closing.send(true);
        while connections.join_next().await.is_some() {}
    })
    .await;
    ended
}

/// `next`: a listener's next connection.
async fn accept(
    mut next: impl AsyncFnMut() -> io::Result<(TcpStream, SocketAddr)>,
    app: Router,
    tasks: &mut JoinSet<()>,
    closed: &watch::Receiver<bool>,
) {
    let all = Arc::new(Semaphore::new(MOST));
    let crowd = Crowd::default();
    let mut trouble = Trouble::default();
    loop {
        // Nobody is ever asked to close it.
        let Ok(room) = Arc::clone(&all).acquire_owned().await else { return };
        // What has ended is forgotten, so that the set does not grow.
        while tasks.try_join_next().is_some() {}
        match next().await {
            Ok((stream, address)) => {
                trouble.row = 0;
                if let Some(place) = crowd.enter(address.ip().to_canonical()) {
                    tasks.spawn(connection(stream, address, app.clone(), closed.clone(), (room, place)));
                }
            }
            // A connection that broke before it was taken is nobody's trouble.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(unsaid) = trouble.note(Instant::now()) {
                    tracing::warn!(%error, unsaid, "no connection could be accepted");
                }
                sleep(trouble.rest()).await;
            }
        }
    }
}

/// Connections that could not be accepted.
#[derive(Default)]
struct Trouble {
    /// One after the other.
    row: u32,
    told: Option<Instant>,
    unsaid: u64,
}

impl Trouble {
    /// How many were not told of since the last that was, where this one is to be told.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.row = self.row.saturating_add(1);
        if self.told.is_some_and(|told| now.duration_since(told) < WARNING) {
            self.unsaid += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    fn rest(&self) -> Duration {
        REST.saturating_mul(1 << self.row.saturating_sub(1).min(8)).min(LONGEST_REST)
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    app: Router,
    mut closed: watch::Receiver<bool>,
    _room: (OwnedSemaphorePermit, Place),
) {
    // Each token is a packet of its own, and waits for no other.
    let _ = stream.set_nodelay(true);
    let from = Peer(address.ip().to_canonical());
    let requests = Arc::new(());
    let socket = Patient::new(stream, Arc::clone(&requests));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(from);
        let (app, busy) = (app.clone(), Arc::clone(&requests));
        async move {
            let answered = app.oneshot(request).await;
            // The body holds its mark until it has been sent.
            let hold = move |error| {
                let _request = &busy;
                error
            };
            answered.map(|response| response.map(|body| body.map_err(hold)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Its clock would run while nobody asks.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let closing = async move {
        let _ = closed.wait_for(|closed| *closed).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place in the crowd.
struct Place {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= MOST_PER_ADDRESS && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get(&self.address).copied().unwrap_or(0).saturating_sub(1);
        if left == 0 {
            counts.remove(&self.address);
        } else {
            counts.insert(self.address, left);
        }
    }
}

/// A socket that knows where requests begin. It ends when none comes for [`IDLE_SECONDS`]; reads fail when the rest of a head does
/// not come for [`HEAD_SECONDS`], writes when nothing is taken for [`WRITE_SECONDS`].
struct Patient {
    stream: TcpStream,
    /// There while a write waits.
    until: Option<Pin<Box<Sleep>>>,
    framing: Framing,
    /// There while a read waits for a request, with what it waits for.
    reading: Option<(Phase, Pin<Box<Sleep>>)>,
    /// One hold for this socket, one for the service, and one for each request in the making.
    requests: Arc<()>,
}

impl Patient {
    fn new(stream: TcpStream, requests: Arc<()>) -> Patient {
        Patient { stream, until: None, framing: Framing::new(), reading: None, requests }
    }

    fn wait<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(WRITE_SECONDS)));
        ready!(until.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Nothing has come: for how long may that be so?
    fn wait_for_request(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.framing.phase();
        // While an answer is made, reads only look whether the client is still there.
        if phase == Phase::Body || Arc::strong_count(&self.requests) > 2 {
            self.reading = None;
            return Poll::Pending;
        }
        let wait = if phase == Phase::Idle { IDLE_SECONDS } else { HEAD_SECONDS };
        let (_, until) = match &mut self.reading {
            Some(reading) if reading.0 == phase => reading,
            reading => reading.insert((phase, Box::pin(sleep(wait)))),
        };
        ready!(until.as_mut().poll(context));
        // An idle connection ends as if the client had closed it.
        Poll::Ready(if phase == Phase::Idle { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) })
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.framing.read(buffer.filled_mut().get_mut(before..).unwrap_or_default());
                Poll::Ready(Ok(()))
            }
            Poll::Pending => self.wait_for_request(context),
            failed => failed,
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wait(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wait(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.wait(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.wait(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn trouble_is_told_once_a_minute_and_rests_grow() {
        let (mut trouble, began) = (Trouble::default(), Instant::now());
        assert_eq!(trouble.note(began), Some(0));
        assert_eq!(trouble.rest(), REST);
        for second in 1..60 {
            assert_eq!(trouble.note(began + Duration::from_secs(second)), None);
        }
        assert_eq!(trouble.rest(), LONGEST_REST);
        assert_eq!(trouble.note(began + WARNING), Some(59));
    }

    /// A socket with its client's end, and what counts its requests: as one that is served has them.
    async fn connected() -> (Patient, TcpStream, [Arc<()>; 2]) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let service = Arc::new(());
        (Patient::new(stream, Arc::clone(&service)), client, [Arc::clone(&service), service])
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_idle_and_its_client_silent_while_an_answer_is_made() {
        let (mut socket, _client, [service, request]) = connected().await;
        let mut bytes = [0; 64];
        assert!(
            timeout(IDLE_SECONDS * 20, socket.read(&mut bytes)).await.is_err(),
            "it ended in the middle of an answer"
        );
        drop(request);
        let began = Instant::now();
        let read = timeout(IDLE_SECONDS * 2, socket.read(&mut bytes)).await;
        assert_eq!(read.unwrap().unwrap(), 0, "as if the client had closed it");
        assert_eq!(began.elapsed().as_secs(), 75);
        drop(service);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_byte_on_and_no_more_with_each() {
        let (mut socket, mut client, [service, request]) = connected().await;
        drop(request);
        let mut bytes = [0; 64];
        assert!(timeout(IDLE_SECONDS - HEAD_SECONDS / 2, socket.read(&mut bytes)).await.is_err());
        client.write_all(b"GET /hea").await.unwrap();
        assert_eq!(socket.read(&mut bytes).await.unwrap(), 8);
        let began = Instant::now();
        assert!(timeout(HEAD_SECONDS * 9 / 10, socket.read(&mut bytes)).await.is_err(), "its time is its own");
        client.write_all(b"l").await.unwrap();
        assert_eq!(socket.read(&mut bytes).await.unwrap(), 1);
        let ended = timeout(IDLE_SECONDS, socket.read(&mut bytes)).await.unwrap().unwrap_err();
        assert_eq!((ended.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
        drop(service);
    }

    #[test]
    fn an_address_has_so_many_connections_and_the_loopback_more() {
        let crowd = Crowd::default();
        let (one, local) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([127, 0, 0, 1]));
        let mut places: Vec<Place> = (0..MOST_PER_ADDRESS).filter_map(|_| crowd.enter(one)).collect();
        assert_eq!((places.len(), crowd.enter(one).is_none()), (MOST_PER_ADDRESS, true));
        let many: Vec<_> = (0..=MOST_PER_ADDRESS).map(|_| crowd.enter(local)).collect();
        assert!(many.iter().all(Option::is_some));
        places.pop();
        assert!(crowd.enter(one).is_some());
        drop((places, many));
        assert!(crowd.0.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_has_its_time_for_each_piece_and_then_the_write_fails() {
        let (mut socket, _client, _requests) = connected().await;
        // More than the system holds for a reader that does not read.
        let long = vec![b'x'; 64 << 20];
        let began = Instant::now();
        let failed = socket.write_all(&long).await.unwrap_err();
        assert_eq!((failed.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
        // What takes a little keeps the connection for as long again.
        let (mut socket, mut slow, _requests) = connected().await;
        let began = Instant::now();
        let reading = async {
            let mut piece = vec![0; 8 << 20];
            for _ in 0..2 {
                sleep(WRITE_SECONDS - Duration::from_secs(1)).await;
                slow.read_exact(&mut piece).await.unwrap();
            }
            std::future::pending::<()>().await
        };
        let failed = tokio::select! {
            failed = socket.write_all(&long) => failed.unwrap_err(),
            () = reading => unreachable!("it never ends"),
        };
        let seconds = began.elapsed().as_secs();
        assert!(failed.kind() == io::ErrorKind::TimedOut && (88..=89).contains(&seconds), "{failed} after {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_can_be_accepted_there_is_a_rest_and_a_broken_connection_costs_none() {
        let broken = || Err(io::ErrorKind::ConnectionAborted.into());
        let none = || Err(io::Error::other("too many open files"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let accepted = listener.accept().await;
        let mut said = std::collections::VecDeque::from([broken(), none(), none(), broken(), none(), none(), none()]);
        said.extend([none(), accepted, none()]);
        let (mut tasks, (_closing, closed)) = (JoinSet::new(), watch::channel(false));
        let (began, mut asked) = (Instant::now(), vec![]);
        let next = async || {
            asked.push(began.elapsed().as_millis());
            match said.pop_front() {
                Some(said) => said,
                None => std::future::pending().await,
            }
        };
        assert!(timeout(Duration::from_secs(60), accept(next, Router::new(), &mut tasks, &closed)).await.is_err());
        let rests: Vec<u128> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(rests, [0, 100, 200, 0, 400, 800, 1000, 1000, 0, 100]);
        assert_eq!(tasks.len(), 1);
    }

    #[test]
    fn rests_double_up_to_a_second() {
        for (row, ms) in [(0, 100), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (9, 1000), (u32::MAX, 1000)] {
            assert_eq!(Trouble { row, ..Trouble::default() }.rest(), Duration::from_millis(ms), "{row} in a row");
        }
        let (mut trouble, began) = (Trouble::default(), Instant::now());
        assert_eq!((trouble.note(began), trouble.note(began), trouble.row), (Some(0), None, 2));
        assert_eq!(trouble.note(began + WARNING - Duration::from_millis(1)), None);
        assert_eq!((trouble.note(began + WARNING), trouble.unsaid), (Some(2), 0));
    }
}

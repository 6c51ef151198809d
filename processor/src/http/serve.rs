//! How does it listen? One address, with or without TLS, until told to stop.
//!
//! Keeps I-9: connections are counted and one too many is closed; headers, TLS handshakes and bodies have
//! timeouts, so a silent peer holds nothing for long. A stop lets requests in progress end, for a while.
//! Deliberately absent: HTTP/2. Producers send few large requests; one protocol is one set of limits to prove.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum_server::Handle;
use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::auth::Keys;
use super::metering::Metering;
use super::{Edge, Options, router};
use crate::config::{self, Tls};

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {listen}: {source}; stop what uses the port, or set http.listen")]
    Listen { listen: SocketAddr, source: io::Error },
    #[error("cannot use {} for TLS: {reason}; http.tls_certificate_file and http.tls_key_file name PEM files", file.display())]
    Certificate { file: PathBuf, reason: String },
    #[error(
        "certificate and key cannot be used together: {reason}; check that the key is the certificate's own"
    )]
    KeyPair { reason: String },
    #[error("listening on {listen} failed: {source}; restart the service")]
    Failed { listen: SocketAddr, source: io::Error },
}

/// A port that is bound and not yet served, so that a failure to bind stops the start.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
    settings: config::Http,
}

/// # Errors
/// [`ServeError`] when the port is taken or the certificate cannot be used.
pub fn bind(settings: &config::Http) -> Result<Listening, ServeError> {
    let tls = match &settings.tls {
        Tls::Here { certificate, key } => Some(RustlsConfig::from_config(server_config(certificate, key)?)),
        Tls::None | Tls::TerminatedUpstream => None,
    };
    let failed = |source| ServeError::Listen { listen: settings.listen, source };
    let listener = TcpListener::bind(settings.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, address, tls, settings: settings.clone() })
}

impl Listening {
    /// With the port that the system chose, when the configured one is 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is done, then for at most the shutdown grace.
    ///
    /// # Errors
    /// [`ServeError::Failed`] when the listener breaks.
    pub async fn serve(
        self,
        metering: Arc<dyn Metering>,
        keys: Keys,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let listen = self.address;
        if keys.is_open() {
            tracing::warn!(%listen, "no API key is configured: whoever can connect is tenant `default` with all roles");
        }
        let (close, closing) = watch::channel(false);
        let options =
            Options { body_timeout: self.settings.body_timeout, requests_max: self.settings.requests_max };
        let router = router(Edge::new(metering, keys, options, closing));
        let handle = Handle::new();
        let stopping = handle.clone();
        let grace = self.settings.shutdown_grace;
        let stopper = tokio::spawn(async move {
            stop.await;
            // Readers who wait leave first, so that the grace is for those who work.
            close.send_replace(true);
            stopping.graceful_shutdown(Some(grace));
            close.closed().await;
        });
        let served = self.run(router, handle).await;
        stopper.abort();
        served.map_err(|source| ServeError::Failed { listen, source })
    }

    async fn run(self, router: Router, handle: Handle<SocketAddr>) -> io::Result<()> {
        let room = Room { connections: Arc::new(Semaphore::new(self.settings.connections_max)) };
        let mut server = axum_server::from_tcp(self.listener)?.handle(handle).http1_only();
        server
            .http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.header_timeout);
        let service = router.into_make_service();
        match self.tls {
            None => server.acceptor(room).serve(service).await,
            Some(tls) => {
                let tls =
                    RustlsAcceptor::new(tls).handshake_timeout(self.settings.header_timeout).acceptor(room);
                server.acceptor(tls).serve(service).await
            }
        }
    }
}

fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServeError> {
    let unusable = |file: &Path, reason: String| ServeError::Certificate { file: file.into(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "it holds no certificate".into()));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.to_string()))?;
    let pair = |error: rustls::Error| ServeError::KeyPair { reason: error.to_string() };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Lets in as many connections as configured. It comes before TLS, so that handshakes count too.
#[derive(Clone)]
struct Room {
    connections: Arc<Semaphore>,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Room {
    type Stream = TcpStream;
    type Service = Seated<S>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TcpStream, Seated<S>)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let seat = self.connections.clone().try_acquire_owned();
        Box::pin(async move {
            let seat = seat.map_err(|_| io::Error::other("as many connections as allowed are open"))?;
            // An answer is one small packet: waiting to fill it would cost 40 ms.
            stream.set_nodelay(true)?;
            let (stream, service) = DefaultAcceptor::new().accept(stream, service).await?;
            Ok((stream, Seated { service, _seat: Arc::new(seat) }))
        })
    }
}

/// A connection's service; its seat is free again when the connection has ended.
#[derive(Clone)]
struct Seated<S> {
    service: S,
    _seat: Arc<OwnedSemaphorePermit>,
}

impl<S: tower::Service<R>, R> tower::Service<R> for Seated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.service.call(request)
    }
}

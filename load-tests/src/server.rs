//! How is the product started, and how does it die? A child process that is only ever ended by kill -9.
//!
//! Invariant: only a process that was started here is killed, by its own id, and none outlives its owner.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::product::Product;

/// Between two questions whether the server is ready: restarts are measured to this precision.
const READY_POLL: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("{binary} cannot be started: {source}; check --binary")]
    Start { binary: PathBuf, source: io::Error },
    #[error("the server's log {path} cannot be opened: {source}")]
    Log { path: PathBuf, source: io::Error },
    #[error("process {id} cannot be watched or killed: {source}")]
    Process { id: u32, source: io::Error },
    #[error("the server ended by itself with {status}, though nobody killed it; its last words are in {log}")]
    EndedByItself { status: ExitStatus, log: PathBuf },
    #[error("the server was not ready within {seconds} s; see {log}")]
    NotReady { seconds: u64, log: PathBuf },
}

/// Everything needed to start the server again in the same way.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    pub binary: PathBuf,
    pub data: PathBuf,
    pub catalog: PathBuf,
    pub listen: SocketAddr,
    /// Standard output and error of all its lives.
    pub log: PathBuf,
    /// More arguments for `serve`.
    pub arguments: Vec<String>,
}

/// One life of the server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl ServerPlan {
    /// # Errors
    /// [`ServerError::Start`], [`ServerError::Log`]
    pub fn start(&self) -> Result<Server, ServerError> {
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(&self.log)
                .map_err(|source| ServerError::Log { path: self.log.clone(), source })
        };
        let child = Command::new(&self.binary)
            .arg("serve")
            .arg("--data")
            .arg(&self.data)
            .arg("--catalog")
            .arg(&self.catalog)
            .arg("--listen")
            .arg(self.listen.to_string())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .spawn()
            .map_err(|source| ServerError::Start { binary: self.binary.clone(), source })?;
        Ok(Server { child, log: self.log.clone(), started: Instant::now() })
    }
}

impl Server {
    /// Waits until the server says that it is ready; returns how long that took from its start.
    ///
    /// # Errors
    /// [`ServerError::EndedByItself`], [`ServerError::NotReady`]
    pub async fn until_ready(
        &mut self,
        product: &Product,
        patience: Duration,
    ) -> Result<Duration, ServerError> {
        loop {
            self.check_alive()?;
            if product.is_ready().await {
                return Ok(self.started.elapsed());
            }
            if self.started.elapsed() > patience {
                return Err(ServerError::NotReady { seconds: patience.as_secs(), log: self.log.clone() });
            }
            sleep(READY_POLL).await;
        }
    }

    /// # Errors
    /// [`ServerError::EndedByItself`]: a crash of its own is a failure of the product, not of the scenario.
    pub fn check_alive(&mut self) -> Result<(), ServerError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(ServerError::EndedByItself { status, log: self.log.clone() }),
            Err(source) => Err(ServerError::Process { id: self.child.id(), source }),
        }
    }

    /// Kill -9, and waits until the process is gone, so that its port and its lock are free.
    ///
    /// # Errors
    /// [`ServerError::EndedByItself`] when it was dead already.
    pub fn kill(mut self) -> Result<(), ServerError> {
        self.check_alive()?;
        let failed = |id| move |source| ServerError::Process { id, source };
        self.child.kill().map_err(failed(self.child.id()))?;
        self.child.wait().map_err(failed(self.child.id()))?;
        Ok(())
    }
}

impl Drop for Server {
    /// No server is left behind when the scenario ends early.
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback address that was free a moment ago.
///
/// # Errors
/// When the system has none.
pub fn free_loopback_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

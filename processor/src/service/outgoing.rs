//! Connects the outbox to what delivers: rows are read from the store, receipts go back through the partition.

use std::sync::Arc;

use tidemark_schemas::outbox::{Destination, OutboxRow};
use tidemark_schemas::receipt::Receipt;

use crate::deliver::{Outbox, PartitionError, Receipts};
use crate::partition::{Handle, Input, pending};
use crate::store::KeyValue;

/// The partition's undelivered rows and the way back.
#[derive(Clone)]
pub struct OutboxRows {
    store: Arc<dyn KeyValue>,
    handle: Handle,
}

impl OutboxRows {
    #[must_use]
    pub fn new(store: Arc<dyn KeyValue>, handle: Handle) -> Self {
        Self { store, handle }
    }
}

impl Outbox for OutboxRows {
    fn pending(
        &self,
        destination: Destination,
        after: u64,
        limit: usize,
    ) -> Result<Vec<OutboxRow>, PartitionError> {
        Ok(pending(&*self.store, destination, after, limit)?)
    }

    fn resent(&self) -> u64 {
        self.handle.heads().borrow().resent
    }
}

impl Receipts for OutboxRows {
    async fn commit(&self, receipts: Vec<Receipt>) -> Result<(), PartitionError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let reply = Box::new(move |answer| {
            let _ = sender.send(answer);
        });
        // The channel is bounded and may be full for a commit's time, so this waits off the async threads.
        let handle = self.handle.clone();
        let sent =
            tokio::task::spawn_blocking(move || handle.send(Input::Receive(receipts, reply)).is_ok()).await?;
        if !sent {
            return Err("the partition is gone".into());
        }
        receiver.await?.map_err(|error| error.to_string().into())
    }
}

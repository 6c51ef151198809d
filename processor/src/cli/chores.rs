//! What a running service does now and then: looks at the catalog folder, archives, tells an idle partition the time, and
//! tidies up its metrics.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use metrics_exporter_prometheus::PrometheusHandle;
use tidemark_schemas::time::{EventTime, ReceiveTime};

use crate::clock;
use crate::partition::Input;
use crate::service::Engine;

/// How often the catalog folder is looked at.
const CATALOG_EVERY: Duration = Duration::from_secs(2);

/// How often archived blocks are looked at.
const ARCHIVE_EVERY: Duration = Duration::from_secs(10);

/// How often an idle partition is told the time.
const TICK_EVERY: Duration = Duration::from_secs(10);

/// How often histograms take in the values that were recorded: at 10,000 requests a second, 50,000 values wait.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Without events for this long, the watermark goes on with our clock.
const IDLE_AFTER_MICROS: i64 = 60 * 1_000_000;

/// Threads that end when told to.
pub struct Chores {
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Chores {
    #[must_use]
    pub fn start(engine: &Arc<Engine>, prometheus: PrometheusHandle) -> Self {
        // Nothing is ever sent: the channel ends when `stop` is dropped.
        let (stop, stopped) = bounded(0);
        let mut last_fault = String::new();
        let mut activity =
            Activity { received: 0, since: clock::now(), watermark: engine.handle.snapshot().watermark };
        let start = |name: &str, every, mut work: Box<dyn FnMut(&Engine) + Send>| {
            let (engine, stopped) = (Arc::clone(engine), stopped.clone());
            let run = move || regularly(every, &stopped, || work(&engine));
            std::thread::Builder::new()
                .name(name.into())
                .spawn(run)
                .expect("the operating system can start a few threads")
        };
        let threads = vec![
            start("catalog", CATALOG_EVERY, Box::new(move |engine| follow_catalog(engine, &mut last_fault))),
            start("archive", ARCHIVE_EVERY, Box::new(archive)),
            start("metrics", UPKEEP_EVERY, Box::new(move |_| prometheus.run_upkeep())),
            start("tick", TICK_EVERY, Box::new(move |engine| tick(engine, &mut activity))),
        ];
        Self { stop, threads }
    }

    /// Waits for the work in progress.
    pub fn stop(self) {
        drop(self.stop);
        for thread in self.threads {
            // A chore that panicked has said so on standard error; the service stops all the same.
            let _ = thread.join();
        }
    }
}

fn regularly(every: Duration, stopped: &Receiver<()>, mut work: impl FnMut()) {
    while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        work();
    }
}

/// Takes over the catalog when its folder changes. A mistake is logged once, and the catalog in force stays.
fn follow_catalog(engine: &Engine, last_fault: &mut String) {
    let fault = engine.reload_catalog().err().map(|error| error.to_string()).unwrap_or_default();
    if !fault.is_empty() && *last_fault != fault {
        tracing::error!("the changed catalog is not taken over:\n{fault}");
    }
    *last_fault = fault;
}

fn archive(engine: &Engine) {
    if let Err(error) = engine.archive(false) {
        tracing::error!(%error, "archiving failed; it is tried again");
    }
}

/// When the partition last received something, as far as we saw, and where its watermark was then.
struct Activity {
    received: u64,
    since: ReceiveTime,
    watermark: Option<EventTime>,
}

impl Activity {
    /// Where the watermark of an idle stream is: as far behind our clock as it was when events came. `None` while the
    /// stream is not idle. So a live stream's windows close on time, and a backfill of last year's events that pauses
    /// does not make the rest of last year too late.
    fn idle_watermark(&self, now: ReceiveTime) -> Option<EventTime> {
        let idle_micros = now.micros() - self.since.micros() - IDLE_AFTER_MICROS;
        self.watermark.filter(|_| idle_micros >= 0).map(|watermark| watermark.plus_micros(idle_micros))
    }
}

/// An idle partition's watermark goes on with our clock, so that windows close without new events. The tick is committed
/// like any input, so the state needs no clock to be read again.
fn tick(engine: &Engine, activity: &mut Activity) {
    let (snapshot, now) = (engine.handle.snapshot(), clock::now());
    if snapshot.progress.counts.received != activity.received {
        let received = snapshot.progress.counts.received;
        *activity = Activity { received, since: now, watermark: snapshot.watermark };
    }
    if let Some(until) = activity.idle_watermark(now)
        && snapshot.timers > 0
        && snapshot.watermark.is_some_and(|watermark| watermark < until)
        && let Some(Err(error)) = engine.handle.ask(|reply| Input::Declare(until, reply))
    {
        tracing::error!(%error, "the idle tick failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_stream_stays_as_far_behind_as_it_was() {
        let (second, now) = (1_000_000, 1_790_000_000_000_000);
        let live = EventTime::from_micros(now - 120 * second);
        let last_year = EventTime::from_micros(now - 365 * 86_400 * second);
        for watermark in [live, last_year] {
            let activity =
                Activity { received: 7, since: ReceiveTime::from_micros(now), watermark: Some(watermark) };
            let after = |seconds| activity.idle_watermark(ReceiveTime::from_micros(now + seconds * second));
            assert_eq!(after(59), None);
            assert_eq!(after(60), Some(watermark));
            assert_eq!(after(3_660), Some(watermark.plus_micros(3_600 * second)));
        }
        let nothing = Activity { received: 0, since: ReceiveTime::from_micros(now), watermark: None };
        assert_eq!(nothing.idle_watermark(ReceiveTime::from_micros(now + 3_600 * second)), None);
    }
}

//! How does billing get its rated summaries? As files by default, or by signed webhook.
//!
//! Both are [`crate::deliver::Sink`]s and answer for each row. Deliberately absent: what billing makes of the lines;
//! it owns invoices, and takes each record's id as the key under which a repetition changes nothing.

pub mod files;
pub mod signature;
pub mod webhook;

pub use files::BillingFiles;
pub use webhook::{BillingWebhook, WebhookConfig, WebhookConfigError};

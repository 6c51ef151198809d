//! Which accounts? A posting rule maps usage revenue of a meter and a legal entity to a debit and a credit account.

use crate::ids::{AccountCode, LegalEntityId, MeterId, PostingRuleId};

/// The most specific rule wins: one that names the meter and the entity, then the entity, then the meter, then neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingRule {
    pub id: PostingRuleId,
    /// `None`: every meter.
    pub meter: Option<MeterId>,
    /// `None`: every legal entity.
    pub legal_entity: Option<LegalEntityId>,
    /// Debited, with the customer's debtor as its party: usually unbilled receivables.
    pub debit: AccountCode,
    /// Credited: usually usage revenue.
    pub credit: AccountCode,
}

//! Who used it, and who is that elsewhere? The identity map of a customer.

use crate::ids::{CustomerId, TenantId};

/// One customer and its names in the systems around us. The product owns `subjects`, billing owns
/// `billing_subscriber`, finance owns `erp_debtor`, sales owns `crm_account`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    pub id: CustomerId,
    pub tenant: TenantId,
    pub name: String,
    /// CloudEvents subjects of this customer. `*` alone: every subject of the tenant that no other customer names.
    pub subjects: Vec<String>,
    /// Its identity at the billing platform.
    pub billing_subscriber: String,
    /// The party that the ERP's receivable is booked on.
    pub erp_debtor: String,
    pub crm_account: Option<String>,
}

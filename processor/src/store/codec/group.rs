//! A group row: tenant, customer, subscription, meter, dimension values, each with its length.

use tidemark_core::state::Group;
use tidemark_schemas::ids::{CustomerId, MeterId, NameError, SubscriptionId, TenantId};

use super::{Codec, Damaged, Reader, Writer};

impl Codec for Group {
    const VERSION: u8 = 1;

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.tenant.as_str());
        writer.text(self.customer.as_str());
        writer.text(self.subscription.as_str());
        writer.text(self.meter.as_str());
        writer.u32(u32::try_from(self.dimension_values.len()).expect("a meter has few dimensions"));
        self.dimension_values.iter().for_each(|value| writer.text(value));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let not_a_name = |_: NameError| Damaged("a name has characters that names cannot have");
        Ok(Self {
            tenant: TenantId::new(reader.text()?).map_err(not_a_name)?,
            customer: CustomerId::new(reader.text()?).map_err(not_a_name)?,
            subscription: SubscriptionId::new(reader.text()?).map_err(not_a_name)?,
            meter: MeterId::new(reader.text()?).map_err(not_a_name)?,
            dimension_values: {
                let count = reader.count()?;
                (0..count).map(|_| reader.text().map(str::to_owned)).collect::<Result<_, _>>()?
            },
        })
    }
}

/// How many groups a meter of a subscription has.
impl Codec for u32 {
    const VERSION: u8 = 1;

    fn encode(&self, writer: &mut Writer) {
        writer.u32(*self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        reader.u32()
    }
}

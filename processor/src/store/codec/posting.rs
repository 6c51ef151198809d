//! An open entry: entity, currency, accounting period, rule, number, rated lines, due, and its lines, which must balance.

use tidemark_core::state::OpenPosting;
use tidemark_schemas::ids::{AccountCode, LegalEntityId, PostingRuleId};
use tidemark_schemas::posting::{Balanced, LineKey, PostingGroup};

use super::{Codec, Damaged, Reader, Writer};

impl Codec for OpenPosting {
    const VERSION: u8 = 1;

    fn encode(&self, writer: &mut Writer) {
        writer.text(self.group.legal_entity.as_str());
        writer.text(self.group.currency.code());
        writer.text(&self.group.accounting_period.to_string());
        writer.text(self.group.rule.as_str());
        writer.u64(self.number);
        writer.u64(self.rated_lines);
        writer.option(self.due, Writer::time);
        let lines: Vec<_> = self.amounts.all_lines().collect();
        writer.u32(u32::try_from(lines.len()).expect("an entry's lines are capped"));
        for (key, minor) in lines {
            writer.text(key.account.as_str());
            writer.option(key.debtor.as_deref(), Writer::text);
            writer.text(&key.service_period.to_string());
            writer.i128(minor);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        const NAME: Damaged = Damaged("a name has characters that names cannot have");
        const PERIOD: Damaged = Damaged("an accounting period is not a month");
        let group = PostingGroup {
            legal_entity: LegalEntityId::new(reader.text()?).map_err(|_| NAME)?,
            currency: reader.text()?.parse().map_err(|_| Damaged("a currency is not in ISO 4217"))?,
            accounting_period: reader.text()?.parse().map_err(|_| PERIOD)?,
            rule: PostingRuleId::new(reader.text()?).map_err(|_| NAME)?,
        };
        let (number, rated_lines, due) = (reader.u64()?, reader.u64()?, reader.option(Reader::time)?);
        let mut lines = Vec::new();
        for _ in 0..reader.count()? {
            let key = LineKey {
                account: AccountCode::new(reader.text()?).map_err(|_| NAME)?,
                debtor: reader.option(Reader::text)?.map(str::to_owned),
                service_period: reader.text()?.parse().map_err(|_| PERIOD)?,
            };
            lines.push((key, reader.i128()?));
        }
        let amounts = Balanced::restored(lines).ok_or(Damaged("the lines of an entry do not balance"))?;
        Ok(Self { group, number, amounts, rated_lines, due })
    }
}

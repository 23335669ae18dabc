use std::fmt::Write as _;

use crate::claim::Claim;

/// Bytes of a termination message that Kubernetes keeps.
const MAX_BYTES: usize = 4096;

/// What the init container found and did: its termination message, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What lay on the claim; none if it could not be read.
    pub found: Option<Claim>,
    /// What was done.
    pub did: Did,
    /// The recovery that the record spoke of.
    pub token: Option<u64>,
}

/// What was done to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// It begins the ensemble.
    FirstBoot,
    /// It goes on.
    LaterBoot,
    /// It joins.
    Joiner,
    /// It helps to a quorum with nothing.
    Recovered,
    /// Nothing: it waits for the recovery's next step.
    Held,
    /// Nothing, for this reason.
    Refused(String),
}

impl Default for Did {
    fn default() -> Self {
        Self::Refused("it was not looked at".to_owned())
    }
}

impl Report {
    /// Whether ZooKeeper may start.
    #[must_use]
    pub const fn may_start(&self) -> bool {
        !matches!(self.did, Did::Held | Did::Refused(_))
    }

    /// As one line of JSON of at most 4096 bytes. What doesn't fit is left out: first the members, then the end of the
    /// reason.
    #[must_use]
    pub fn to_json(&self) -> String {
        let whole = self.json(true, usize::MAX);
        if whole.len() <= MAX_BYTES {
            return whole;
        }
        // The rest without members is short, and a character of the reason takes six bytes at most.
        self.json(false, MAX_BYTES / 8)
    }

    fn json(&self, with_members: bool, reason_characters: usize) -> String {
        let mut json = String::from("{\"found\":");
        match &self.found {
            None => json += "null",
            Some(claim) => found(&mut json, claim, with_members),
        }
        let (did, reason) = match &self.did {
            Did::FirstBoot => ("first-boot", None),
            Did::LaterBoot => ("later-boot", None),
            Did::Joiner => ("joiner", None),
            Did::Recovered => ("recovered", None),
            Did::Held => ("held", None),
            Did::Refused(reason) => ("refused", Some(reason)),
        };
        json += ",\"did\":";
        string(&mut json, did, usize::MAX);
        if let Some(reason) = reason {
            json += ",\"reason\":";
            string(&mut json, reason, reason_characters);
        }
        if let Some(token) = self.token {
            // Writing to a string can't fail; so in all of this file.
            let _ = write!(json, ",\"token\":{token}");
        }
        json + "}"
    }
}

fn found(json: &mut String, claim: &Claim, with_members: bool) {
    let Claim { id, pointer, membership, data, marker, held } = claim;
    let _ = write!(json, "{{\"marker\":{marker}");
    if let Some(id) = id {
        let _ = write!(json, ",\"id\":{id},\"votes\":{}", claim.votes(*id));
    }
    if let Some(held) = held {
        let _ = write!(json, ",\"held\":{held}");
    }
    if let Some(pointer) = pointer {
        json.push_str(",\"pointer\":");
        string(json, &pointer.to_string_lossy(), usize::MAX);
    }
    if let Some(membership) = membership.as_ref().filter(|_| with_members) {
        let _ = write!(json, ",\"version\":\"{:x}\",\"members\":", membership.version);
        string(json, &membership.lines(), usize::MAX);
    }
    if let Some(data) = data {
        let (zxid, epoch, accepted) = (data.zxid, data.epoch, data.accepted_epoch);
        let _ = write!(json, ",\"data\":{{\"zxid\":\"{zxid:x}\",\"epoch\":{epoch},\"acceptedEpoch\":{accepted}}}");
    }
    json.push('}');
}

fn string(json: &mut String, text: &str, characters: usize) {
    json.push('"');
    for character in text.chars().take(characters) {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::Data, membership::Membership};

    #[test]
    fn a_report_is_one_line_of_json() {
        let found = Claim {
            id: Some(2),
            pointer: Some("/conf/zoo.cfg.dynamic.1a".into()),
            membership: Membership::read("server.2=b:1:2;3", 0x1a).ok(),
            data: Some(Data { zxid: 0x1_0000_0002, epoch: 1, accepted_epoch: 2 }),
            marker: false,
            held: Some(4),
        };
        let report = Report { found: Some(found), did: Did::Held, token: Some(4) };
        let expected = concat!(
            r#"{"found":{"marker":false,"id":2,"votes":true,"held":4,"pointer":"/conf/zoo.cfg.dynamic.1a","version":"1a","#,
            r#""members":"server.2=b:1:2:participant;0.0.0.0:3\n","data":{"zxid":"100000002","epoch":1,"acceptedEpoch":2}},"#,
            r#""did":"held","token":4}"#
        );
        assert_eq!(report.to_json(), expected);
        let refused = Report { found: None, did: Did::Refused("a \"b\"\t\\".into()), token: None };
        assert_eq!(refused.to_json(), r#"{"found":null,"did":"refused","reason":"a \"b\"\u0009\\"}"#);
    }

    #[test]
    fn a_long_report_is_cut_where_it_still_can_be_read() {
        let lines: String = (1..=32).map(|id| format!("server.{id}={}:1:2;3\n", "h".repeat(200))).collect();
        let found = Claim { id: Some(1), membership: Membership::read(&lines, 1).ok(), ..Claim::default() };
        let report = Report { found: Some(found), did: Did::Refused("\u{1}".repeat(5000)), token: None };
        let json = report.to_json();
        assert!(json.len() <= MAX_BYTES && json.ends_with("\"}") && json.contains("\"votes\":true"), "{json}");
    }
}

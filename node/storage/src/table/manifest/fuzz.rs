use super::{CURRENT_LEN, fields};

/// The pointer to a table's manifest: nothing of it is left out of account.
pub fn table_pointer(bytes: &[u8]) -> bool {
    let Some((number, checksum)) = fields(bytes) else { return false };
    let again = [&number.to_le_bytes()[..], &checksum.to_le_bytes(), &[0]].concat();
    assert_eq!((again.as_slice(), again.len()), (bytes, CURRENT_LEN));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        VolumeOptions,
        table::{Batch, LsmTable, Table as _},
    };

    /// The pointer of a real table: another one each time.
    fn real() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let table = LsmTable::open(folder.path(), VolumeOptions::default().table(), Box::new(|_| {})).unwrap();
        let mut batch = Batch::default();
        batch.put("key", "value");
        table.write(batch).unwrap();
        table.flush().unwrap();
        std::fs::read(folder.path().join("current")).unwrap()
    }

    #[test]
    fn damaged_pointers_to_a_manifest_are_refused_or_understood() {
        assert!(table_pointer(&real()));
        let made = [&3_u64.to_le_bytes()[..], &(7_u128 << 99 | 5).to_le_bytes(), &[0]].concat();
        kv_corpus::check("table_pointer", &[made.into()], table_pointer);
    }
}

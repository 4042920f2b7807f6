//! Many fields at once are those decoded one after the other.

use gustfront::formats::grib2::{decode_each, headers, scan};

use crate::data;

#[test]
fn fields_decoded_at_once_are_those_decoded_in_turn() {
    let Some(folder) = data::folder() else { return };
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    for name in ["hrrr-conus/t00z.wrfprsf00-space.grib2", "hrrr-conus/t06z.wrfsfcf01-CFRZR.grib2"] {
        bytes.extend(std::fs::read(folder.join(name)).expect("a file of the manifest"));
    }
    for range in scan(&bytes).messages {
        let message = headers(&bytes[range.clone()]).expect("headers").remove(0);
        fields.push((range, message));
    }
    // A place that holds no such message is an error of that field alone.
    fields.insert(1, (3..9, fields[0].1.clone()));
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    let together = decode_each(&bytes, &fields, |field, values| (field.codes(), bits(values)));
    assert_eq!(together.len(), fields.len());
    for ((range, field), found) in fields.iter().zip(together) {
        let wanted = field.decode(&bytes[range.clone()]).map(|values| (field.codes(), bits(&values)));
        assert!(found == wanted, "{range:?}");
    }
    assert!(decode_each(&bytes, &[], |_, _| ()).is_empty());
}

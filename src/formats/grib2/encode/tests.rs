//! What is written is read; what no message can hold is refused.

use super::super::headers;
use super::*;
use crate::domain::{Earth, Moment, Projection};

fn two_metre_temperature() -> Variable {
    Variable {
        name: "t2m".into(),
        long_name: "2 m temperature".into(),
        units: "K".into(),
        standard_name: None,
        standard_name_earth: None,
        wind: None,
        wind_partner: None,
        index: "TMP:2 m above ground".into(),
        grib: [0, 0, 0],
        surface: 103,
        level: 2.0,
        decimal_digits: 2,
        quality: Default::default(),
        colours: "temperature".into(),
    }
}

fn small_grid() -> Grid {
    let projection = Projection::LatLon;
    Grid { projection, earth: Earth::sphere(6_371_229.0), nx: 3, ny: 2, x0: -100.0, y0: 40.0, dx: 0.5, dy: -0.25 }
}

fn slot(minutes: u32) -> Slot {
    Slot::new(Moment::from_ymdh(2018, 7, 22, 3).expect("a day"), Lead(minutes))
}

fn written(values: &[f32], minutes: u32, origin: Option<&str>) -> Result<Vec<u8>, Grib2Error> {
    let (variable, grid) = (two_metre_temperature(), small_grid());
    let slot = slot(minutes);
    encode(&Encode { origin, ..Encode::new(slot, &variable, &grid, values, 2) })
}

#[test]
fn what_is_written_is_read() {
    let values = [273.15, f32::NAN, 280.0, 301.27, -5.0, 273.16];
    let bytes = written(&values, 75, Some("SYNTHETIC weather, version 1")).expect("a message");
    let [message] = &headers(&bytes).expect("headers")[..] else { panic!("one field") };
    assert!(message.codes() == [0, 0, 0] && message.product.is_at(&two_metre_temperature()));
    assert!(message.product.is_instantaneous());
    assert_eq!(message.slot(), Ok(slot(75)));
    assert_eq!(message.grid.as_deref(), Ok(&small_grid_east_of_greenwich()));
    assert_eq!(&*message.origin, "SYNTHETIC weather, version 1");
    let read = message.decode(&bytes).expect("values");
    for (read, value) in read.iter().zip(values) {
        assert!((read - value).abs() <= 0.005 || read.is_nan() && value.is_nan(), "{read} {value}");
    }
}

/// GRIB2 longitudes run from 0 to 360.
fn small_grid_east_of_greenwich() -> Grid {
    Grid { x0: 260.0, ..small_grid() }
}

#[test]
fn constant_and_missing_fields_take_no_bits() {
    for value in [273.15, 0.0, f32::NAN] {
        let bytes = written(&[value; 6], 0, None).expect("a message");
        let message = headers(&bytes).expect("headers").remove(0);
        assert_eq!((message.packing.to_string(), &*message.origin), ("5.0 constant".into(), "centre 255"));
        let read = message.decode(&bytes).expect("values");
        assert!(read.iter().all(|v| *v == value || v.is_nan() && value.is_nan()), "{read:?}");
    }
}

#[test]
fn what_no_message_can_hold_is_refused() {
    assert!(written(&[f32::INFINITY; 6], 0, None).is_err());
    assert!(written(&[0.0, 1e9, 0.0, 0.0, 0.0, 0.0], 0, None).is_err());
    assert!(written(&[0.0; 5], 0, None).is_err());
}

#[test]
fn index_lines_are_those_of_wgrib2() {
    let (variable, grid) = (two_metre_temperature(), small_grid());
    let line = |minutes| index_line(1, 0, &Encode::new(slot(minutes), &variable, &grid, &[], 2));
    assert_eq!(line(0), "1:0:d=2018072203:TMP:2 m above ground:anl:");
    assert_eq!(line(60), "1:0:d=2018072203:TMP:2 m above ground:1 hour fcst:");
    assert_eq!(line(75), "1:0:d=2018072203:TMP:2 m above ground:75 min fcst:");
}

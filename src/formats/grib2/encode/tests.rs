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
    let (variable, grid) = (two_metre_temperature(), small_grid());
    let values = [273.15, f32::NAN, 280.0, 301.27, -5.0, 273.16];
    let plain = Encode::new(slot(60), &variable, &grid, &values, 2);
    let wide = [0.0, 1e9, 0.0, 0.0, 0.0, 0.0];
    let precision = Precision { decimal: 400, ..plain.precision };
    let window = |minutes| Some(Window { length: Lead(minutes), statistic: 1 });
    let limit = |lower| Some(Ensemble::Probability { kind: 3, lower: Some(lower), upper: None });
    for (field, why) in [
        (Encode { values: &wide, pack: Pack::Complex, ..plain }, "29 bits"),
        (Encode { values: &wide, ..plain }, "32 bits"),
        (Encode { values: &[f32::NEG_INFINITY; 6], ..plain }, "finite"),
        (Encode { values: &values[1..], ..plain }, "5 values for a grid of 3×2"),
        (Encode { precision, ..plain }, "32 bits"),
        (Encode { window: window(61), ..plain }, "begins at the cycle"),
        (Encode { ensemble: Some(Ensemble::Percentile { percent: 101 }), ..plain }, "0 to 100"),
        (Encode { ensemble: limit(1e12), ..plain }, "does not fit"),
        (Encode { ensemble: limit(f64::NAN), ..plain }, "does not fit"),
    ] {
        let pack = if why == "29 bits" { Precision::decimals(0) } else { field.precision };
        let error = encode(&Encode { precision: pack, ..field }).expect_err(why).to_string();
        assert!(error.starts_with("cannot write t2m") && error.contains(why), "{error}");
    }
}

#[test]
fn index_lines_are_those_of_wgrib2() {
    let (variable, grid) = (two_metre_temperature(), small_grid());
    let line = |minutes, window: Option<(u32, u8)>, ensemble| {
        let window = window.map(|(length, statistic)| Window { length: Lead(length), statistic });
        let field = Encode { window, ensemble, ..Encode::new(slot(minutes), &variable, &grid, &[], 2) };
        let line = index_line(1, 0, &field);
        line.strip_prefix("1:0:d=2018072203:TMP:2 m above ground:").map(str::to_string)
    };
    let member = |kind, number| Some(Ensemble::Member { kind, number, size: 10 });
    let derived = |kind| Some(Ensemble::Derived { kind, size: 10 });
    let probability = |kind, lower, upper| Some(Ensemble::Probability { kind, lower, upper });
    for (minutes, window, ensemble, wanted) in [
        (0, None, None, "anl:"),
        (60, None, None, "1 hour fcst:"),
        (75, None, None, "75 min fcst:"),
        (24 * 60, None, None, "24 hour fcst:"),
        (24 * 60, Some((24 * 60, 1)), None, "0-1 day acc fcst:"),
        (24 * 60, Some((6 * 60, 1)), None, "18-24 hour acc fcst:"),
        (0, Some((0, 2)), None, "0-0 day max fcst:"),
        (540, Some((15, 0)), None, "525-540 min ave fcst:"),
        (60, Some((60, 3)), None, "0-1 hour min fcst:"),
        (0, None, member(0, 0), "anl:ENS=hi-res ctl"),
        (60, None, member(1, 0), "1 hour fcst:ENS=low-res ctl"),
        (60, None, member(2, 3), "1 hour fcst:ENS=-3"),
        (60, Some((60, 1)), member(3, 3), "0-1 hour acc fcst:ENS=+3"),
        (60, None, derived(0), "1 hour fcst:ens mean"),
        (60, None, derived(4), "1 hour fcst:ens spread"),
        (60, None, derived(2), "1 hour fcst:ens std dev"),
        (60, None, probability(1, None, Some(20.0)), "1 hour fcst:prob >20:prob fcst 255/255"),
        (60, Some((60, 1)), probability(1, None, Some(0.254)), "0-1 hour acc fcst:prob >0.254:prob fcst 255/255"),
        (60, None, probability(0, Some(273.15), None), "1 hour fcst:prob <273.15:prob fcst 255/255"),
        (60, None, probability(2, Some(9.0), Some(1234567.0)), "1 hour fcst:prob >=9 <1.23457e+06:prob fcst 255/255"),
        (60, None, Some(Ensemble::Percentile { percent: 50 }), "1 hour fcst:50% level"),
    ] {
        assert_eq!(line(minutes, window, ensemble).as_deref(), Some(wanted));
    }
}

//! What is written is read back, within half a unit of the last decimal place kept.

use gustfront::domain::{Earth, Grid, Lead, Moment, Projection, Slot, Variable};
use gustfront::formats::grib2::{
    Encode, Ensemble, Pack, Packing, Precision, Scale, Time, Window, encode, headers, index_line, parse_index, scan,
};
use proptest::prelude::*;

pub(crate) fn variable() -> Variable {
    let text = r#"long_name = "2 m temperature"
        units = "K"
        index = "TMP:2 m above ground"
        grib = [0, 0, 0]
        surface = 103
        level = 2.0
        colours = "temperature""#;
    toml::from_str(text).expect("a variable")
}

fn lambert(nx: usize, ny: usize) -> Grid {
    let projection = Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
    let first = (21.138123, 237.280472);
    Grid::anchored(projection, Earth::sphere(6_371_229.0), first, (nx, ny), (3000.0, 3000.0)).expect("a grid")
}

fn lat_lon(nx: usize, ny: usize) -> Grid {
    Grid {
        projection: Projection::LatLon,
        earth: Earth::sphere(6_370_997.0),
        nx,
        ny,
        x0: 250.0,
        y0: 50.0,
        dx: 0.25,
        dy: -0.125,
    }
}

fn grids() -> impl Strategy<Value = Grid> {
    (1usize..40, 1usize..40, any::<bool>())
        .prop_map(|(nx, ny, cone)| if cone { lambert(nx, ny) } else { lat_lon(nx, ny) })
}

/// Values of one magnitude, some of them missing.
fn values(count: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = (-1.0f32..1.0, 0u8..10);
    (0i32..5, proptest::collection::vec(value, count)).prop_map(|(power, values)| {
        let scaled = |(value, chance): (f32, u8)| if chance == 0 { f32::NAN } else { value * 10f32.powi(power) };
        values.into_iter().map(scaled).collect()
    })
}

/// Every kind of product: which part of an ensemble, of a moment or of a window.
fn products() -> impl Strategy<Value = (Option<Ensemble>, Option<Window>)> {
    let limit = || proptest::option::of((-30_000i32..30_000).prop_map(|n| f64::from(n) / 100.0));
    let ensemble = prop_oneof![
        Just(None),
        (0u8..5, any::<u8>(), any::<u8>()).prop_map(|(kind, number, size)| Some(Ensemble::Member {
            kind,
            number,
            size
        })),
        (0u8..10, any::<u8>()).prop_map(|(kind, size)| Some(Ensemble::Derived { kind, size })),
        (0u8..5, limit(), limit()).prop_map(|(kind, lower, upper)| Some(Ensemble::Probability { kind, lower, upper })),
        (0u8..=100).prop_map(|percent| Some(Ensemble::Percentile { percent })),
    ];
    let window = (0u32..3000, 0u8..10).prop_map(|(length, statistic)| Window { length: Lead(length), statistic });
    (ensemble, proptest::option::of(window))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn written_fields_are_read_back(
        (grid, values) in grids().prop_flat_map(|g| { let n = g.nx * g.ny; (Just(g), values(n)) }),
        decimal_digits in -1i16..4,
        lead in 0u32..3000,
        hour in 0u32..24,
        pack in prop::sample::select(vec![Pack::Simple, Pack::Complex]),
    ) {
        let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, hour).expect("a day"), Lead(lead));
        let (variable, origin) = (variable(), Some("SYNTHETIC weather, version 1, seed 7"));
        let bytes = encode(&Encode { origin, pack, ..Encode::new(slot, &variable, &grid, &values, decimal_digits) })
            .expect("a message");
        let message = headers(&bytes).expect("headers").remove(0);
        prop_assert_eq!(message.slot(), Ok(slot));
        prop_assert_eq!(Some(&*message.origin), origin);
        prop_assert_eq!(message.shape, Some((grid.nx, grid.ny)));
        let found = message.grid.as_ref().expect("a grid");
        // Corners are written in millionths of a degree, 0.11 m.
        let tolerance = if grid.projection == Projection::LatLon { 1e-6 } else { 0.2 };
        prop_assert!((found.x0 - grid.x0).abs() < tolerance && (found.y0 - grid.y0).abs() < tolerance);
        let step = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
        prop_assert!(step(found.dx, grid.dx) && step(found.dy, grid.dy), "{:?}", found);
        let half = 0.5 * 10f64.powi(-i32::from(decimal_digits));
        for (read, value) in message.decode(&bytes).expect("values").iter().zip(&values) {
            let error = (f64::from(*read) - f64::from(*value)).abs();
            // Rounding to f32 comes on top of the packing's half unit.
            let allowed = half * (1.0 + 1e-9) + f64::from(value.abs() * f32::EPSILON);
            prop_assert!(error <= allowed || read.is_nan() && value.is_nan(), "{} {}", read, value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn written_products_are_read_back((ensemble, window) in products(), after in 0u32..3000) {
        let lead = Lead(after + window.map_or(0, |w| w.length.0));
        let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, 6).expect("a day"), lead);
        let (variable, grid) = (variable(), lat_lon(2, 1));
        let bytes = encode(&Encode { ensemble, window, ..Encode::new(slot, &variable, &grid, &[1.0, 2.0], 0) });
        let product = headers(&bytes.expect("a message")).expect("headers").remove(0).product;
        prop_assert_eq!(product.ensemble, ensemble);
        let (length, statistic) = (window.map(|w| w.length), window.map(|w| w.statistic));
        prop_assert_eq!(&product.time, &Ok(Time { lead, window: length, statistic }));
        prop_assert!(product.is_at(&variable) && product.is_instantaneous() == window.is_none());
    }

    /// Steps of any size, counted from any reference: what was read is written and read as the same numbers.
    #[test]
    fn fields_written_twice_are_the_same(
        values in values(48),
        decimal in -1i16..3,
        binary in -6i16..3,
        reference in proptest::option::of(-300.0f32..300.0),
        packs in prop::sample::select(vec![[Pack::Simple, Pack::Complex], [Pack::Complex, Pack::Simple]]),
    ) {
        let (variable, grid) = (variable(), lat_lon(8, 6));
        let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, 6).expect("a day"), Lead(60));
        let plain = Encode::new(slot, &variable, &grid, &values, 0);
        let precision = Precision { decimal, binary, reference };
        let (first, scale) = read(&Encode { precision, pack: packs[0], ..plain });
        let step = 2f64.powi(binary.into()) / 10f64.powi(decimal.into());
        for (read, value) in first.iter().zip(&values) {
            let error = (f64::from(*read) - f64::from(*value)).abs();
            let allowed = step / 2.0 * (1.0 + 1e-9) + f64::from((value.abs() + 300.0) * f32::EPSILON);
            prop_assert!(error <= allowed || read.is_nan() && value.is_nan(), "{} {}", read, value);
        }
        let again = Encode { precision: Precision::of(&scale), pack: packs[1], values: &first, ..plain };
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read(&again).0), bits(&first));
    }
}

/// What is read of a field that was written, and its scale.
fn read(field: &Encode) -> (Vec<f32>, Scale) {
    let bytes = encode(field).expect("a message");
    let message = headers(&bytes).expect("headers").remove(0);
    let scale = match &message.packing {
        Packing::Simple(scale) => *scale,
        Packing::Complex(complex) => complex.scale,
        other => panic!("packed as {other}"),
    };
    (message.decode(&bytes).expect("values"), scale)
}

#[test]
fn written_objects_and_their_index_agree() {
    let (grid, variable, mut object, mut index) = (lambert(5, 4), variable(), Vec::new(), String::new());
    for hour in 0..3 {
        let slot = Slot::new(Moment::from_ymdh(2024, 2, 29, 0).expect("a day"), Lead::hours(hour));
        let values = vec![273.0 + hour as f32; 20];
        let field = Encode::new(slot, &variable, &grid, &values, 2);
        index += &format!("{}\n", index_line(hour + 1, object.len() as u64, &field));
        object.extend(encode(&field).expect("a message"));
    }
    let found: Vec<_> = scan(&object).messages.iter().map(|r| r.start as u64..r.end as u64).collect();
    let entries = parse_index(index.as_bytes(), object.len() as u64).expect("an index");
    assert_eq!(entries.iter().map(|e| e.range.clone()).collect::<Vec<_>>(), found);
    let windows: Vec<_> = entries.iter().map(|e| e.window.as_str()).collect();
    assert_eq!(windows, ["anl", "1 hour fcst", "2 hour fcst"]);
}

//! What is written here, read by ecCodes.

use gustfront::domain::{Earth, Grid, Lead, Moment, Projection, Slot};
use gustfront::formats::grib2::{Encode, Ensemble, Pack, Window, encode};
use serde_json::Value;

use crate::python;
use crate::round_trip::variable;

/// Decimal places of the written values.
const DECIMAL_DIGITS: i16 = 2;

fn lambert(latitude_origin: f64, parallels: [f64; 2], radius_m: f64) -> Grid {
    let projection = Projection::Lambert { latitude_origin, parallels, longitude_origin: 262.5 };
    Grid::anchored(projection, Earth::sphere(radius_m), (21.138123, 237.280472), (7, 5), (3000.0, 3000.0))
        .expect("a grid")
}

fn lat_lon(dy: f64) -> Grid {
    Grid {
        projection: Projection::LatLon,
        earth: Earth::sphere(6_370_997.0),
        nx: 7,
        ny: 5,
        x0: 259.5,
        y0: -1.0,
        dx: 0.03,
        dy,
    }
}

/// A grid of 7 × 5 points that ecCodes has coordinates for.
fn plane(projection: Projection, earth: Earth, first: (f64, f64), step: (f64, f64)) -> Grid {
    Grid::anchored(projection, earth, first, (7, 5), step).expect("a grid")
}

/// Grids of the other projections; ecCodes knows polar stereographic on spheres alone, no Albers, and takes Mercator
/// and polar stereographic rows to run east and north whatever the scanning mode says.
fn others() -> Vec<Grid> {
    let (sphere, wgs84) =
        (Earth::sphere(6_371_229.0), Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257_223_563 });
    let (latitude_origin, longitude_origin) = (52.0, 10.0);
    let polar = |pole: f64| Projection::PolarStereographic {
        latitude_origin: pole,
        latitude_true_scale: pole * 2.0 / 3.0,
        longitude_origin: 249.0,
    };
    let turned = Projection::RotatedLatLon { south_pole: [-36.0, 190.0] };
    let parallels = [33.0, 45.0];
    vec![
        Grid { projection: turned, earth: sphere, dx: 0.5, x0: 358.0, ..lat_lon(0.25) },
        Grid { projection: Projection::Gaussian { rows: 64 }, earth: sphere, dx: 2.8125, y0: 40.0, ..lat_lon(-1.0) },
        plane(Projection::Mercator { latitude_true_scale: 20.0 }, sphere, (16.8, 291.8), (2500.0, 2500.0)),
        plane(Projection::Mercator { latitude_true_scale: 33.5 }, wgs84, (33.9, 179.9), (25_000.0, 25_000.0)),
        plane(polar(90.0), sphere, (18.1, 217.1), (10_000.0, 10_000.0)),
        plane(polar(-90.0), sphere, (-60.0, 30.0), (10_000.0, 10_000.0)),
        plane(Projection::Lambert { latitude_origin, parallels, longitude_origin }, wgs84, (50.0, 8.0), (4e3, 4e3)),
        plane(Projection::AzimuthalEqualArea { latitude_origin, longitude_origin }, wgs84, (50.0, 5.0), (5e4, 5e4)),
        plane(Projection::AzimuthalEqualArea { latitude_origin, longitude_origin }, sphere, (50.0, 5.0), (5e4, -5e4)),
    ]
}

/// A grid, a lead in minutes and values on it.
fn cases() -> Vec<(Grid, u32, Vec<f32>)> {
    let ramp = |from: f32| (0..35).map(|i| from + i as f32 * 0.37).collect::<Vec<f32>>();
    let holes = ramp(-5.0).into_iter().enumerate().map(|(i, v)| if i % 3 == 1 { f32::NAN } else { v }).collect();
    let plain = vec![
        (lambert(38.5, [38.5, 38.5], 6_371_229.0), 0, ramp(270.0)),
        (lambert(25.0, [20.0, 50.0], 6_370_997.25), 120, ramp(-9.0)),
        (lambert(-38.5, [-38.5, -38.5], 6_367_470.0), 60, ramp(70_000.0)),
        (lat_lon(0.03), 75, holes),
        (lat_lon(-0.25), 180, vec![273.15; 35]),
        (lat_lon(-0.25), 180, vec![f32::NAN; 35]),
    ];
    plain.into_iter().chain(others().into_iter().map(|grid| (grid, 60, ramp(1.0)))).collect()
}

fn slot(lead: u32) -> Slot {
    Slot::new(Moment::from_ymdh(2024, 2, 29, 18).expect("a day"), Lead(lead))
}

/// Lead and values of every case, on the grid it is for, packed and described in some way, with ecCodes' keys.
struct Case {
    grid: Grid,
    lead: u32,
    values: Vec<f32>,
    pack: Pack,
    product: Product,
}

/// Which part of an ensemble, the window in minutes and its statistic, and the keys that ecCodes reads.
#[derive(Clone, Copy)]
struct Product {
    ensemble: Option<Ensemble>,
    window: Option<(u32, u8)>,
    keys: &'static [(&'static str, i64)],
}

const PLAIN: Product = Product {
    ensemble: None,
    window: None,
    keys: &[("productDefinitionTemplateNumber", 0), ("typeOfGeneratingProcess", 2), ("typeOfProcessedData", 1)],
};

const PRODUCTS: [Product; 9] = [
    Product {
        ensemble: Some(Ensemble::Member { kind: 3, number: 7, size: 10 }),
        keys: &[
            ("productDefinitionTemplateNumber", 1),
            ("typeOfGeneratingProcess", 4),
            ("typeOfProcessedData", 4),
            ("typeOfEnsembleForecast", 3),
            ("perturbationNumber", 7),
            ("numberOfForecastsInEnsemble", 10),
        ],
        ..PLAIN
    },
    Product {
        ensemble: Some(Ensemble::Derived { kind: 4, size: 10 }),
        keys: &[
            ("productDefinitionTemplateNumber", 2),
            ("derivedForecast", 4),
            ("numberOfForecastsInEnsemble", 10),
            ("typeOfProcessedData", 5),
        ],
        ..PLAIN
    },
    Product {
        ensemble: Some(Ensemble::Probability { kind: 2, lower: Some(-0.25), upper: Some(20.0) }),
        keys: &[
            ("productDefinitionTemplateNumber", 5),
            ("typeOfGeneratingProcess", 5),
            ("probabilityType", 2),
            ("scaleFactorOfLowerLimit", 2),
            ("scaledValueOfLowerLimit", -25),
            ("scaleFactorOfUpperLimit", 0),
            ("scaledValueOfUpperLimit", 20),
        ],
        ..PLAIN
    },
    Product {
        ensemble: Some(Ensemble::Percentile { percent: 90 }),
        keys: &[("productDefinitionTemplateNumber", 6), ("percentileValue", 90)],
        ..PLAIN
    },
    Product {
        window: Some((60, 1)),
        keys: &[
            ("productDefinitionTemplateNumber", 8),
            ("typeOfStatisticalProcessing", 1),
            ("indicatorOfUnitForTimeRange", 1),
            ("lengthOfTimeRange", 1),
            ("yearOfEndOfOverallTimeInterval", 2024),
            ("hourOfEndOfOverallTimeInterval", 21),
        ],
        ..PLAIN
    },
    Product {
        ensemble: Some(Ensemble::Probability { kind: 3, lower: Some(273.15), upper: None }),
        window: Some((180, 2)),
        keys: &[
            ("productDefinitionTemplateNumber", 9),
            ("probabilityType", 3),
            ("scaledValueOfLowerLimit", 27315),
            ("typeOfStatisticalProcessing", 2),
            ("lengthOfTimeRange", 3),
        ],
    },
    Product {
        ensemble: Some(Ensemble::Percentile { percent: 10 }),
        window: Some((45, 3)),
        keys: &[
            ("productDefinitionTemplateNumber", 10),
            ("percentileValue", 10),
            ("indicatorOfUnitForTimeRange", 0),
            ("lengthOfTimeRange", 45),
        ],
    },
    Product {
        ensemble: Some(Ensemble::Member { kind: 1, number: 0, size: 10 }),
        window: Some((60, 0)),
        keys: &[
            ("productDefinitionTemplateNumber", 11),
            ("typeOfProcessedData", 3),
            ("typeOfEnsembleForecast", 1),
            ("typeOfStatisticalProcessing", 0),
        ],
    },
    Product {
        ensemble: Some(Ensemble::Derived { kind: 0, size: 10 }),
        window: Some((60, 1)),
        keys: &[("productDefinitionTemplateNumber", 12), ("derivedForecast", 0), ("typeOfStatisticalProcessing", 1)],
    },
];

/// Every kind of grid and field in every packing, and every kind of product.
fn all_cases() -> Vec<Case> {
    let packed = |pack| {
        let case = move |(grid, lead, values)| Case { grid, lead, values, pack, product: PLAIN };
        cases().into_iter().map(case)
    };
    let values: Vec<f32> = (0..35).map(|i| i as f32 * 2.5).collect();
    let product =
        |product| Case { grid: lat_lon(0.03), lead: 180, values: values.clone(), pack: Pack::Simple, product };
    let packings = [Pack::Simple, Pack::Complex, Pack::Png].into_iter().flat_map(packed);
    packings.chain(PRODUCTS.map(product)).collect()
}

#[test]
fn eccodes_reads_what_was_written() {
    let Some(python) = python::python() else { return };
    let variable = variable();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("written.grib2");
    let mut object = Vec::new();
    for Case { grid, lead, values, pack, product } in &all_cases() {
        let window = product.window.map(|(length, statistic)| Window { length: Lead(length), statistic });
        let (pack, ensemble, origin) = (*pack, product.ensemble, Some("SYNTHETIC weather, version 1"));
        let plain = Encode::new(slot(*lead), &variable, grid, values, DECIMAL_DIGITS);
        object.extend(encode(&Encode { pack, ensemble, window, origin, ..plain }).expect("a message"));
    }
    std::fs::write(&file, &object).expect("a file");
    let printed = python::run(python, "read_grib2.py", &[file.to_str().expect("a path")]);
    let read: Vec<Value> = printed.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(read.len(), all_cases().len());
    for (read, case) in read.iter().zip(&all_cases()) {
        check_keys(read, &case.grid, case.lead);
        check_product(read, case);
        check_values(read, &case.values);
        check_places(read, &case.grid);
    }
}

fn check_product(read: &Value, case: &Case) {
    for (key, wanted) in case.product.keys {
        assert_eq!(read[key].as_i64(), Some(*wanted), "{key}: {}", read[key]);
    }
    let window = case.product.window.map_or(0, |(length, _)| length);
    assert_eq!(read["startStep"].as_i64(), Some(i64::from(case.lead - window)));
    let varied = case.values.iter().any(|v| !v.is_nan() && *v != case.values[0]);
    let template = match case.pack {
        Pack::Complex if varied => 3,
        Pack::Png if varied => 41,
        _ => 0,
    };
    assert_eq!(read["dataRepresentationTemplateNumber"].as_i64(), Some(template));
}

fn check_keys(read: &Value, grid: &Grid, lead: u32) {
    let whole =
        |key: &str| read[key].as_i64().unwrap_or_else(|| panic!("{key} of {}: {}", read["gridType"], read[key]));
    for (key, wanted) in [
        ("discipline", 0),
        ("parameterCategory", 0),
        ("parameterNumber", 0),
        ("level", 2),
        ("dataDate", 20240229),
        ("dataTime", 1800),
        ("endStep", lead.into()),
        ("productionStatusOfProcessedData", 2),
        ("Ni", grid.nx as i64),
        ("Nj", grid.ny as i64),
        ("scanningMode", if grid.dy > 0.0 { 64 } else { 0 }),
        ("section2Length", 5 + "SYNTHETIC weather, version 1".len() as i64),
    ] {
        assert_eq!(whole(key), wanted, "{key}");
    }
    let kind = match grid.projection {
        Projection::LatLon => "regular_ll",
        Projection::RotatedLatLon { .. } => "rotated_ll",
        Projection::Gaussian { .. } => "regular_gg",
        Projection::Mercator { .. } => "mercator",
        Projection::PolarStereographic { .. } => "polar_stereographic",
        Projection::Lambert { .. } => "lambert",
        Projection::Albers { .. } => "albers",
        Projection::AzimuthalEqualArea { .. } => "lambert_azimuthal_equal_area",
    };
    assert_eq!(read["gridType"], kind);
    assert_eq!(whole("resolutionAndComponentFlags") & 8, 8, "winds along the grid's axes");
    assert_ne!(read["centre"], "kwbc", "synthetic data must not claim a centre");
}

fn check_values(read: &Value, values: &[f32]) {
    let read = read["values"].as_array().expect("values");
    assert_eq!(read.len(), values.len());
    let half = 0.5 * 10f64.powi(-i32::from(DECIMAL_DIGITS));
    for (read, value) in read.iter().zip(values) {
        match read.as_f64() {
            None => assert!(value.is_nan(), "{value} came back missing"),
            Some(read) => assert!((read - f64::from(*value)).abs() <= half * (1.0 + 1e-9), "{read} {value}"),
        }
    }
}

/// Corners are written in millionths of a degree.
fn check_places(read: &Value, grid: &Grid) {
    let coordinates = grid.coordinates();
    for (key, wanted) in [("latitudes", &coordinates.latitude), ("longitudes", &coordinates.longitude)] {
        let found = read[key].as_array().expect("places");
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().map(|v| v.as_f64().unwrap_or(f64::NAN)).zip(wanted) {
            let difference = (found - wanted + 180.0).rem_euclid(360.0) - 180.0;
            assert!(difference.abs() < 1e-5, "{key} {found} {wanted}");
        }
    }
}

//! Times the decoding of GRIB2 fields, from a message's bytes to the values in a buffer, on one core.
fn main() {
    use gustfront::formats::grib2::{headers, scan};
    use std::time::Instant;
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    for name in [
        "hrrr-conus/t06z.wrfsfcf01-TMP.grib2",
        "hrrr-conus/t00z.wrfsfcf00-HPBL.grib2",
        "hrrr-conus/t06z.wrfsfcf01-UGRD.grib2",
        "hrrr-conus/t00z.wrfprsf00-space.grib2",
        "hrrr-conus/t00z.wrfprsf00-atmo-chem.grib2",
        "hrrr-conus-20260716t18z/massden_f00.grib2",
    ] {
        if let Some(f) = std::env::args().nth(1).filter(|f| f != "--bench") {
            if !name.contains(&f) {
                continue;
            }
        }
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let range = scan(&bytes).messages[0].clone();
        let m = headers(&bytes[range.clone()]).unwrap().remove(0);
        let mut v = vec![0f32; m.points];
        let mut t: Vec<f64> = (0..200)
            .map(|_| {
                let s = Instant::now();
                m.decode_into(&bytes[range.clone()], &mut v).unwrap();
                s.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        t.sort_by(f64::total_cmp);
        let w = v.clone();
        let s = Instant::now();
        for _ in 0..50 {
            v.copy_from_slice(std::hint::black_box(&w));
            std::hint::black_box(&mut v);
        }
        let c = s.elapsed().as_secs_f64() * 1e3 / 50.0;
        println!("{name:45} min {:.2} median {:.2} memcpy {c:.2}", t[0], t[100]);
    }
}

//! Lightning that a device counts: in the bins that the host finds, on edges too.

use std::fs;
use std::sync::Arc;

use gustfront::domain::{Earth, Event, Grid, Lead, Period, Projection};
use gustfront::formats::glm::Level;
use gustfront::sinks::{LightningOptions, write_lightning};
use gustfront::storage::ObjectStore;
use gustfront::tensor::{Cpu, Device, Tensor};
use gustfront::transforms::lightning::Bins;

use crate::emulation::{Order, device};
use crate::trees::{assert_same, store, tree};

fn grids() -> [Grid; 2] {
    let earth = Earth::sphere(6_371_229.0);
    let globe = Grid { projection: Projection::LatLon, earth, nx: 360, ny: 181, x0: 0.0, y0: 90.0, dx: 1.0, dy: -1.0 };
    let laea =
        Grid { projection: Event::PROJECTION, nx: 60, ny: 50, x0: -2.4e6, y0: -2e6, dx: 8e4, dy: 8e4, ..globe.clone() };
    [globe, laea]
}

#[test]
fn stores_of_real_lightning_are_the_same_on_a_device() {
    let Some(input) = crate::data::folder().map(|folder| folder.join("glm")).filter(|glm| glm.is_dir()) else { return };
    let input: Arc<dyn ObjectStore> = Arc::new(store(&input));
    for (number, level) in [Level::Flash, Level::Group, Level::Event].into_iter().enumerate() {
        let grid = Arc::new(grids()[number % 2].clone());
        let options = LightningOptions { level, grid, step: Lead(1), period: Period::default() };
        let folder = tempfile::tempdir().expect("a folder");
        let [(found, bytes), (wanted, right)] = [device(Order::ALL[number]), Cpu::device()].map(|device| {
            let output = folder.path().join(if device.is_host() { "host" } else { "device" });
            fs::create_dir(&output).expect("a folder");
            let summary = write_lightning(&input, Arc::new(store(&output)), &options, &device).expect("counts");
            (summary, tree(&store(&output)))
        });
        assert_same(&bytes, &right, level.plural());
        assert_eq!(found, wanted);
        assert!((found.files, found.steps) == (3, 1) && found.counted > 100, "{found:?}");
    }
}

/// Points on the edges of bins, beside them by one rounding, between them, and nowhere.
fn points(bins: &Bins) -> Vec<[f64; 3]> {
    let edge = |axis: usize, at: f64| bins.origin[axis] + bins.step[axis] * at;
    let around = |at: usize, axis: usize| {
        let edge = edge(axis, (at / 5 % (bins.count[axis] + 3)) as f64 - 1.0);
        [edge, edge.next_up(), edge.next_down(), edge + 0.37 * bins.step[axis], f64::NAN][at % 5]
    };
    let all = (0..3000).map(|at| [around(at, 2), around(at / 3 + 1, 1), around(at / 11 + 2, 0)]);
    all.chain([[f64::INFINITY, 0.0, 0.0], [f64::NEG_INFINITY; 3], [1e300, -1e300, 1e9]]).collect()
}

fn counted(device: &Device, points: &[[f64; 3]], bins: &Bins) -> Vec<f32> {
    let bytes: &[u8] = bytemuck::cast_slice(points);
    let mut memory = device.host_memory(bytes.len() + 24).expect("memory");
    memory.bytes_mut().expect("bytes")[..bytes.len()].copy_from_slice(bytes);
    let counts = Tensor::binned(device, &memory, points.len(), bins);
    counts.and_then(|counts| counts.to_vec()).expect("counts")
}

#[test]
fn points_on_edges_are_counted_where_the_host_counts_them() {
    for (origin, step) in [([1_530_505_980.0, -0.5, -0.5], [20.0, 1.0, 1.0]), ([0.1, 7.3, 1e6], [0.1, -1.0 / 3.0, 0.7])]
    {
        let bins = Bins { origin, step, count: [3, 50, 60] };
        let points = points(&bins);
        let mut wanted = vec![0.0; 3 * 50 * 60];
        points.iter().filter_map(|point| bins.of(*point)).for_each(|at| wanted[at] += 1.0);
        let inside = wanted.iter().sum::<f32>();
        assert!(100.0 < inside && inside < points.len() as f32, "{inside}");
        for device in Order::ALL.map(device).into_iter().chain([Cpu::device()]) {
            assert!(counted(&device, &points, &bins) == wanted, "{}", device.name());
        }
    }
}

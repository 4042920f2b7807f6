//! GRIB2 fields unpacked by kernels: the bits that the host's reader gives, and its errors for what is damaged.

use std::path::Path;
use std::sync::Arc;

use gustfront::formats::grib2::{Grib2Error, Message, Pack, headers, scan};
use gustfront::tensor::{Cpu, Cuda, Device, Tensor, TensorError};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::data::folder;
use crate::emulation::{Order, cuda, device};
use crate::gpu_check::fields;
use crate::made::{Made, section_ranges, seed, seeds};

/// Bits of a field's values, or why there are none.
type Outcome = Result<Vec<u32>, Grib2Error>;

/// Fields of more points are left out where a message is damaged everywhere.
const MOST_POINTS: usize = 1 << 14;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn decoded(field: &Message, bytes: &[u8]) -> Outcome {
    field.decode(bytes).map(|values| bits(&values))
}

fn unpacked(device: &Device, field: &Message, bytes: &[u8]) -> Outcome {
    match Tensor::unpacked(device, field, bytes) {
        Ok(tensor) => {
            let sizes = field.shape.map_or_else(|| vec![field.points], |(nx, ny)| vec![ny, nx]);
            assert_eq!(tensor.shape().sizes(), sizes);
            Ok(bits(&tensor.to_vec().expect("values")))
        }
        Err(TensorError::Field(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// Compares what devices make of a field; how the first difference shows is told.
fn compare(what: &str, devices: &[Device], field: &Message, bytes: &[u8]) -> Outcome {
    let wanted = decoded(field, bytes);
    for device in devices {
        let found = unpacked(device, field, bytes);
        let (Ok(found), Ok(wanted)) = (&found, &wanted) else {
            assert_eq!(found, wanted, "{what} on {}", device.name());
            continue;
        };
        let different = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
        let values = different.map(|i| [found[i], wanted[i]].map(f32::from_bits));
        assert_eq!((different, values), (None, None), "{what} {} on {}", field.packing, device.name());
    }
    wanted
}

/// Machines with every order of threads, and the host.
fn devices() -> Vec<Device> {
    Order::ALL.into_iter().map(device).chain([Cpu::device()]).collect()
}

/// Whether kernels unpack fields of a template, without its `5.`.
fn has_kernels(field: &Message) -> bool {
    matches!(field.packing.template(), 0 | 2 | 3)
}

/// What a machine did for a field: launches of the family, bytes sent, and bytes that came back.
fn work(cuda: &Arc<Cuda>, field: &Message, bytes: &[u8]) -> [u64; 3] {
    let counts = || {
        let work = cuda.work().expect("counts");
        [work.launches.get("packed").copied().unwrap_or(0), work.uploads.bytes, work.downloads.bytes]
    };
    let (before, device): (_, Device) = (counts(), cuda.clone());
    let _values = Tensor::unpacked(&device, field, bytes).expect("values");
    let after = counts();
    [0, 1, 2].map(|i| after[i] - before[i])
}

#[test]
fn every_packing_is_unpacked_as_on_the_host() {
    let devices = devices();
    let mut kernels = 0;
    for (name, bytes) in seeds("message") {
        for range in scan(&bytes).messages {
            let message = &bytes[range];
            for field in headers(message).expect("headers") {
                compare(&name, &devices, &field, message).expect("values");
                kernels += u32::from(has_kernels(&field));
            }
        }
    }
    assert!(kernels > 8, "{kernels} fields of templates with kernels");
}

#[test]
fn kernels_do_the_work_and_what_is_sent_is_packed() {
    for (name, bytes) in seeds("message").into_iter().filter(|(name, _)| name.starts_with("differences")) {
        let field = headers(&bytes).expect("headers").remove(0);
        let [launches, sent, back] = work(&cuda(Order::Forward), &field, &bytes);
        assert_eq!((launches, back), (6, 4), "{name}");
        assert!(sent < bytes.len() as u64, "{name}: {sent} bytes sent");
    }
    let bytes = seed("simple-bitmap");
    let field = headers(&bytes).expect("headers").remove(0);
    assert_eq!(work(&cuda(Order::Forward), &field, &bytes)[0], 2, "values, then their places");
    let bytes = seed("png");
    let field = headers(&bytes).expect("headers").remove(0);
    assert_eq!(work(&cuda(Order::Forward), &field, &bytes)[..2], [0, 4 * field.points as u64], "the host unpacks it");
}

#[test]
fn every_order_of_points_becomes_rows() {
    let (devices, mut orders) = (devices(), 0);
    for name in ["simple", "simple-bitmap", "differences-order-2", "complex-missing"] {
        let mut message = Made::of(&seed(name));
        let at = if message.section(3)[7..9] == [0, 0] { 72 } else { 65 };
        for flags in (0..16u8).map(|flags| flags << 4) {
            message.set(3, at, &[flags]);
            let bytes = message.bytes();
            // The places of a grid may not follow any more; its values do.
            if let Ok(fields) = headers(&bytes) {
                compare(&format!("{name} {flags:#x}"), &devices, &fields[0], &bytes).expect("values");
                orders += 1;
            }
        }
    }
    assert!(orders > 30, "{orders} messages");
}

fn written(values: &[f32], nx: usize, pack: Pack) -> Vec<u8> {
    fields::written(values, nx, pack).expect("a message")
}

/// A field with slopes, negative values, a flat part, and `missing` of every hundred points missing, some together.
fn weather(count: usize, missing: usize) -> Vec<f32> {
    let value = |i: usize| match (i * 37 % 101 < missing, i % 3000) {
        (true, _) => f32::NAN,
        (_, 0..300) if missing > 0 => f32::NAN,
        (_, 400..900) => -3.5,
        (_, at) => (at as f32 * 0.02).sin() * 40.0 + (i * i % 17) as f32 * 0.3,
    };
    (0..count).map(value).collect()
}

#[test]
fn fields_of_many_tiles_are_unpacked_as_on_the_host() {
    let devices = devices();
    for (nx, ny, missing) in
        [(1, 1, 0), (7, 1, 0), (64, 32, 0), (2049, 1, 0), (211, 97, 0), (211, 97, 20), (300, 70, 95)]
    {
        for pack in [Pack::Simple, Pack::Complex] {
            let bytes = written(&weather(nx * ny, missing), nx, pack);
            let field = headers(&bytes).expect("headers").remove(0);
            assert!(has_kernels(&field));
            compare(&format!("{nx} by {ny}"), &devices, &field, &bytes).expect("values");
        }
    }
    for value in [0.0, -12.5] {
        let bytes = written(&[value; 5000], 50, Pack::Complex);
        let field = headers(&bytes).expect("headers").remove(0);
        compare("constant", &devices, &field, &bytes).expect("values");
    }
}

/// Bits, the most significant first.
#[derive(Default)]
struct Bits(Vec<u8>, usize);

impl Bits {
    fn push(&mut self, value: u64, width: u32) {
        for bit in (0..width).rev() {
            if self.1.is_multiple_of(8) {
                self.0.push(0);
            }
            let last = self.0.len() - 1;
            self.0[last] |= ((value >> bit & 1) as u8) << (7 - self.1 % 8);
            self.1 += 1;
        }
    }

    fn align(&mut self) {
        self.1 = 8 * self.0.len();
    }
}

/// One group: its reference, width and how many values it has.
type Group = (u64, u32, u64);

/// Bits of a reference, of a width and of a length.
const HEAD_BITS: [u32; 3] = [11, 6, 12];

/// A message of groups of whatever `noise` says, in one row; `claimed` values of them.
fn message((order, missing): (u8, u8), groups: &[Group], noise: &[u8], claimed: usize) -> Vec<u8> {
    let mut message = Made::of(&written(&vec![0.0; claimed], claimed, Pack::Simple));
    let last = groups.last().map_or(0, |group| group.2) as u32;
    let mut five: Vec<u8> = (claimed as u32).to_be_bytes().to_vec();
    five.extend([0, if order == 0 { 2 } else { 3 }]);
    five.extend((-20.5f32).to_be_bytes());
    five.extend([0x80, 2, 0, 1, HEAD_BITS[0] as u8, 0, 1, missing]);
    five.extend([0; 8]);
    five.extend((groups.len() as u32).to_be_bytes());
    five.extend([0, HEAD_BITS[1] as u8, 0, 0, 0, 0, 1]);
    five.extend(last.to_be_bytes());
    five.push(HEAD_BITS[2] as u8);
    let mut seven = Bits::default();
    if order > 0 {
        five.extend([order, 3]);
        for number in [70_000, 5, 0x80_0013].iter().skip(2 - usize::from(order)) {
            seven.push(*number, 24);
        }
    }
    let heads = |group: &Group| [group.0, group.1.into(), group.2];
    for (at, bits) in HEAD_BITS.into_iter().enumerate() {
        groups.iter().for_each(|group| seven.push(heads(group)[at], bits));
        seven.align();
    }
    let bits: usize = groups.iter().map(|(_, width, length)| *width as usize * *length as usize).sum();
    seven.0.extend(noise.iter().cycle().take(bits.div_ceil(8)));
    *message.section(5) = five;
    *message.section(6) = vec![255];
    *message.section(7) = seven.0;
    message.bytes()
}

fn total(groups: &[Group]) -> usize {
    groups.iter().map(|group| group.2 as usize).sum()
}

/// Groups of at most `widest` bits, some of no values; most of them short, some longer than a tile.
fn groups(widest: u32) -> impl Strategy<Value = Vec<Group>> {
    let length = prop_oneof![2 => Just(0u64), 9 => 0u64..70, 1 => 0u64..2500];
    let reference = prop_oneof![4 => 0u64..16, 1 => 0u64..2048, 1 => 2046u64..2048];
    let group = (reference, prop_oneof![1 => Just(0), 4 => 0..=widest], length);
    prop_oneof![1 => vec(group.clone(), 1), 4 => vec(group.clone(), 1..40), 1 => vec(group, 1000..1100)]
        .prop_filter("at least one value", |groups| total(groups) > 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn groups_of_any_kind_are_unpacked_as_on_the_host(
        kind in (0u8..3, 0u8..3),
        groups in prop_oneof![groups(3), groups(12), groups(57)],
        noise in prop_oneof![vec(any::<u8>(), 1..300), vec(prop_oneof![Just(255u8), any::<u8>()], 1..50)],
    ) {
        let bytes = message(kind, &groups, &noise, total(&groups));
        let field = headers(&bytes).expect("headers").remove(0);
        compare("groups", &devices(), &field, &bytes).expect("values");
    }

    #[test]
    fn groups_that_lie_are_refused_as_on_the_host(
        kind in (0u8..3, 0u8..3),
        (groups, claimed) in groups(12).prop_flat_map(|groups| { let all = total(&groups); (Just(groups), 1..2 * all + 2) }),
        wide in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let devices = devices();
        let refused = |groups: &[Group], claimed: usize, cut: usize| {
            let mut made = Made::of(&message(kind, groups, &[0x5a, 0xff, 3], claimed));
            let section = made.section(7);
            section.truncate(section.len() - cut);
            let bytes = made.bytes();
            let field = headers(&bytes).expect("headers").remove(0);
            compare("lies", &devices, &field, &bytes).is_err()
        };
        prop_assert!(refused(&groups, claimed, 0) || claimed == total(&groups), "{} values claimed", claimed);
        let length = Made::of(&message(kind, &groups, &[1], total(&groups))).section(7).len();
        prop_assert!(refused(&groups, total(&groups), 1 + cut.index(length)), "cut short");
        let (mut groups, wide) = (groups.clone(), wide.index(groups.len()));
        groups[wide].1 = 58 + wide as u32 % 6;
        prop_assert!(refused(&groups, total(&groups), 0), "too wide");
    }
}

/// A flip of one bit of every byte, in section 5 of all of them as well; how many messages had values, and errors.
fn damaged(name: &str, bytes: &[u8], devices: &[Device]) -> [usize; 2] {
    let mut counts = [0; 2];
    for section in section_ranges(bytes).into_iter().filter(|range| bytes[range.start + 4] >= 5) {
        let flips: &[u8] = if bytes[section.start + 4] == 5 { &[1, 16, 255] } else { &[4] };
        for (at, flip) in section.flat_map(|at| flips.iter().map(move |flip| (at, flip))) {
            let mut changed = bytes.to_vec();
            changed[at] ^= flip;
            let fields = headers(&changed).unwrap_or_default();
            for field in fields.iter().filter(|field| has_kernels(field) && field.points <= MOST_POINTS) {
                let outcome = compare(&format!("{name}, byte {at}"), devices, field, &changed);
                counts[usize::from(outcome.is_err())] += 1;
            }
        }
    }
    counts
}

#[test]
fn damage_anywhere_is_treated_as_on_the_host() {
    let (devices, mut counts) = ([device(Order::Shuffled(3))], [0; 2]);
    let kernels = |name: &str| ["simple", "complex", "differences"].iter().any(|start| name.starts_with(start));
    for (name, bytes) in seeds("message").into_iter().filter(|(name, _)| kernels(name)) {
        let more = damaged(&name, &bytes, &devices);
        counts = [counts[0] + more[0], counts[1] + more[1]];
    }
    assert!(counts[0] > 500 && counts[1] > 50, "{counts:?} fields and errors");
}

/// Whole fields, each of which takes seconds: differences, differences with a bitmap, and numbers of one width.
const WHOLE: [&str; 3] = ["t06z.wrfsfcf01-TMP.grib2", "t00z.wrfprsf00-space.grib2", "t06z.wrfsfcf01-UGRD.grib2"];

/// Cut-outs that are run in every order.
const CUT_OUTS: usize = 40;

/// All fields of a file that have kernels, with their messages.
fn fields(folder: &Path, path: &str) -> Vec<(Message, Vec<u8>)> {
    let bytes = crate::data::read(folder, path).unwrap_or_default();
    let messages = scan(&bytes).messages.into_iter().map(|range| bytes[range].to_vec());
    let fields =
        |message: Vec<u8>| headers(&message).unwrap_or_default().into_iter().map(move |f| (f, message.clone()));
    messages.flat_map(fields).filter(|(field, _)| has_kernels(field)).collect()
}

#[test]
fn real_cut_outs_are_unpacked_as_on_the_host() {
    let Some(folder) = folder() else { return };
    let (files, devices) = (crate::data::manifest(&folder).files, devices());
    let mut found = 0;
    for area in ["hrrr-idaho", "hrrr-sierra"] {
        let paths = files.iter().map(|file| &file.path).filter(|path| path.starts_with(area));
        for (field, message) in paths.flat_map(|path| fields(&folder, path)).take(CUT_OUTS) {
            found += 1;
            compare(area, &devices, &field, &message).expect("values");
        }
    }
    assert!(found > 20, "{found} fields");
}

#[test]
fn real_whole_fields_are_unpacked_as_on_the_host() {
    let Some(folder) = folder() else { return };
    for (name, order) in WHOLE.into_iter().zip(Order::ALL) {
        let (field, message) = fields(&folder, &format!("hrrr-conus/{name}")).remove(0);
        assert!(field.points > 1_900_000);
        compare(name, &[device(order)], &field, &message).expect("values");
    }
}

//! Every level gives the same bits, and the same errors, for whatever a section holds.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::bits::BitWriter;
use super::*;

/// What a level makes of a section: bits of the values, NaN included, or the error.
type Outcome = Result<Vec<u32>, Grib2Error>;

fn unpacked(packing: &Packing, bytes: &[u8], count: usize, level: Level) -> Outcome {
    let data = Section { number: 7, offset: 0, bytes };
    let mut values = vec![-1.0; count];
    match packing {
        Packing::Simple(scale) => simple::unpack(&data, scale, &mut values, level)?,
        Packing::Complex(complex) => complex::unpack(&data, complex, &mut values, level)?,
        _ => return Err(data.unsupported("the template", "5.0, 5.2 or 5.3")),
    }
    Ok(values.into_iter().map(f32::to_bits).collect())
}

/// One group: its reference, width and how many values it has.
type Group = (u64, u32, u64);

#[derive(Debug)]
struct Field {
    packing: Complex,
    bytes: Vec<u8>,
    count: usize,
}

/// Bits of a reference, of a width and of a length.
const HEAD_BITS: [u32; 3] = [11, 6, 12];

/// A section 7 of groups whose values are whatever `noise` says.
fn field((order, missing, reference): (u8, u8, f32), start: [u32; 3], groups: &[Group], noise: &[u8]) -> Field {
    let last_length = groups.last().map_or(0, |(_, _, length)| *length);
    let packing = Complex {
        scale: Scale { reference, binary: -2, decimal: 1, bits: HEAD_BITS[0] },
        missing,
        order,
        groups: groups.len(),
        width_reference: 0,
        width_bits: HEAD_BITS[1],
        length_reference: 0,
        length_increment: 1,
        last_length,
        length_bits: HEAD_BITS[2],
        extra_octets: if order == 0 { 0 } else { 4 },
    };
    let mut bytes = vec![0, 0, 0, 0, 7];
    let extra = if order == 0 { 0 } else { usize::from(order) + 1 };
    start.iter().skip(3 - extra).for_each(|number| bytes.extend(number.to_be_bytes()));
    let heads = |group: &Group| [group.0, group.1.into(), group.2];
    for (at, bits) in HEAD_BITS.into_iter().enumerate() {
        let mut writer = BitWriter::default();
        groups.iter().for_each(|group| writer.write(heads(group)[at], bits));
        bytes.extend(writer.finish());
    }
    let bits: usize = groups.iter().map(|(_, width, length)| *width as usize * *length as usize).sum();
    bytes.extend(noise.iter().cycle().take(bits.div_ceil(8)));
    Field { packing, bytes, count: groups.iter().map(|(_, _, length)| *length as usize).sum() }
}

/// Groups of at most `widest` bits; most of them short, some longer than a tile.
fn groups(widest: u32) -> impl Strategy<Value = Vec<Group>> {
    let length = prop_oneof![9 => 0u64..70, 1 => 0u64..1500];
    let reference = prop_oneof![4 => 0u64..16, 1 => 0u64..2048, 1 => 2046u64..2048];
    let group = (reference, 0..=widest, length);
    prop_oneof![2 => vec(group.clone(), 1..40), 1 => vec(group, 250..600)]
}

/// The sign and magnitude of the least difference that makes differences zero in their mean, so that sums stay small.
fn balance(groups: &[Group]) -> u32 {
    let count: u64 = groups.iter().map(|(_, _, length)| length).sum();
    let twice: u64 = groups.iter().map(|(reference, width, length)| (2 * reference + (1 << width) - 1) * length).sum();
    (twice / (2 * count).max(1)) as u32 | 1 << 31
}

fn fields() -> impl Strategy<Value = Field> {
    let groups = prop_oneof![3 => groups(4), 2 => groups(12), 1 => groups(25), 1 => groups(34)];
    let start = prop_oneof![
        4 => (0u32..100_000, 0u32..9).prop_map(|(first, step)| [first, first + step, 0]),
        1 => any::<[u32; 3]>(),
    ];
    let noise = vec(prop_oneof![3 => any::<u8>(), 1 => Just(0xff), 1 => Just(0)], 50..900);
    ((0u8..=2, 0u8..=2, -1e3f32..1e3), start, groups, noise).prop_map(
        |(kind, [first, second, minimum], groups, noise)| {
            let minimum = if minimum == 0 { balance(&groups) } else { minimum };
            field(kind, [first, second, minimum], &groups, &noise)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn complex_fields_are_the_same_at_every_level(field in fields(), cut in 0usize..4000, wrong in 0usize..3) {
        let packing = Packing::Complex(field.packing);
        let outcome = |bytes: &[u8], count, level| unpacked(&packing, bytes, count, level);
        let (bytes, count) = (&*field.bytes, field.count);
        let portable = outcome(bytes, count, Level::Portable);
        prop_assert!(portable.is_ok() || field.packing.groups > count, "{:?}", portable);
        prop_assert!(outcome(bytes, count, Level::best()) == portable);
        let cut = &bytes[..bytes.len() - cut.min(bytes.len() - 5)];
        prop_assert!(outcome(cut, count, Level::best()) == outcome(cut, count, Level::Portable));
        prop_assert!(outcome(bytes, count + wrong, Level::best()) == outcome(bytes, count + wrong, Level::Portable));
    }

    #[test]
    fn simple_fields_are_the_same_at_every_level(
        noise in vec(any::<u8>(), 0..900),
        bits in 0u32..=WIDEST,
        count in 0usize..700,
        reference in -1e3f32..1e3,
        binary in -20i32..20,
    ) {
        let packing = Packing::Simple(Scale { reference, binary, decimal: 2, bits });
        prop_assert!(unpacked(&packing, &noise, count, Level::best()) == unpacked(&packing, &noise, count, Level::Portable));
    }
}

/// On a processor with AVX2, fields such as weather models write are unpacked with it and not left to the portable code.
#[cfg(target_arch = "x86_64")]
#[test]
fn usual_fields_are_not_left_to_the_portable_code() {
    let Some(avx2) = avx2::Avx2::found() else {
        println!("skipped: this processor has no AVX2");
        return;
    };
    let groups: Vec<Group> = (0..100).map(|at| (at % 7, (at % 5) as u32, at % 90)).collect();
    for (order, missing) in [(0, 0), (0, 1), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)] {
        let field = field((order, missing, 1.5), [2000, 2001, 5 | 1 << 31], &groups, &[0x5a, 3, 0xc7, 0, 0x11]);
        let mut values = vec![0.0; field.count];
        assert!(avx2.complex(&field.bytes[5..], &field.packing, &mut values), "order {order}, missing {missing}");
    }
    let (bytes, mut values) = ([0xa5; 400], [0.0; 200]);
    assert_eq!(avx2.simple(&bytes, 12, (0.0, 1.0), &mut values), 200);
}

/// Sums that need more than 32 bits are right at every level.
#[test]
fn large_sums_are_right() {
    let groups = [(2000, 25, 4000), (0, 0, 50)];
    let field = field((2, 0, 0.0), [7, 9, 0], &groups, &[0xff]);
    let packing = Packing::Complex(field.packing);
    let outcome = |level| unpacked(&packing, &field.bytes, field.count, level).expect("values");
    let step = f64::from(2000 + (1 << 25) - 1);
    // The first value is 7, the second 9 and every further slope is a step more: a square of the place.
    let value = 7.0 + 2.0 * 3999.0 + step * (3998.0 * 3999.0 / 2.0);
    assert_eq!(f32::from_bits(outcome(Level::Portable)[3999]), (value * 0.25 * 10f64.powi(-1)) as f32);
    assert_eq!(outcome(Level::best()), outcome(Level::Portable));
}

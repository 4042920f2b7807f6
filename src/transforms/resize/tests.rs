//! Small frames by hand, the fast ways against the general ones, and sizes that cannot be.

use proptest::prelude::*;

use super::*;

fn repeated(frame: &[i16]) -> Cube {
    let size = frame.len().isqrt();
    Cube { size, levels: Levels::I16(frame.repeat(FRAMES)) }
}

fn codes(cube: Cube) -> Vec<i16> {
    let Levels::I16(values) = cube.levels else { panic!("16-bit values stay such") };
    assert_eq!(values.len(), FRAMES * cube.size * cube.size);
    values[..cube.size * cube.size].to_vec()
}

#[test]
fn a_frame_of_four_doubles_by_hand() {
    let doubled = resize(repeated(&[0, 16, 32, -16]), Modality::Ir069, 4).expect("a size");
    // Row 0 of the source stretches to 0, 4, 12, 16 and row 1 to 32, 20, −4, −16.
    let expected = [0, 4, 12, 16, 8, 8, 8, 8, 24, 16, 0, -8, 32, 20, -4, -16];
    assert_eq!(codes(doubled), expected);
}

#[test]
fn halves_round_upwards() {
    assert_eq!(codes(resize(repeated(&[1, 1, 2, 2]), Modality::Vis, 1).expect("a size")), [2]);
    assert_eq!(codes(resize(repeated(&[-1, -1, -2, -2]), Modality::Vis, 1).expect("a size")), [-1]);
    assert_eq!(codes(resize(repeated(&[-1, -1, -2, MISSING_CODE]), Modality::Vis, 1).expect("a size")), [-1]);
}

#[test]
fn what_is_missing_stays_where_it_is_nearest() {
    let m = MISSING_CODE;
    let doubled = codes(resize(repeated(&[m, 5, 5, 5]), Modality::Ir107, 4).expect("a size"));
    assert_eq!(doubled, [m, m, 5, 5, m, m, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
    assert_eq!(codes(resize(repeated(&[m, m, m, 7]), Modality::Vis, 1).expect("a size")), [7]);
    assert_eq!(codes(resize(repeated(&[m; 4]), Modality::Vis, 1).expect("a size")), [m]);
}

#[test]
fn counts_are_repeated() {
    let grown = codes(resize(repeated(&[1, 2, 3, 4]), Modality::Lght, 4).expect("a size"));
    assert_eq!(grown, [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
}

#[test]
fn sizes_that_cannot_be_are_named() {
    for (modality, from, to) in
        [(Modality::Lght, 4, 6), (Modality::Lght, 4, 2), (Modality::Vis, 4, 3), (Modality::Vil, 4, 0)]
    {
        let message = resize(repeated(&vec![0; from * from]), modality, to).expect_err("no size").to_string();
        assert!(message.contains(modality.label()) && message.contains(&format!("{to}×{to}")), "{message}");
    }
}

proptest! {
    #[test]
    fn the_fast_ways_agree_with_the_general_ones(frame in prop::collection::vec(-32767_i16..=32767, 36)) {
        let (mut fast, mut general) = (vec![0; 144], vec![0; 144]);
        bilinear::double(&frame, 6, &mut fast, &mut bilinear::Scratch::default());
        bilinear::any(&frame, 6, &mut general, 12);
        prop_assert_eq!(fast, general);
        let (mut fast, mut general) = (vec![0; 9], vec![0; 9]);
        area::halve(&frame, 6, &mut fast);
        area::mean(&frame, 6, &mut general, 3);
        prop_assert_eq!(fast, general);
    }

    #[test]
    fn the_fast_ways_agree_with_the_general_ones_on_holes(
        frame in prop::collection::vec(prop_oneof![3 => -32767_i16..=32767, 1 => Just(MISSING_CODE)], 64),
    ) {
        let (mut fast, mut general) = (vec![0; 256], vec![0; 256]);
        bilinear::double(&frame, 8, &mut fast, &mut bilinear::Scratch::default());
        bilinear::mend(&frame, 8, &mut fast);
        bilinear::any(&frame, 8, &mut general, 16);
        prop_assert_eq!(fast, general);
        let plain = |from: &[i16]| {
            let there: Vec<i64> = from.iter().filter(|value| **value != MISSING_CODE).map(|value| i64::from(*value)).collect();
            let count = there.len() as i64;
            if count == 0 { MISSING_CODE } else { (2 * there.iter().sum::<i64>() + count).div_euclid(2 * count) as i16 }
        };
        let (mut fast, mut general) = (vec![0; 16], vec![0; 16]);
        area::halve(&frame, 8, &mut fast);
        area::mend(&frame, 8, &mut fast);
        area::mean(&frame, 8, &mut general, 4);
        prop_assert_eq!(fast, general);
        for factor in [2, 4, 8] {
            let to = 8 / factor;
            let mut means = vec![0; to * to];
            area::mean(&frame, 8, &mut means, to);
            for (at, mean) in means.iter().enumerate() {
                let (y, x) = (at / to * factor, at % to * factor);
                let cells: Vec<i16> = (0..factor * factor).map(|k| frame[(y + k / factor) * 8 + x + k % factor]).collect();
                prop_assert_eq!(*mean, plain(&cells));
            }
        }
    }

    #[test]
    fn levels_of_eight_bits_use_their_whole_range(frame in prop::collection::vec(0_u8..255, 16)) {
        let (mut fast, mut general) = (vec![0; 64], vec![0; 64]);
        bilinear::double(&frame, 4, &mut fast, &mut bilinear::Scratch::default());
        bilinear::any(&frame, 4, &mut general, 8);
        prop_assert_eq!(fast, general);
    }
}

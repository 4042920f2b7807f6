//! Where the product templates that share the layout of 4.0 have their octets.

/// Which part of an ensemble a template describes, behind the surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Part {
    /// None: a deterministic forecast.
    Whole,
    /// Kind, number, size.
    Member,
    /// Kind, size.
    Derived,
    /// Number, how many, kind, two limits.
    Probability,
    /// The percentage.
    Percentile,
}

impl Part {
    const fn octets(self) -> usize {
        match self {
            Part::Whole => 0,
            Part::Member => 3,
            Part::Derived => 2,
            Part::Probability => 13,
            Part::Percentile => 1,
        }
    }
}

/// The octets of one template, counted from 1.
///
/// From the generating process on they follow each other: process (1), background (1), model (1), hours (2) and
/// minutes (1) of the cutoff, unit of time (1), forecast time (4), two surfaces of six, the part of an ensemble,
/// the statistical interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Layout {
    pub(in super::super) template: u16,
    /// The type of generating process.
    pub(in super::super) process: usize,
    /// Whether there are surfaces.
    pub(in super::super) surfaces: bool,
    /// Which part of an ensemble is described.
    pub(in super::super) part: Part,
    /// Where the statistical interval is, if the template has one.
    pub(in super::super) interval: Option<usize>,
}

/// What an error about another template expects.
pub(super) const KNOWN: &str =
    "4.0 to 4.15, 4.32, 4.40 to 4.43, 4.45 to 4.49, 4.51, 4.60, 4.61, 4.70 to 4.73 or 4.76 to 4.78";

/// A field of one moment.
const fn moment(template: u16, process: usize, part: Part) -> Layout {
    Layout { template, process, surfaces: true, part, interval: None }
}

/// A field of an interval, right behind the part of an ensemble.
const fn interval(template: u16, process: usize, part: Part) -> Layout {
    Layout { interval: Some(process + 23 + part.octets()), ..moment(template, process, part) }
}

/// The templates of WMO's manual on codes (FM 92, section 4) that share the layout of 4.0.
const LAYOUTS: [Layout; 36] = [
    moment(0, 12, Part::Whole),
    moment(1, 12, Part::Member),
    moment(2, 12, Part::Derived),
    moment(3, 12, Part::Derived),
    moment(4, 12, Part::Derived),
    moment(5, 12, Part::Probability),
    moment(6, 12, Part::Percentile),
    moment(7, 12, Part::Whole),
    interval(8, 12, Part::Whole),
    interval(9, 12, Part::Probability),
    interval(10, 12, Part::Percentile),
    interval(11, 12, Part::Member),
    interval(12, 12, Part::Derived),
    // The cluster's description comes before the interval.
    Layout { interval: Some(69), ..moment(13, 12, Part::Derived) },
    Layout { interval: Some(65), ..moment(14, 12, Part::Derived) },
    // What was done over an area follows the surfaces.
    moment(15, 12, Part::Whole),
    // Bands of a satellite's instrument take the place of surfaces.
    Layout { surfaces: false, ..moment(32, 12, Part::Whole) },
    // A chemical constituent comes before the process.
    moment(40, 14, Part::Whole),
    moment(41, 14, Part::Member),
    interval(42, 14, Part::Whole),
    interval(43, 14, Part::Member),
    // An aerosol and its size come before the process.
    moment(45, 25, Part::Member),
    interval(46, 25, Part::Whole),
    interval(47, 25, Part::Member),
    // An aerosol, its size and a wavelength come before the process.
    moment(48, 36, Part::Whole),
    moment(49, 36, Part::Member),
    // Categories follow the surfaces.
    moment(51, 12, Part::Whole),
    // The model version's date follows the member.
    moment(60, 12, Part::Member),
    Layout { interval: Some(45), ..moment(61, 12, Part::Member) },
    // The post-processed input comes before the process.
    moment(70, 17, Part::Whole),
    moment(71, 17, Part::Member),
    interval(72, 17, Part::Whole),
    interval(73, 17, Part::Member),
    // A chemical constituent and its source or sink come before the process.
    moment(76, 15, Part::Whole),
    moment(77, 15, Part::Member),
    interval(78, 15, Part::Whole),
];

/// The octets of a template; `None` where it is not known.
pub(in super::super) fn of(template: u16) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.template == template)
}

impl Layout {
    /// The unit of the forecast time.
    pub(in super::super) fn unit(&self) -> usize {
        self.process + 6
    }

    /// The forecast time.
    pub(in super::super) fn forecast_time(&self) -> usize {
        self.process + 7
    }

    /// The first and the second surface.
    pub(in super::super) fn surface_octets(&self) -> [usize; 2] {
        [self.process + 11, self.process + 17]
    }

    /// The part of an ensemble.
    pub(in super::super) fn part_octet(&self) -> usize {
        self.process + 23
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_those_of_the_manual() {
        for (template, unit, part, interval) in [
            (0, 18, 35, None),
            (1, 18, 35, None),
            (8, 18, 35, Some(35)),
            (9, 18, 35, Some(48)),
            (10, 18, 35, Some(36)),
            (11, 18, 35, Some(38)),
            (12, 18, 35, Some(37)),
            (42, 20, 37, Some(37)),
            (43, 20, 37, Some(40)),
            (46, 31, 48, Some(48)),
            (48, 42, 59, None),
            (61, 18, 35, Some(45)),
            (72, 23, 40, Some(40)),
        ] {
            let layout = of(template).expect("a known template");
            assert_eq!((layout.unit(), layout.part_octet(), layout.interval), (unit, part, interval), "4.{template}");
        }
        assert_eq!(of(65535), None);
        assert!(LAYOUTS.is_sorted_by_key(|layout| layout.template));
    }
}

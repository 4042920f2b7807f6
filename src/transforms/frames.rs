//! Which frames of an event a model sees and which it is to foretell.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::domain::FRAMES;

/// How windows lie in the frames of an event. All windows of an event are in the event's own split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowRule {
    /// Frames that the model sees.
    pub input: usize,
    /// Frames that follow, which it is to foretell.
    pub target: usize,
    /// Frames from the start of one window to the start of the next.
    pub stride: usize,
}

impl Default for WindowRule {
    /// 13 frames in, 12 out, a stride of 12, as SEVIR's nowcasts are scored.
    fn default() -> Self {
        WindowRule { input: 13, target: 12, stride: 12 }
    }
}

/// Frames of one event: what is seen, and then at once what is to be foretold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Frames that the model sees.
    pub input: Range<usize>,
    /// Frames that it is to foretell.
    pub target: Range<usize>,
}

/// Windows that no event has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "windows of {} + {} frames with a stride of {}; expected at least one frame of each, a stride of at least one, \
     and together no more than the {FRAMES} of an event", .0.input, .0.target, .0.stride
)]
pub struct WindowError(pub WindowRule);

impl WindowRule {
    /// The windows of an event, the earliest first.
    ///
    /// # Errors
    /// Where there are none, or endlessly many.
    pub fn windows(&self) -> Result<Vec<Window>, WindowError> {
        let WindowRule { input, target, stride } = *self;
        let length = input.saturating_add(target);
        if input == 0 || target == 0 || stride == 0 || length > FRAMES {
            return Err(WindowError(*self));
        }
        let window = |first| Window { input: first..first + input, target: first + input..first + length };
        Ok((0..=FRAMES - length).step_by(stride).map(window).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_windows_are_three_an_event() {
        let windows = WindowRule::default().windows().expect("windows");
        let firsts: Vec<usize> = windows.iter().map(|window| window.input.start).collect();
        assert_eq!(firsts, [0, 12, 24]);
        assert_eq!((windows[2].input.clone(), windows[2].target.clone()), (24..37, 37..49));
    }

    #[test]
    fn other_windows_fill_the_event_and_no_more() {
        let short = WindowRule { input: 12, target: 6, stride: 6 }.windows().expect("windows");
        assert_eq!((short.len(), short.last().map(|window| window.target.end)), (6, Some(48)));
        assert_eq!(WindowRule { input: 48, target: 1, stride: 9 }.windows().map(|windows| windows.len()), Ok(1));
        for (input, target, stride) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (48, 2, 1), (usize::MAX, 2, 1)] {
            let rule = WindowRule { input, target, stride };
            assert_eq!(rule.windows(), Err(WindowError(rule)));
        }
    }
}
